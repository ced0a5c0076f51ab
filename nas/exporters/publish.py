"""Publication of exported folders: drafted, verified in a fresh process without `nas`, then put in place.

A folder holds `network.py`, `config.json`, `README.md` and, where weights are to be kept,
`model.safetensors`.
"""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.codegen.build import build_graph
from nas.codegen.source import source
from nas.errors import NasError, StorageError
from nas.exporters import verify as verification
from nas.exporters.formats import FORMATS, load_format
from nas.files import replace_folder, work_folder
from nas.graph.cost import Cost
from nas.graph.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-5
"""Largest deviation of the outputs that is accepted, relative to their size where that is above 1."""
BATCH = 2
CONFIG = "config.json"
CARD = "README.md"


@dataclass(frozen=True)
class Package:
    """Contents of a folder, and the figures that it has to reproduce.

    folder: its name.
    where: name of the package in errors.
    graph: printed as the source; `state` is a state dict of that source.
    network: computes the outputs that are expected of the source.
    expected: recorded parameters and FLOPs.
    about, card: contents of config.json and README.md.
    keep_weights: whether `state` stays in the folder after it was verified.
    """

    folder: str
    where: str
    graph: Graph
    state: Mapping[str, Tensor]
    network: nn.Module
    expected: Cost
    about: Mapping[str, Any]
    card: str
    keep_weights: bool


@dataclass(frozen=True)
class ExportedFolder:
    """A verified folder.

    difference: largest deviation of its outputs; `formats` has those of the other formats, by the
        name of what computed them.
    weights: whether the folder holds weights.
    """

    folder: Path
    params: int
    flops: int
    difference: float
    weights: bool
    formats: Mapping[str, float]


@dataclass(frozen=True)
class _Draft:
    folder: Path
    where: str
    expected: Cost
    keep_weights: bool


def publish(packages: Iterable[Package], to: Path, formats: Sequence[Any] = ()) -> list[ExportedFolder]:
    """Write each package to its folder in `to`, in the place of an earlier one, and in `formats`, modules of
    `nas.exporters.formats`. Files that no export writes stay if they are beside the same source.

    Nothing is put in place unless all packages hold: outputs within 1e-5 of the network in this
    process, parameters and FLOPs equal. Packages are taken one by one, so that a generator holds one
    network at a time. Raises NasError naming the package that fails, StorageError if the disk does.
    """
    try:
        with work_folder(to) as scratch:
            drafts = [_write(package, scratch, formats) for package in packages]
            measured = _verify(drafts, formats)
            kept = [_kept(draft.folder, to / draft.folder.name) for draft in drafts]
            return [_place(*item, to) for item in zip(drafts, measured, kept, strict=True)]
    except OSError as error:
        message = f"cannot write there: {error.strerror or error}"
        raise StorageError(message, where=str(to), hint="choose another --to, or free some space") from error


def _write(package: Package, scratch: Path, formats: Sequence[Any]) -> _Draft:
    """Write all files, and the outputs that the network in this process gives."""
    import torch
    from safetensors.torch import save

    folder = scratch / package.folder
    folder.mkdir()
    (folder / verification.SOURCE).write_text(source(package.graph))
    (folder / CONFIG).write_text(json.dumps(package.about, indent=2) + "\n")
    (folder / CARD).write_text(package.card)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, *package.graph.input_shape, generator=generator)
    with torch.no_grad():
        outputs = package.network.eval()(images)
    reference = {"images": images, "outputs": outputs.contiguous()}
    (folder / verification.REFERENCE).write_bytes(save(reference))
    state = {name: value.contiguous() for name, value in package.state.items()}
    (folder / verification.WEIGHTS).write_bytes(save(state))
    if formats:
        network = build_graph(package.graph)
        network.load_state_dict(state)
        for module in formats:
            module.write(folder, network.eval(), images)
    return _Draft(folder, package.where, package.expected, package.keep_weights)


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


def _fault(expected: Cost, result: Mapping[str, Any]) -> str:
    if "error" in result:
        return str(result["error"])
    for name in ("params", "flops"):
        recorded = getattr(expected, name)
        if result[name] != recorded:
            return f"{result[name]:,} {name}, recorded were {recorded:,}"
    for name, difference in {"": result["difference"], **result["formats"]}.items():
        if not difference <= TOLERANCE:
            of = f" of {name}" if name else ""
            return f"outputs{of} differ by {difference:.2g}, more than {TOLERANCE:g}"
    return ""


def _kept(draft: Path, folder: Path) -> list[str]:
    """Return the names in an earlier folder that no export writes, such as those of a full training.

    NasError if they are of another network than the draft, or the folder is a link.
    """
    if folder.is_symlink():
        raise NasError("is a symbolic link", where=str(folder), hint="remove it, or choose another --to")
    own = {verification.SOURCE, verification.WEIGHTS, CONFIG, CARD, "__pycache__"}
    own |= {getattr(load_format(name), "FILE", CARD) for name in FORMATS}
    names = {path.name for path in folder.iterdir()} - own if folder.is_dir() else set()
    earlier = folder / verification.SOURCE
    same = earlier.is_file() and filecmp.cmp(draft / earlier.name, earlier, shallow=False)
    if names and not same:
        message = f"holds files of something else: {', '.join(sorted(names))}"
        raise NasError(message, where=str(folder), hint="move them away, or choose another --to")
    return sorted(names)


def _place(draft: _Draft, result: Mapping[str, Any], kept: Sequence[str], to: Path) -> ExportedFolder:
    """Put a verified draft in the place of an earlier folder, of which the `kept` files stay."""
    (draft.folder / verification.REFERENCE).unlink()
    if not draft.keep_weights:
        (draft.folder / verification.WEIGHTS).unlink()
    folder = to / draft.folder.name
    replace_folder(draft.folder, folder, kept)
    return ExportedFolder(folder, weights=draft.keep_weights, **result)
