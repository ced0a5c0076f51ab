"""Importance of the factors at each budget: factors that decide the error early need not decide it late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.factors.factors import Factors, factors_of
from nas.analysis.table import trial_table, without_selected
from nas.study.history import History

if TYPE_CHECKING:
    import pandas as pd

    from nas.study.run import Run
    from nas.study.trial import Trial

PARTS = (4, 2, 1)
"""Divisors of the schedule that give the budgets without rungs."""


@dataclass(frozen=True)
class Budget:
    """Factors of the error after `epochs`, over the `networks` that were trained that long."""

    epochs: int
    networks: int
    factors: Factors | None


def factors_by_budget(run: Run, *, seed: int = 0) -> tuple[Budget, ...]:
    """Return the factors at each budget of a run, the smallest first.

    The budgets are the rungs of successive halving. Without rungs they are a quarter, half and all of the
    epochs of the recipe, at which the learning rate is not what it would be in a schedule of that length.
    """
    epochs = run.config.recipe.epochs
    budgets = run.config.fidelity or sorted({max(1, epochs // part) for part in PARTS})
    return tuple(_budget(run.study.trials, at, seed) for at in budgets)


def _budget(trials: Sequence[Trial], epochs: int, seed: int) -> Budget:
    reached = [t for t in trials if t.state != "failed" and t.duplicate_of is None and len(t.curve) >= epochs]
    if not reached:
        return Budget(epochs, 0, None)
    frame = _as_of(reached, epochs)
    factors = factors_of(frame, np.random.default_rng(seed))
    return Budget(epochs, frame["digest"].nunique(), factors)


def _as_of(trials: Sequence[Trial], epochs: int) -> pd.DataFrame:
    """Return the trials as complete ones, with the validation error that they had after `epochs`. If some
    were stopped, the others were chosen by their results."""
    history = History()
    for trial in trials:
        history.record(trial)
    errors = [trial.curve[epochs - 1]["val_error"] for trial in trials]
    frame = trial_table(history).assign(error=errors, epochs=epochs)
    return without_selected(frame).assign(state="complete")
