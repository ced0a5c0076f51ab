"""Forms of a file in which a network is exported beside its source, one a module.

A module has PACKAGES (what it needs beyond torch and safetensors), `write(folder, network, images)`,
which adds its file to an exported folder, and `runners(folder)`: functions from images to scores,
by name, that compute what was written. `nas.exporters.verify` calls the latter in a process
without `nas`, so a module imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from nas.errors import NasError, did_you_mean
from nas.plugins import need

FORMATS = ("onnx", "pt2", "hf", "timm")


def load_formats(names: Sequence[str]) -> list[Any]:
    """The modules of these formats; NasError if one is unknown, or its packages are missing."""
    for name in names:
        if name not in FORMATS:
            raise NasError(f"unknown format {name!r}", where="format", hint=did_you_mean(name, FORMATS))
    modules = [import_module(f"nas.exporters.formats.{name}") for name in dict.fromkeys(names)]
    for module in modules:
        need(module.__name__.rpartition(".")[2], *module.PACKAGES)
    return modules
