"""Networks of the zoo, of files (a genotype in JSON, the config.json of an export) and of settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.errors import NasError, NotFoundError
from nas.files import read_text
from nas.space.genotype import Genotype
from nas.zoo import zoo, zoo_entry

if TYPE_CHECKING:
    from nas.graph.graph import Shape

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
    entry = zoo_entry(name)
    return NetworkFile(entry.build(), entry.input_shape, entry.num_classes)


def named_network(target: str) -> tuple[str, NetworkFile]:
    """Return name and network of a target: a name of the zoo, a JSON file, or an exported folder.

    A name of the zoo comes before a folder of that name, which is then written ./NAME. A file is called by
    its stem, an exported folder by its own name. NotFoundError for what is none of them.
    """
    path = None if target in zoo() else network_file(target)
    if path is None:
        if target not in zoo() and Path(target).exists():
            hint = "give a folder that nas export wrote, a genotype in a .json file, or a name of nas zoo"
            raise NotFoundError("holds no network", where=target, hint=hint)
        return target, zoo_network(target)
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:50], read_network(path)


def recorded_network(target: str) -> str:
    """Return a target as settings record it: a name of the zoo, or NAME={...} with the genotype of a file.

    So a run needs the file no more, and a change to the file is a change of the setting.
    """
    if target in zoo() or "={" in target:
        return target
    name, network = named_network(target)
    return f"{name}={network.genotype.to_json()}"


def setting_network(setting: str) -> tuple[str, Genotype]:
    """Return name and genotype of what `recorded_network` returned."""
    name, is_file, text = setting.partition("=")
    return name, Genotype.from_json(text, where=name) if is_file else zoo_network(name).genotype


def read_network(path: Path) -> NetworkFile:
    """Return the network of a file; NasError or NotFoundError names the place that is wrong."""
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
