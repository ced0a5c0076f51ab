"""Export formats: files that are written beside the source of a network, one format per module.

A module defines PACKAGES (those it needs beyond torch and safetensors), `write(folder, network, images)`,
which adds its file to an exported folder, and `runners(folder)`, which returns functions from images to
scores, by name, that compute what was written. `nas.exporters.verify` calls `runners` in a process
without `nas`, so a module imports nothing of it. A new format is such a file and a line in FORMATS.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from nas.errors import NasError, did_you_mean
from nas.plugins import need

FORMATS = {
    "onnx": "an ONNX file",
    "pt2": "a program of torch.export",
    "hf": "the card and the names of the Hugging Face hub",
    "timm": "a file that registers the network as a model of timm",
}
"""Files that each format adds to the folder, in words. Command line and docs read this list."""


def load_formats(names: Sequence[str]) -> list[Any]:
    """Return the modules of these formats. NasError if one is unknown or its packages are missing."""
    for name in names:
        if name not in FORMATS:
            raise NasError(f"unknown format {name!r}", where="format", hint=did_you_mean(name, FORMATS))
    modules = [load_format(name) for name in dict.fromkeys(names)]
    for module in modules:
        need(module.__name__.rpartition(".")[2], *module.PACKAGES)
    return modules


def load_format(name: str) -> Any:
    """Return the module of a known format, whose packages may be missing."""
    return import_module(f"nas.exporters.formats.{name}")
