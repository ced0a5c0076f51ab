"""Publication of exported folders: drafted, verified in a fresh process without `nas`, then put in place.

A folder holds what belongs together: `network.py`, `config.json`, `README.md` and, where weights are to be
kept, `model.safetensors`, `predict.py` and the files of further formats. A new export or training replaces
the folder whole, so that no file in it is of another network.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.codegen.network_name import class_of
from nas.errors import NasError, StorageError
from nas.exporters import predict_script
from nas.exporters import verify as verification
from nas.exporters.card import write_card
from nas.exporters.formats import FILES
from nas.exporters.preprocessing import Preprocessing
from nas.files import replace_folder, work_folder
from nas.graph.cost import Cost

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-5
"""Largest deviation of the outputs that is accepted, relative to their size where that is above 1."""
BATCH = 2
CONFIG = "config.json"
CARD = "README.md"
PREDICT = "predict.py"
TRAINING, CURVE = "training.json", "curve.png"
EVALUATION = "evaluation.html"
OWN = {
    *(verification.SOURCE, verification.WEIGHTS, CONFIG, CARD, PREDICT, TRAINING, EVALUATION, *FILES),
    *(CURVE, "__pycache__"),
}
"""Names that an exported folder may hold. A folder with others is not replaced."""


@dataclass(frozen=True)
class Package:
    """Contents of a folder, and the figures that it has to reproduce.

    folder: its name.
    where: name of the package in errors.
    source: text of network.py; `state` is a state dict of its network.
    network: computes the outputs that are expected of the source.
    params, flops: figures that the source has to reproduce.
    about: contents of config.json, from which the card follows.
    keep_weights: whether `state` stays in the folder after it was verified.
    files: further files by name, such as the curve of a training.
    """

    folder: str
    where: str
    source: str
    state: Mapping[str, Tensor]
    network: nn.Module
    expected: Cost | Figures
    about: Mapping[str, Any]
    keep_weights: bool
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """Parameters and FLOPs of a network whose graph is not known."""

    params: int
    flops: int


@dataclass(frozen=True)
class ExportedFolder:
    """A verified folder.

    difference: largest deviation of its outputs; `formats` has those of the other formats, by the
        name of what computed them, and `lines` those of the code in the card, by the title of its section;
        `unrun` names the packages without which code was not run.
    weights: whether the folder holds weights.
    """

    folder: Path
    params: int
    flops: int
    difference: float
    weights: bool
    formats: Mapping[str, float]
    lines: Mapping[str, float]
    unrun: Mapping[str, str]


@dataclass(frozen=True)
class _Draft:
    folder: Path
    where: str
    expected: Cost | Figures
    keep_weights: bool


def publish(packages: Iterable[Package], to: Path, formats: Sequence[Any] = ()) -> list[ExportedFolder]:
    """Write each package to its folder in `to`, in place of an earlier one of the same name, and in
    `formats`, modules of `nas.exporters.formats`.

    Nothing is put in place unless all packages hold: outputs within 1e-5 of the network in this
    process, parameters and FLOPs equal, and the code of the card runs as it is written. Packages are taken
    one by one, so that a generator holds one network at a time. Raises NasError naming the package that
    fails, or a folder that holds files of something else; StorageError if the disk does.
    """
    try:
        with work_folder(to) as scratch:
            drafts = [_write(package, scratch, to, formats) for package in packages]
            measured = _verify(drafts, formats)
            return [_place(draft, to, result) for draft, result in zip(drafts, measured, strict=True)]
    except OSError as error:
        message = f"cannot write there: {error.strerror or error}"
        raise StorageError(message, where=str(to), hint="choose another --to, or free some space") from error


def check_replaceable(folder: Path, *, training: bool = True) -> None:
    """Raise NasError unless a folder can be replaced whole: it is missing, or holds only files of nas. A full
    training is replaced by another `training` only."""
    if folder.is_symlink():
        raise NasError("is a symbolic link", where=str(folder), hint="remove it, or choose another --to")
    if folder.exists() and not folder.is_dir():
        raise NasError("is not a folder", where=str(folder), hint="remove it, or choose another --to")
    others = sorted({path.name for path in folder.iterdir()} - OWN) if folder.is_dir() else []
    if others:
        hint = "the folder would be replaced whole: move them away, or choose another --to"
        listed = ", ".join(others[:5])
        raise NasError(f"holds files of something else: {listed}", where=str(folder), hint=hint)
    if not training and (folder / TRAINING).exists():
        hint = f"export its weights with: nas export {folder}; or choose another --to"
        raise NasError("holds a full training, which would be lost", where=str(folder), hint=hint)


def _write(package: Package, scratch: Path, to: Path, formats: Sequence[Any]) -> _Draft:
    """Write all files, and the outputs that the network in this process gives."""
    from safetensors.torch import save

    check_replaceable(to / package.folder, training=TRAINING in package.files)
    folder = scratch / package.folder
    folder.mkdir()
    preprocessing = Preprocessing.of(package.about)
    (folder / verification.SOURCE).write_text(package.source)
    about = {**package.about, "class": class_of(package.source)}
    (folder / CONFIG).write_text(json.dumps(about, indent=2) + "\n")
    reference = _reference(package, preprocessing)
    (folder / verification.REFERENCE).write_bytes(save(reference))
    state = {name: value.contiguous() for name, value in package.state.items()}
    (folder / verification.WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))
    for name, content in package.files.items():
        (folder / name).write_bytes(content)
    if package.keep_weights and preprocessing:
        shutil.copyfile(predict_script.__file__, folder / PREDICT)
    if formats:
        network = load_network(package.source, package.about)
        network.load_state_dict(state)
        for module in formats:
            module.write(folder, network.eval(), reference["images"])
    write_card(folder, formats)
    return _Draft(folder, package.where, package.expected, package.keep_weights)


def _reference(package: Package, preprocessing: Preprocessing | None) -> dict[str, Tensor]:
    """Return random pixels, the images that the network takes, and its outputs."""
    import torch

    shape = package.about["input_shape"]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (BATCH, *shape), generator=generator, dtype=torch.uint8)
    images = preprocessing.normalise(pixels) if preprocessing else pixels / 255
    with torch.no_grad():
        outputs = package.network.eval()(images)
    return {"pixels": pixels, "images": images.contiguous(), "outputs": outputs.contiguous()}


def load_network(text: str, about: Mapping[str, Any], where: str = "network.py") -> nn.Module:
    """Run the text of a network.py and return its network, for the channels and classes of a config."""
    from nas.codegen.build import load_source
    from nas.codegen.network_name import NETWORK

    cls = load_source(text, where)[NETWORK]
    network: nn.Module = cls(num_classes=about["num_classes"], in_chans=about["input_shape"][0])
    return network


def _verify(drafts: Sequence[_Draft], formats: Sequence[Any]) -> list[dict[str, Any]]:
    options = [option for module in formats for option in ("--format", module.__file__)]
    folders = [str(draft.folder) for draft in drafts]
    command = [sys.executable, "-I", "-B", verification.__file__, *options, *folders]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = process.stdout.splitlines()
    if process.returncode or len(lines) != len(drafts):
        raise NasError(f"the verification process failed\n{process.stderr.strip()}")
    results = [json.loads(line) for line in lines]
    for draft, result in zip(drafts, results, strict=True):
        fault = _fault(draft.expected, result)
        if fault:
            raise NasError(f"the exported network failed verification: {fault}", where=draft.where)
    return results


def _fault(expected: Cost | Figures, result: Mapping[str, Any]) -> str:
    if "error" in result:
        return str(result["error"])
    for name in ("params", "flops"):
        recorded = getattr(expected, name)
        if result[name] != recorded:
            return f"{result[name]:,} {name}, recorded were {recorded:,}"
    lines = {f"the card's lines, {title}": value for title, value in result["lines"].items()}
    for name, difference in {"": result["difference"], **result["formats"], **lines}.items():
        if not difference <= TOLERANCE:
            of = f" of {name}" if name else ""
            return f"outputs{of} differ by {difference:.2g}, more than {TOLERANCE:g}"
    return ""


def _place(draft: _Draft, to: Path, result: Mapping[str, Any]) -> ExportedFolder:
    """Move a verified draft to its place."""
    (draft.folder / verification.REFERENCE).unlink()
    (draft.folder / verification.LINES).unlink()
    if not draft.keep_weights:
        (draft.folder / verification.WEIGHTS).unlink()
    folder = to / draft.folder.name
    replace_folder(draft.folder, folder)
    return ExportedFolder(folder, weights=draft.keep_weights, **result)
