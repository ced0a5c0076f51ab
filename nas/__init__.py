"""Neural architecture search over modules: which types matter, which networks lie on the
front of FLOPs against error, and their PyTorch code.

Names are loaded when they are first used, so that `import nas` is quick.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.codegen.build import build
    from nas.codegen.source import source
    from nas.controller.search import search
    from nas.errors import NasError
    from nas.graph.cost import cost
    from nas.space.genotype import Genotype, expand
    from nas.space.space import load_space
    from nas.study.run import open_run

_HOMES = {
    "Genotype": "space.genotype",
    "NasError": "errors",
    "build": "codegen.build",
    "cost": "graph.cost",
    "expand": "space.genotype",
    "load_space": "space.space",
    "open_run": "study.run",
    "search": "controller.search",
    "source": "codegen.source",
}
__all__ = [
    "Genotype",
    "NasError",
    "build",
    "cost",
    "expand",
    "load_space",
    "open_run",
    "search",
    "source",
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
