"""search.yaml: the settings of a search as one file that repeats it, the search space included."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import yaml

from nas.space.spec_reader import recipe_names
from nas.study.run_config import UNBOUNDED

if TYPE_CHECKING:
    from nas.study.run_config import RunConfig

HEAD = """\
# Settings of a search. To repeat it: nas search --config search.yaml
# Keys are the options of nas search; an option on the command line comes before the file.
# Written by nas {nas} with torch {torch}.
"""


def told_recipe(config: RunConfig, space: str) -> dict[str, Any]:
    """Return the fields of a run's recipe that a search is told beside its epochs: those that the text of its
    space does not set."""
    in_space = recipe_names(space)
    return {name: value for name, value in asdict(config.recipe).items() if name not in ("epochs", *in_space)}


def search_yaml(config: RunConfig, space: str) -> str:
    """Return the text of search.yaml: every setting that decides the results, and the space's own YAML."""
    settings: dict[str, Any] = {
        "data": config.data,
        "searcher": config.searcher,
        "objectives": list(config.objectives),
        **({"trials": config.trials} if config.trials < UNBOUNDED else {}),
        **({"fidelity": list(config.fidelity)} if config.fidelity else {"epochs": config.recipe.epochs}),
        "seed": config.seed,
        **({"seed-with": list(config.seed_with)} if config.seed_with else {}),
        **({"seeds": config.repeats} if config.repeats else {}),
        "recipe": told_recipe(config, space),
    }
    versions = {"nas": "", "torch": "", **config.versions}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return f"{HEAD.format_map(versions)}{text}space: |\n{textwrap.indent(space, '  ')}"
