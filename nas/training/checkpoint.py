"""Checkpoints that survive a kill, a full disk and damage.

A file is the hash of its payload followed by what `torch.save` wrote. The checkpoint before
is kept beside it and taken where the newest is damaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nas.errors import NasError, StorageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DIGEST_SIZE = 32


@dataclass(frozen=True)
class TrainingState:
    """All that an epoch changes: weights, momentum and the state of the random generators.

    `identity` holds what a resumed training must share with the one that was stopped.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    identity: dict[str, Any]

    def save(self, path: Path, curve: list[dict[str, float]]) -> None:
        """Write a checkpoint after the epochs of `curve`."""
        save(path, self._after(curve))

    def pack(self, curve: list[dict[str, float]]) -> bytes:
        """What `save` would write."""
        return _pack(self._after(curve))

    def resume(self, path: Path) -> list[dict[str, float]]:
        """Continue where a checkpoint ended: the curve so far, empty if there is none.

        NasError if the checkpoint is of another training.
        """
        state = load(path)
        if state is None:
            return []
        hint = f"delete {path} to train from the start"
        for name, value in self.identity.items():
            found = state["identity"].get(name)
            if found != value:
                message = f"the checkpoint is of another training: {name} was {found!r}, is {value!r}"
                raise NasError(message, where=str(path), hint=hint)
        try:
            return self._restore(state)
        except RuntimeError:
            message = "the checkpoint is of another network"
            raise NasError(message, where=str(path), hint=hint) from None

    def unpack(self, data: bytes) -> list[dict[str, float]]:
        """Continue where `pack` was called; from the start, with an empty curve, where the bytes are
        damaged or of a training with other settings."""
        state = _unpack(data)
        return [] if state is None or state["identity"] != self.identity else self._restore(state)

    def _after(self, curve: list[dict[str, float]]) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "curve": curve,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": [generator.get_state() for generator in self._generators()],
        }

    def _restore(self, state: dict[str, Any]) -> list[dict[str, float]]:
        """The curve so far. RuntimeError where the state is of another network."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for generator, found in zip(self._generators(), state["generators"], strict=True):
            generator.set_state(found)
        curve: list[dict[str, float]] = state["curve"]
        return curve

    def _generators(self) -> list[torch.Generator]:
        """Our own, and those that dropout and drop-path use."""
        device = self.generator.device
        generators = [self.generator, torch.default_generator]
        if device.type == "cuda":
            generators.append(torch.cuda.default_generators[device.index or 0])
        return generators


def previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that at every moment a whole checkpoint is on disk."""
    data = _pack(state)
    draft = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)  # were it a link, the checkpoint would go where it leads
        with open(draft, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.replace(path, previous(path))
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise StorageError(f"the checkpoint cannot be written: {error}", where=str(path)) from None


def load(path: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint, or None where there is none; nothing is unpickled but
    tensors and plain values. StorageError if every checkpoint is damaged."""
    found = [place for place in (path, previous(path)) if place.exists()]
    for place in found:
        state = _read(place)
        if state is not None:
            if place != path:
                path.unlink(missing_ok=True)  # else the next save keeps it as the one before
            return state
    if found:
        hint = f"delete {', '.join(map(str, found))} to train from the start"
        raise StorageError(
            "the checkpoint is damaged, and there is no whole one before", where=str(path), hint=hint
        )
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return _unpack(path.read_bytes())
    except OSError:
        return None


class _Reader(io.RawIOBase):
    """A file over a part of other bytes; `io.BytesIO` would copy them."""

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
        found = self._data[self._at : self._at + len(into)]
        into[: len(found)] = found
        self._at += len(found)
        return len(found)


def _pack(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO(bytes(DIGEST_SIZE))
    buffer.seek(DIGEST_SIZE)
    torch.save(state, buffer)
    with buffer.getbuffer() as whole:
        whole[:DIGEST_SIZE] = _digest(whole[DIGEST_SIZE:])
    return buffer.getvalue()


def _unpack(data: bytes) -> dict[str, Any] | None:
    """The state, or None where the bytes are damaged."""
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
