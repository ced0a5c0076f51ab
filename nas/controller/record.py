"""Records a trial in its study and its weights in the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.files import write_atomic, write_errors
from nas.pareto import front
from nas.study.history import History
from nas.study.trial import Trial

LAYERS = 3
"""Non-dominated layers whose weights are kept. Networks are chosen by expected errors, and what these put on
the front is seldom further behind the front of measured errors."""


def record(study: History, trial: Trial, weights: bytes | None, weights_dir: Path | None) -> None:
    """Append a trial, and keep the weights of the first layers in `weights_dir`, no others.

    Weights are written first, so that a recorded trial on the front has its weights whatever happens.
    """
    if weights_dir is not None and weights is not None and trial.complete and _is_near(study, trial):
        write_atomic(weights_dir / f"{trial.number}.safetensors", weights)
    study.record(trial)
    if weights_dir is not None and trial.complete:
        kept = kept_weights(study)
        for path in weights_dir.glob("*.safetensors"):
            if path.name not in kept:
                with write_errors(path):
                    path.unlink(missing_ok=True)


def kept_weights(study: History) -> set[str]:
    """Return the names of the files of weights that a study keeps."""
    near = [*study.front(), *(trial for layer in study.layers()[:LAYERS] for trial in layer)]
    return {f"{trial.number}.safetensors" for trial in near}


def _is_near(study: History, trial: Trial) -> bool:
    """Return whether a trial will be in one of the first layers, or on the front of the means of networks."""
    values = trial.values(study.objectives)
    means = [study.means(member) for member in study.front()]
    layers = [[member.values(study.objectives) for member in layer] for layer in study.layers()[:LAYERS]]
    return len(layers) < LAYERS or not all(_dominated(values, points) for points in (means, *layers))


def _dominated(values: Sequence[float], points: Sequence[Sequence[float]]) -> bool:
    return len(points) not in front([*points, values])
