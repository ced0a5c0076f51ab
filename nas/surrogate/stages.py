"""Epochs as an input of the Gaussian process: values of trainings that have not ended.

Values of the same training after different epochs are alike, but less so the further apart they are on the
logarithmic scale. What neither decisions nor FLOPs explain of a value is in part the network's own, which
other trainings of it would show too; in part the training's, which stays; and in part the luck of the epoch,
whose variance falls with the epochs. The constants were chosen by marginal likelihood, which hardly depends
on them, and those of decisions and of networks by searches that halve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats

Trainings = NDArray[np.intp]

TREND_DECAY = 0.5
"""Rate at which the trends in log FLOPs after different epochs grow unlike, per unit of log epochs."""

DECAY = 0.03
"""The same of what decisions explain."""

OWN = 0.75
"""Share of the residual variance at the end of training that is the training's own, or its network's."""

LASTING = 0.5
"""Share of the residual variance at the end of training that is the network's own."""


@dataclass(frozen=True)
class Stages:
    """How far trainings had come.

    logs: logarithms of the shares of all epochs, 0 at the end, (n,). trainings: the number of each, (n,)."""

    logs: Floats
    trainings: Trainings

    @property
    def residual_variance(self) -> Floats:
        """Variance of the residuals relative to that at the end, (n,)."""
        return OWN + (1 - OWN) * np.exp(-self.logs)


@dataclass(frozen=True)
class Correlations:
    """Factors by which stages change the parts of a covariance: the trend, the decisions and the residual."""

    trend: Floats | float
    decisions: Floats | float
    residual: Floats | float

    @classmethod
    def of(cls, a: Stages, b: Stages) -> Correlations:
        """Return the correlations (n, m) of values at stages (n) and (m)."""
        apart = np.abs(a.logs[:, None] - b.logs)
        same = a.trainings[:, None] == b.trainings
        residual = same * np.where(apart == 0, a.residual_variance[:, None], OWN)
        return cls(np.exp(-TREND_DECAY * apart), np.exp(-DECAY * apart), residual)

    @classmethod
    def at_end(cls, trainings: Trainings, known: Stages) -> Correlations:
        """Return the correlations (n, m) of the mean error of each network over many trainings, at their end,
        with values at stages (m). The networks are those of `trainings` (n), numbers of trainings."""
        same = trainings[:, None] == known.trainings
        apart = np.abs(known.logs)
        return cls(np.exp(-TREND_DECAY * apart), np.exp(-DECAY * apart), LASTING * same)
