"""A history in which trials at rungs count as complete, with the errors expected at the end of training."""

from __future__ import annotations

from dataclasses import replace

from nas.schedulers.learning_curve import LearningCurveModel, LearningCurves
from nas.study.history import History
from nas.study.trial import Trial


class ExtrapolatedHistory:
    """Extrapolates a history with a model of learning curves."""

    def __init__(self, model: LearningCurveModel) -> None:
        self._model = model
        self._curves: LearningCurves | None = None
        self._history = History()
        self._followed = 0

    def of(self, history: History) -> History:
        """Return the extrapolated history; the history itself where nothing has come to a rung.

        It follows from the order of the rung results alone, so a resumed search gets the same.
        """
        results = history.rung_results
        if not results:
            return history
        curves, fitted = self._model.fit_incremental(results)
        if curves is not self._curves:
            self._curves, self._followed = curves, fitted
            self._history = History(history.objectives)
            self._record(curves, *{trial.number: trial for trial in results[:fitted]}.values())
        self._record(curves, *results[self._followed :])
        self._followed = len(results)
        return self._history

    def _record(self, curves: LearningCurves, *results: Trial) -> None:
        """Record the trials that the extrapolated history lacks, each by its first result."""
        new: dict[int, Trial] = {}
        for trial in results:
            if self._history.by_number(trial.number) is None:
                new.setdefault(trial.number, trial)
        for trial, (error, _) in zip(new.values(), curves.predict(list(new.values())), strict=True):
            self._history.record(replace(trial, state="complete", error=error))
