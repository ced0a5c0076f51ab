"""An exported or trained folder, opened again: its network with weights, and the facts of its config.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.codegen.source import source
from nas.codegen.whitelist import checked
from nas.errors import NasError, NotFoundError
from nas.exporters.preprocessing import Preprocessing
from nas.exporters.publish import CONFIG, load_network
from nas.exporters.variants import check_fit
from nas.exporters.verify import SOURCE, WEIGHTS
from nas.files import read_text
from nas.graph.ops import MAX_SIZE
from nas.study.run import MORE_BYTES, WEIGHT_BYTES

if TYPE_CHECKING:
    from torch import nn

    from nas.graph.graph import Graph

FITS = ("crop", "squash", "pad")
HINT = "nas export and nas train write such folders"


@dataclass(frozen=True)
class NetworkFolder:
    """An exported folder.

    Attributes:
        path: The folder.
        about: Content of its config.json, with the entries that this program uses checked.
        text: Content of its network.py.
    """

    path: Path
    about: Mapping[str, Any]
    text: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; numbers where they are not known."""
        count = self.about["num_classes"]
        return tuple(self.about.get("classes") or (f"class {i}" for i in range(count)))

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared. NasError where the training images are not known."""
        preprocessing = Preprocessing.of(self.about)
        if preprocessing is None:
            hint = "train it, or export it from a run or with published weights"
            raise NasError("names no mean and std of images", where=str(self.path / CONFIG), hint=hint)
        return preprocessing

    def network(self) -> nn.Module:
        """Return the network with its weights, in evaluation mode; NasError if there are none, or others."""
        from nas.zoo.weights import read_weights

        path = self.path / WEIGHTS
        if not path.is_file():
            hint = "train it with nas train, or export it with --weights"
            raise NasError("holds no weights", where=str(self.path), hint=hint)
        network = load_network(self.text, self.about, str(self.path / SOURCE))
        size = sum(WEIGHT_BYTES * tensor.numel() for tensor in network.state_dict().values())
        state = read_weights(path, size + MORE_BYTES)
        check_fit(state, network, str(path))
        network.load_state_dict(state)
        return network.eval()

    def graph(self) -> Graph | None:
        """Return the graph of the network; None if network.py is not what its genotype generates."""
        from nas.space.genotype import Genotype, expand

        if "genotype" not in self.about:
            return None
        where = f"{self.path / CONFIG}: genotype"
        genotype = Genotype.from_dict(self.about["genotype"], where=where)
        channels, height, width = self.about["input_shape"]
        graph = expand(genotype, (channels, height, width), self.about["num_classes"])
        return graph if source(graph) == self.text else None


def is_folder(target: str) -> bool:
    """Return whether a path is an exported folder, or the network.py of one."""
    path = Path(target)
    return (path / SOURCE).is_file() or (path.name == SOURCE and path.with_name(CONFIG).is_file())


def open_folder(target: str | Path) -> NetworkFolder:
    """Open an exported folder.

    Args:
        target: The folder. The network.py of a folder may be a program of the user's own: it is run if the
            file itself is named, and refused if the folder is.

    Raises:
        NotFoundError: There is no such folder.
        NasError: It is not an exported one, or a file of it cannot be used.
    """
    path = Path(target)
    trusted = path.name == SOURCE
    folder = path.parent if trusted else path
    if not folder.is_dir():
        raise NotFoundError("no such folder", where=str(folder), hint=HINT)
    for name in (SOURCE, CONFIG):
        if not (folder / name).is_file():
            raise NasError(f"has no {name}", where=str(folder), hint=HINT)
    text = read_text(folder / SOURCE, NasError)
    if not trusted:
        _check_generated(text, folder)
    return NetworkFolder(folder, read_about(folder / CONFIG), text)


def _check_generated(text: str, folder: Path) -> None:
    try:
        checked(text)
    except NasError as error:
        hint = f"if you trust it, name the file, which is then run: {folder / SOURCE}"
        message = f"is not as nas writes it ({error.message})"
        raise NasError(message, where=str(folder / SOURCE), hint=hint) from None


def read_about(path: Path) -> dict[str, Any]:
    """Return the content of a config.json. NasError names the first entry that cannot be used."""
    try:
        about: Any = json.loads(read_text(path, NasError))
    except (ValueError, RecursionError) as error:
        raise NasError(f"not valid JSON: {error}", where=str(path)) from None
    fault = _fault(about)
    if fault:
        raise NasError(fault, where=str(path), hint="export or train the network again")
    about.setdefault("name", path.parent.resolve().name)
    about.setdefault("title", about["name"])
    about.setdefault("task", "classification")
    return dict(about)


def _fault(about: Any) -> str:
    """Return what is wrong with the content of a config.json, "" for nothing."""
    if not isinstance(about, dict):
        return "must be an object"
    shape: Any = about.get("input_shape")
    classes: Any = about.get("num_classes")
    if not (_numbers(shape, int, 3) and all(1 <= side <= MAX_SIZE for side in shape)):
        return f"input_shape: must be three sizes, not {shape!r:.80}"
    if type(classes) is not int or not 1 <= classes <= MAX_SIZE:
        return f"num_classes: must be a whole number from 1, not {classes!r:.80}"
    names = about.get("classes")
    if names and not (
        isinstance(names, list) and len(names) == classes and all(isinstance(n, str) for n in names)
    ):
        return f"classes: must be {classes} names"
    for key in ("mean", "std"):
        if ("mean" in about or "std" in about) and not _numbers(about.get(key), (int, float), shape[0]):
            return f"{key}: must be {shape[0]} numbers, not {about.get(key)!r:.80}"
    cost = about.get("cost")
    if not (isinstance(cost, dict) and all(type(cost.get(key)) is int for key in ("params", "flops"))):
        return "cost: must hold params and flops"
    if about.get("fit", "crop") not in FITS:
        return f"fit: must be one of {', '.join(FITS)}"
    texts = ("name", "title", "about", "network", "digest", "measured", "data", "weights_from", "task")
    wrong = next((key for key in texts if not isinstance(about.get(key) or "", str)), None)
    if wrong:
        return f"{wrong}: must be a text"
    formats, opset = about.get("formats") or [], about.get("opset")
    if not (isinstance(formats, list) and all(isinstance(name, str) for name in formats)):
        return "formats: must be a list of names"
    if not (opset is None or type(opset) is int):
        return "opset: must be a whole number"
    training: Any = about.get("training", {})
    kinds: dict[str, Any] = {"data": str, "epochs": int, "seed": int}
    if "training" in about and not isinstance(training, dict):
        return "training: must be an object"
    wrong = next((key for key, kind in kinds.items() if type(training.get(key, kind())) is not kind), None)
    return f"training: {wrong}: must be of type {kinds[wrong].__name__}" if wrong else ""


def _numbers(value: Any, kind: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(number, kind) and not isinstance(number, bool) for number in value)
        and all(math.isfinite(number) for number in value)
    )
