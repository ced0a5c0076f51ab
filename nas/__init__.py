"""Search convolutional architectures on your images within a compute budget.

`nas.search` runs a search, `nas.open_run` opens a finished one, and functions over a run give the Pareto
front of accuracy and FLOPs, a graded comparison of block types, a report, and standalone PyTorch code. Each
name is loaded when it is first used, so that `import nas` loads neither torch nor ray.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.analysis.pooling import analyze
    from nas.codegen.build import build
    from nas.codegen.source import source
    from nas.controller.replay import replay
    from nas.controller.reseed import reseed
    from nas.controller.search import search
    from nas.controller.train import train
    from nas.errors import NasError
    from nas.exporters.evaluate import evaluate
    from nas.exporters.masks import evaluate_masks, predict_masks
    from nas.exporters.predict import predict
    from nas.exporters.run import export
    from nas.graph.cost import cost
    from nas.reports.page import report
    from nas.space.genotype import Genotype, expand
    from nas.space.load import load_space
    from nas.study.front import pareto_front
    from nas.study.run import open_run

_HOMES = {
    "Genotype": "space.genotype",
    "NasError": "errors",
    "analyze": "analysis.pooling",
    "build": "codegen.build",
    "cost": "graph.cost",
    "evaluate": "exporters.evaluate",
    "evaluate_masks": "exporters.masks",
    "expand": "space.genotype",
    "export": "exporters.run",
    "load_space": "space.load",
    "open_run": "study.run",
    "pareto_front": "study.front",
    "predict": "exporters.predict",
    "predict_masks": "exporters.masks",
    "replay": "controller.replay",
    "report": "reports.page",
    "reseed": "controller.reseed",
    "search": "controller.search",
    "source": "codegen.source",
    "train": "controller.train",
}
"""Module of each public name."""
__all__ = [
    "Genotype",
    "NasError",
    "analyze",
    "build",
    "cost",
    "evaluate",
    "evaluate_masks",
    "expand",
    "export",
    "load_space",
    "open_run",
    "pareto_front",
    "predict",
    "predict_masks",
    "replay",
    "report",
    "reseed",
    "search",
    "source",
    "train",
]
__version__ = "0.1.0"


if "IPython" in sys.modules:  # a notebook, perhaps: then our types show themselves, and a search its progress
    _notebook = import_module("nas.integrations.notebook")
    if _notebook.active():
        _notebook.register()
        _HOMES["search"] = "integrations.notebook"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(import_module(f"nas.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
