"""Settings and results of a search, as figures and files for the run of the search in a tracker."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.files import write_atomic

if TYPE_CHECKING:
    from nas.study.run import Run


SETTINGS = ("space", "data", "searcher", "objectives", "fidelity", "seed", "recipe")


def settings(run: Run) -> dict[str, Any]:
    """Return the settings of a search that its trials share."""
    recorded = run.config.to_dict()
    return {name: recorded[name] for name in SETTINGS}


def summary(run: Run) -> dict[str, float]:
    """Return the trials by state and, with a complete one, the size of the front and its best network: its
    measured error, and where that is known the expected one, by which it is the best."""
    states = Counter(trial.state for trial in run.study.trials)
    found: dict[str, float] = {
        f"trials_{state}": states[state] for state in ("complete", "stopped", "failed")
    }
    if run.study.complete:
        best = run.best()
        found |= {"networks_on_front": len(run.front()), "best_trial": best.number}
        found |= {"best_flops": best.flops, "best_params": best.params}
        if best.error is not None:
            found["best_error"] = best.error
        if expected := run.expected():
            found["best_expected_error"] = expected.of(best.digest).value
    return found


def write_files(run: Run, folder: Path) -> list[Path]:
    """Write the front (front.json), the report (report.html) and the source of the best network (best.py),
    and return their paths; without a complete trial there are none."""
    if not run.study.complete:
        return []
    from nas.analysis.text.pareto import pareto_dict
    from nas.codegen.source import source
    from nas.reports.page import report
    from nas.space.genotype import expand

    best = expand(run.best().genotype, run.config.input_shape, run.config.num_classes)
    front, code = folder / "front.json", folder / "best.py"
    write_atomic(
        front, json.dumps(pareto_dict(run.study, expected=run.expected(), config=run.config), indent=2)
    )
    write_atomic(code, source(best))
    return [front, report(run, folder / "report.html"), code]
