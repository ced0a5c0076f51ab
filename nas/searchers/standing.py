"""What a search may compare while trials stop at rungs: the errors that are to be expected at the end."""

from __future__ import annotations

from dataclasses import replace

from nas.forecast import GROWTH, Forecast, forecast
from nas.history import History
from nas.trial import Trial


class Standing:
    """Follows a history. `of` gives it with every trial that has come to a rung as if it were complete,
    with the error that is forecast from what it had there."""

    _forecast: Forecast
    _standing: History

    def __init__(self) -> None:
        self._history: History | None = None

    def of(self, history: History) -> History:
        """The history itself where there are no rungs. Follows from the order of arrivals alone, so a
        resumed search is told what one in a single go would be."""
        if history is not self._history:
            self._history, self._next, self._known = history, 1, 0
        arrived = history.arrived
        if not arrived:
            return history
        if self._next <= len(arrived):
            while self._next <= len(arrived):
                fitted, self._next = self._next, max(self._next + 1, int(GROWTH * self._next))
            latest = {trial.number: trial for trial in arrived[:fitted]}
            self._forecast = forecast(latest.values(), {trial.epochs for trial in arrived[:fitted]})
            self._standing, self._known = History(history.objectives), fitted
            self._record(*latest.values())
        self._record(*arrived[self._known :])
        self._known = len(arrived)
        return self._standing

    def _record(self, *trials: Trial) -> None:
        """Those that it does not hold, each as it came first."""
        new: dict[int, Trial] = {}
        for trial in trials:
            if self._standing.by_number(trial.number) is None:
                new.setdefault(trial.number, trial)
        for trial, error in zip(new.values(), self._forecast.errors(list(new.values())), strict=True):
            self._standing.record(replace(trial, state="complete", error=float(error)))
