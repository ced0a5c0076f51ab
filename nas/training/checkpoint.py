"""Checkpoints that survive a kill, a full disk and damage.

A file is the hash of its payload, then the payload as written by `torch.save`. The previous checkpoint is
kept beside it and used if the newest is damaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nas.errors import NasError, StorageError
from nas.files import read_bytes, replace_durably

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DIGEST_SIZE = 32
MAX_CHECKPOINT = 1 << 34
"""Largest state of a training that is read, in bytes: that of a network of a thousand million parameters."""
NORM_PARTS = "parts_per_batch_norm"
"""Entry of the identity: parts of a batch, one per device, that batch norms see one by one."""


@dataclass(frozen=True)
class TrainingState:
    """State that an epoch changes: weights, momentum and random generators.

    Attributes:
        network: The network in training.
        optimizer: Its optimizer.
        generator: Random generator of the batches.
        identity: Settings that a resumed training must share with the stopped one.
        kept: Further tensors by name, such as averages of the weights; restored in place.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    identity: dict[str, Any]
    kept: Mapping[str, Sequence[torch.Tensor]] = field(default_factory=dict)

    def save(self, path: Path, curve: list[dict[str, float]]) -> None:
        """Write a checkpoint after the epochs of `curve`."""
        save(path, self._after(curve))

    def pack(self, curve: list[dict[str, float]]) -> bytes:
        """Return a checkpoint after the epochs of `curve` as bytes."""
        return _pack(self._after(curve))

    def resume(self, path: Path) -> list[dict[str, float]]:
        """Restore a checkpoint file and return its curve, empty if there is no file.

        Raises NasError if the checkpoint is of another training.
        """
        state = load(path)
        if state is None:
            return []
        hint = f"delete {path} to train from the start"
        for name, value in self.identity.items():
            recorded = state["identity"].get(name)
            if recorded != value:
                message = f"the checkpoint is of another training: {name} was {recorded!r}, is {value!r}"
                if name == NORM_PARTS:
                    message = f"batch norms took their statistics on {recorded} devices, and now on {value}"
                    hint = f"continue on {recorded} (--devices {recorded}), or {hint}"
                raise NasError(message, where=str(path), hint=hint)
        try:
            return self._restore(state)
        except RuntimeError:
            message = "the checkpoint is of another network"
            raise NasError(message, where=str(path), hint=hint) from None

    def unpack(self, data: bytes) -> list[dict[str, float]]:
        """Restore the bytes of `pack` and return their curve.

        The curve is empty, and nothing is restored, if they are damaged, of a training with other settings,
        or of a version whose layers had other names.
        """
        state = _unpack(data)
        if state is None or state["identity"] != self.identity:
            return []
        return self._restore(state) if state["network"].keys() == self.network.state_dict().keys() else []

    def _after(self, curve: list[dict[str, float]]) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "curve": curve,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "kept": {name: list(values) for name, values in self.kept.items()},
            "generators": [generator.get_state() for generator in self._generators()],
        }

    def _restore(self, state: dict[str, Any]) -> list[dict[str, float]]:
        """Restore a state and return its curve. Raises RuntimeError if it is of another network."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, values in self.kept.items():
            for value, recorded in zip(values, state["kept"][name], strict=True):
                value.copy_(recorded)
        for generator, recorded in zip(self._generators(), state["generators"], strict=True):
            generator.set_state(recorded)
        curve: list[dict[str, float]] = state["curve"]
        return curve

    def _generators(self) -> list[torch.Generator]:
        """Return the generator of the batches, and those of dropout and drop-path."""
        device = self.generator.device
        generators = [self.generator, torch.default_generator]
        if device.type == "cuda":
            generators.append(torch.cuda.default_generators[device.index or 0])
        return generators


def previous(path: Path) -> Path:
    """Return the path of the checkpoint before the newest."""
    return path.with_name(f"{path.name}.previous")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that a whole checkpoint is on disk at every moment. Raises StorageError."""
    save_packed(path, _pack(state))


def save_packed(path: Path, data: bytes) -> None:
    """Write the content of a checkpoint file, as `save` does."""
    draft = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)  # a link would lead the checkpoint elsewhere
        with open(draft, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.replace(path, previous(path))
        replace_durably(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise StorageError(f"the checkpoint cannot be written: {error}", where=str(path)) from None


def load(path: Path) -> dict[str, Any] | None:
    """Return the newest whole checkpoint, or None if there is none.

    Only tensors and plain values are unpickled. Raises StorageError if every checkpoint is damaged.
    """
    files = [place for place in (path, previous(path)) if place.exists()]
    for place in files:
        state = _read(place)
        if state is not None:
            if place != path:
                path.unlink(missing_ok=True)  # else the next save would keep it as the previous one
            return state
    if files:
        hint = f"delete {', '.join(map(str, files))} to train from the start"
        raise StorageError(
            "the checkpoint is damaged, and so is the one before or there is none", where=str(path), hint=hint
        )
    return None


def load_packed(path: Path) -> bytes | None:
    """Return the content of a file for the newest whole checkpoint, or None; see `load`."""
    state = load(path)
    return None if state is None else _pack(state)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return _unpack(read_bytes(path, MAX_CHECKPOINT, links=False))
    except NasError:
        return None


class _Reader(io.RawIOBase):
    """File over a slice of bytes without a copy, which `io.BytesIO` would make."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = (0, self._at, len(self._data))[whence] + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        into = memoryview(buffer).cast("B")
        chunk = self._data[self._at : self._at + len(into)]
        into[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)


def _pack(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO(bytes(DIGEST_SIZE))
    buffer.seek(DIGEST_SIZE)
    torch.save(state, buffer)
    with buffer.getbuffer() as whole:
        whole[:DIGEST_SIZE] = _digest(whole[DIGEST_SIZE:])
    return buffer.getvalue()


def _unpack(data: bytes) -> dict[str, Any] | None:
    """Return the state, or None if the bytes are damaged."""
    whole = memoryview(data)
    digest, payload = whole[:DIGEST_SIZE], whole[DIGEST_SIZE:]
    if digest != _digest(payload):
        return None
    try:
        state = torch.load(io.BufferedReader(_Reader(payload)), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) else None


def _digest(payload: memoryview) -> bytes:
    return hashlib.blake2b(payload, digest_size=DIGEST_SIZE).digest()
