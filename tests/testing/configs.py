"""Settings of runs that were never searched."""

from __future__ import annotations

from typing import Any

from nas.study.run_config import RunConfig
from nas.training.recipe import Recipe

DIGITS: dict[str, Any] = {
    "space": "residual_vs_fractal",
    "space_digest": "0" * 32,
    "data": "digits",
    "data_fingerprint": "0" * 32,
    "searcher": "evolution",
    "objectives": ("error", "flops"),
    "seed": 0,
    "trials": 24,
    "uniform_share": 0.2,
    "input_shape": (1, 8, 8),
    "num_classes": 10,
    "classes": tuple("0123456789"),
    "mean": (0.3,),
    "std": (0.37,),
    "versions": {"nas": "0.1.0", "torch": "2"},
}


def make_config(recipe: dict[str, Any] | None = None, **settings: Any) -> RunConfig:
    """Return settings of a search on digits, but for those that are given; `recipe` sets fields."""
    return RunConfig(recipe=Recipe(**recipe or {}), **DIGITS | settings)
