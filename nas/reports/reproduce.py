"""Instructions to reproduce the runs of a report: commands, settings, versions and search spaces."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from nas.analysis.overview import Overview
from nas.plugins import plugin_files
from nas.reports.render import render, table
from nas.study.commands import argument, command_for, nas_command
from nas.study.search_file import told_recipe

if TYPE_CHECKING:
    from nas.study.run import Run


def reproduce(overview: Overview) -> Markup:
    """Fill the section on every run of a report."""
    first, names = overview.runs[0], [argument(run) for run in overview.runs]
    fronts = [command_for(run, "pareto", argument(run)) for run in overview.runs]
    return render(
        "reproduce.html",
        runs=[_described(run) for run in overview.runs],
        commands=[*(command_for(first, words, *names) for words in ("analyze", "report")), *fronts],
    )


def _described(run: Run) -> dict[str, Any]:
    settings = run.config.to_dict()
    del settings["versions"]
    return {
        "name": run.name,
        "command": search_command(run),
        "versions": table(["program", "version"], run.config.versions.items()),
        "settings": json.dumps(settings, indent=2),
        "space": run.files.space.read_text(encoding="utf-8"),
    }


def search_command(run: Run) -> str:
    """Return the command that starts the same search again, with every setting that decides its results."""
    config = run.config
    if any("=" in network for network in config.seed_with):  # too long for a command
        return nas_command("search", "--config", str(run.files.search))
    recipe = told_recipe(config, run.files.space.read_text(encoding="utf-8"))
    if isinstance(recipe.get("class_weights"), dict):
        recipe |= {f"class_weights.{name}": w for name, w in recipe.pop("class_weights").items()}
    options = {
        "space": run.files.space,
        "data": config.data,
        "searcher": config.searcher,
        "objectives": ",".join(config.objectives),
        "trials": config.trials,
        "epochs": "" if config.fidelity else config.recipe.epochs,
        "fidelity": ",".join(map(str, config.fidelity)),
        "recipe": ",".join(f"{key}={_scalar(value)}".replace(",", "\\,") for key, value in recipe.items()),
        "seed": config.seed,
        "seed-with": ",".join(config.seed_with),
        "seeds": config.repeats or "",
    }
    given = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if str(value)]
    plugins = [f"--plugin {shlex.quote(file)}" for file in plugin_files()]
    return " \\\n  ".join(["nas search", *given, *plugins])


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
