"""What a search may compare while trials stop at rungs: all of them after equally many epochs."""

from __future__ import annotations

from dataclasses import replace

from nas.history import History

ENOUGH = 100
"""Trials at a rung from which on it counts, and the lower ones no more."""


class Standing:
    """Follows a history. `of` gives it as it stood at the highest rung that enough trials have come to
    (Falkner et al. 2018, BOHB), at the lowest until then: where an error after few epochs says
    something of that after many, many of those say more than the few that are complete."""

    def __init__(self) -> None:
        self._history: History | None = None

    def of(self, history: History) -> History:
        """The history itself where there are no rungs, or enough trials are complete."""
        if history is not self._history:
            self._history, self._known = history, 0
            self._at: dict[int, History] = {}
        for trial in history.arrived[self._known :]:
            rung = self._at.setdefault(trial.epochs, History(history.objectives))
            if rung.by_number(trial.number) is None:
                rung.record(replace(trial, state="complete"))
            self._known += 1
        if not self._at or len(history.complete) >= ENOUGH:
            return history
        counted = [epochs for epochs, rung in self._at.items() if len(rung.trials) >= ENOUGH]
        return self._at[max(counted, default=min(self._at))]
