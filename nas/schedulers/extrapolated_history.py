"""What a search may compare while trials stop at rungs: the errors that are to be expected at the end."""

from __future__ import annotations

from dataclasses import replace

from nas.study.history import History
from nas.study.trial import Trial
from nas.surrogate.learning_curve import Forecast


class Standing:
    """Follows a history. `of` gives it with every trial that has come to a rung as if it were complete,
    with the error that is forecast from what it had there."""

    _standing: History

    def __init__(self) -> None:
        self._forecast: Forecast | None = None

    def of(self, history: History) -> History:
        """The history itself where there are no rungs. Follows from the order of arrivals alone, so a
        resumed search is told what one in a single go would be."""
        arrived = history.arrived
        if not arrived:
            return history
        latest, fitted = history.forecast()
        if latest is not self._forecast:
            self._forecast, self._known = latest, fitted
            self._standing = History(history.objectives)
            self._record(latest, *{trial.number: trial for trial in arrived[:fitted]}.values())
        self._record(latest, *arrived[self._known :])
        self._known = len(arrived)
        return self._standing

    def _record(self, model: Forecast, *trials: Trial) -> None:
        """Those that it does not hold, each as it came first."""
        new: dict[int, Trial] = {}
        for trial in trials:
            if self._standing.by_number(trial.number) is None:
                new.setdefault(trial.number, trial)
        for trial, error in zip(new.values(), model.errors(list(new.values())), strict=True):
            self._standing.record(replace(trial, state="complete", error=float(error)))
