"""Records a trial in its study and its weights in the run folder."""

from __future__ import annotations

from pathlib import Path

from nas.files import write_atomic, write_errors
from nas.pareto import front
from nas.study.history import History
from nas.study.trial import Trial


def record(study: History, trial: Trial, weights: bytes | None, weights_dir: Path | None) -> None:
    """Append a trial, and keep the weights of the front in `weights_dir`, no others.

    Weights are written first, so that a recorded trial on the front has its weights whatever happens.
    """
    if weights_dir is not None and weights is not None and trial.complete and _on_front(study, trial):
        write_atomic(weights_dir / f"{trial.number}.safetensors", weights)
    study.record(trial)
    if weights_dir is not None and trial.complete:
        kept = {f"{member.number}.safetensors" for member in study.front()}
        for path in weights_dir.glob("*.safetensors"):
            if path.name not in kept:
                with write_errors(path):
                    path.unlink(missing_ok=True)


def _on_front(study: History, trial: Trial) -> bool:
    """Return whether no network of the front dominates this trial."""
    points = [*map(study.means, study.front()), trial.values(study.objectives)]
    return len(points) - 1 in front(points)
