"""Export formats: files that are written beside the source of a network, one format per module.

A module defines PACKAGES (those it needs beyond torch and safetensors), `write(folder, network, images)`,
which adds its files to an exported folder, and `runners(folder)`, which returns functions from inputs to
scores, by name, that compute what was written. It may define `blocks(about)`, the code for the card (the
fields of `nas.exporters.card.Block`), from the content of config.json; `front(name, about)`, text above the
card; RAW, that it takes raw pixels where config.json says `with_preprocessing`; and ANY_SIZE, that it takes
images of any size where config.json says `dynamic_size`.

`nas.exporters.verify` calls `runners` in a process without `nas`, so a module imports nothing of it. A new
format is such a file, a line in FORMATS, and its files in FILES.
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
    "hf": "the card, the names and the classes of the Hugging Face hub and of transformers",
    "hub": "a class with PyTorchModelHubMixin of huggingface_hub",
    "timm": "a file that registers the network as a model of timm",
}
"""Files that each format adds to the folder, in words. Command line and docs read this list."""
FILES = (
    *("model.onnx", "model.pt2", "timm_model.py", "hub_model.py", "preprocessor_config.json"),
    *("configuration_nas.py", "modeling_nas.py", "image_processing_nas.py"),
)
"""Names of the files of all formats."""


def load_formats(names: Sequence[str]) -> list[Any]:
    """Return the modules of these formats. NasError if one is unknown or its packages are missing."""
    for name in names:
        if name not in FORMATS:
            raise NasError(f"unknown format {name!r}", where="format", hint=did_you_mean(name, FORMATS))
    modules = [import_module(f"nas.exporters.formats.{name}") for name in dict.fromkeys(names)]
    for module in modules:
        need(module.__name__.rpartition(".")[2], *module.PACKAGES)
    return modules
