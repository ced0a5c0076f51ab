"""nas runs: list the runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _options as options
from nas.cli._output import emit, note, table

if TYPE_CHECKING:
    from nas.study.run_folder import RunFolder

NOT_COUNTED = {"complete": None, "failed": None, "best_error": None}


@click.command("runs", epilog="Example: nas runs")
@options.results_dir
@options.as_json
def command(results_dir: Path, as_json: bool) -> None:
    """List the runs, the oldest first; the last is `latest`.

    A run is exhausted if its searcher had fewer networks to propose than trials were asked for. No server is
    contacted, so trials on a server are not counted.
    """
    from nas.errors import NasError
    from nas.study.run_folder import list_runs

    rows = []
    for files in list_runs(results_dir):
        try:
            rows.append(_row(files))
        except NasError as error:
            note(f"warning: {error}")
            continue
        if rows[-1]["storage"]:
            note(f"{files.name}: its trials are on {rows[-1]['storage']}, which is not contacted")
    if as_json:
        emit({"runs": rows})
    elif not rows:
        note(f"no runs in {results_dir}; nas search starts the first one")
    else:
        table([_readable(row) for row in rows], right=["complete", "failed", "of", "best error"])


def _row(files: RunFolder) -> dict[str, Any]:
    """Return the row of a run folder; the counts are None if the trials are on a server."""
    from nas.study.run_folder import read_config

    config = read_config(files)
    about: dict[str, Any] = {"name": files.path.resolve().name, "folder": str(files.path)}
    about |= {
        "space": config.space,
        "data": config.data,
        "searcher": config.searcher,
        "trials": config.trials,
        "exhausted": bool(config.exhausted),
    }
    counts = NOT_COUNTED if config.storage else _counts(files)
    return {**about, **counts, "storage": config.storage}


def _counts(files: RunFolder) -> dict[str, Any]:
    from nas.study.study import Study

    with Study.open(files.database) as study:
        errors = [trial.objective("error") for trial in study.complete]
        return {
            "complete": len(study.complete),
            "failed": sum(trial.state == "failed" for trial in study.trials),
            "best_error": min(errors, default=None),
        }


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    best = "" if row["best_error"] is None else f"{row['best_error']:.2%}"
    kept = ("name", "space", "data", "searcher", "complete", "failed")
    shown = {name: "" if row[name] is None else row[name] for name in kept}
    return shown | {"of": f"{row['trials']}{' (exhausted)' if row['exhausted'] else ''}", "best error": best}
