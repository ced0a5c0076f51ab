"""Networks of files (a genotype in JSON, the config.json of an export) and of the zoo, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.errors import NasError
from nas.files import read_text

if TYPE_CHECKING:
    from nas.graph.graph import Shape
    from nas.space.genotype import Genotype

INPUT, CLASSES = (3, 32, 32), 10
"""Input shape and number of classes of a file that holds a genotype alone."""


class NetworkFile(NamedTuple):
    """A genotype with the image size and the number of classes that it is meant for."""

    genotype: Genotype
    input_shape: Shape
    num_classes: int


def network_file(target: str) -> Path | None:
    """Return the file that a target names: itself if it is JSON, or the config.json of an exported folder."""
    path = Path(target)
    if target.endswith(".json"):
        return path
    return path / "config.json" if (path / "network.py").is_file() else None


def zoo_network(name: str) -> NetworkFile:
    """Return a network of the zoo, as published. NotFoundError suggests the nearest name."""
    from nas.zoo import zoo_entry

    entry = zoo_entry(name)
    return NetworkFile(entry.build(), entry.input_shape, entry.num_classes)


def is_zoo_name(name: str, results_dir: Path) -> bool:
    """Return whether a word names a network of the zoo. NasError if it names a run, too."""
    from nas.zoo import zoo

    if name not in zoo():
        return False
    if (results_dir / name).is_dir():
        hint = f"the run: {results_dir / name}; the network: nas zoo {name}"
        raise NasError("is the name of a run, and of a network of the zoo", where=name, hint=hint)
    return True


def read_network(path: Path) -> NetworkFile:
    """Return the network of a file; NasError or NotFoundError names the place that is wrong."""
    from nas.space.genotype import Genotype

    text = read_text(path, NasError)
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NasError(f"not valid JSON: {error}", where=str(path)) from None
    if isinstance(data, dict) and {"genotype", "input_shape", "num_classes"} <= data.keys():
        genotype = Genotype.from_dict(data["genotype"], where=f"{path}: genotype")
        return NetworkFile(genotype, *_sizes(data, path))
    return NetworkFile(Genotype.from_json(text, where=str(path)), INPUT, CLASSES)


def _sizes(data: dict[str, Any], path: Path) -> tuple[Shape, int]:
    shape, classes = data["input_shape"], data["num_classes"]
    whole = isinstance(shape, list) and all(type(size) is int and 0 < size <= 4096 for size in shape)
    if not whole or len(shape) != 3:
        raise NasError(f"must be three sizes, not {shape!r}", where=f"{path}: input_shape")
    if type(classes) is not int or classes < 1:
        raise NasError(f"must be a whole number from 1, not {classes!r}", where=f"{path}: num_classes")
    return tuple(shape), classes
