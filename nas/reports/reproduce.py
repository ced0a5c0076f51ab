"""How to run it again: commands, settings, versions and the space itself."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.analysis.overview import Overview
from nas.reports.front import where
from nas.reports.markup import Html, join, table, tag

if TYPE_CHECKING:
    from nas.study.run import Run


def reproduce(found: Overview) -> Html:
    """The section on every run of a report."""
    parts: list[Any] = []
    for run in found.runs:
        versions = run.config.versions
        settings = run.config.to_dict()
        del settings["versions"]
        parts += [
            tag("h3", run.name),
            tag("pre", tag("code", search_command(run))),
            table(["program", "version"], versions.items()),
            _folded(f"Settings of {run.name}", json.dumps(settings, indent=2)),
            _folded(f"Search space of {run.name}", run.files.space.read_text(encoding="utf-8")),
        ]
    names = " ".join(where(run) for run in found.runs)
    lines = [f"nas analyze {names}", f"nas report {names}", *(f"nas pareto {where(r)}" for r in found.runs)]
    return join(
        [*parts, tag("h3", "What this page was made from"), tag("pre", tag("code", "\n".join(lines)))]
    )


def search_command(run: Run) -> str:
    """The command that starts the same search again, with every setting that decides its results."""
    config = run.config
    recipe = {key: value for key, value in asdict(config.recipe).items() if key != "epochs"}
    options = {
        "space": run.files.space,
        "data": config.data,
        "searcher": config.searcher,
        "objectives": ",".join(config.objectives),
        "trials": config.trials,
        "epochs": "" if config.fidelity else config.recipe.epochs,
        "fidelity": ",".join(map(str, config.fidelity)),
        "recipe": ",".join(f"{key}={_scalar(value)}" for key, value in recipe.items()),
        "seed": config.seed,
        "seed-with": ",".join(config.seed_with),
        "seeds": config.repeats or "",
    }
    given = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if str(value)]
    return " \\\n  ".join(["nas search", *given])


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _folded(title: str, content: str) -> Html:
    return tag("details", tag("summary", title), tag("pre", tag("code", content)), class_="print")
