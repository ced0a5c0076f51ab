"""How much of the variance of validation error each factor accounts for, and what that supports."""

from __future__ import annotations

from dataclasses import dataclass

from nas.analysis.grades import Gate, grade, refusals
from nas.estimate import Estimate


@dataclass(frozen=True)
class Factor:
    """One factor. `main` and `total` are shares of the variance of validation error between
    networks, in [0, 1]; `total` includes its interactions. `top` and `front` are its PED-ANOVA
    shares in what leads to the lowest errors and onto the Pareto front of error and FLOPs:
    they describe the sample; NaN where there are too few networks."""

    name: str
    main: Estimate
    total: Estimate
    top: float
    front: float


@dataclass(frozen=True)
class Interaction:
    """Two factors, and the share of the variance that only both together account for."""

    a: str
    b: str
    share: Estimate


@dataclass(frozen=True)
class Factors:
    """The factors, the highest total first, and the interactions of two, the highest first.

    method: "anova", exact on a table of (nearly) all networks, or "shapley", of a surrogate fitted
    to a sample. noise_ceiling: the share of the variance that is not seed noise, NaN without
    repeated seeds. surrogate_r2: of the surrogate, on networks it was not fitted to.
    """

    method: str
    rows: tuple[Factor, ...]
    interactions: tuple[Interaction, ...]
    noise_ceiling: float
    surrogate_r2: float
    networks: int
    gates: tuple[Gate, ...]

    @property
    def grade(self) -> str:
        return grade(self.gates)

    @property
    def refused(self) -> list[Gate]:
        """The gates that keep it from the next better grade, and the runs missing."""
        return refusals(self.gates, self.grade)
