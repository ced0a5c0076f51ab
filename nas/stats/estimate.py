"""A figure with its interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite


@dataclass(frozen=True)
class Estimate:
    """A value with the limits of its 95 % interval; NaN where the sample cannot tell."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """-1 or 1 where the interval excludes zero, else 0."""
        if not isfinite(self.low + self.high):
            return 0
        return int(self.low > 0) - int(self.high < 0)


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


def percent(estimate: Estimate) -> str:
    """`1.20 [0.40, 2.00]` in percentage points."""
    return f"{100 * estimate.value:.2f} [{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"


def finite(value: float) -> float | None:
    """Return the value for JSON, which has no NaN: None where it is not finite."""
    return value if isfinite(value) else None


def estimate_dict(estimate: Estimate) -> dict[str, float | None]:
    """Return value, low and high as JSON."""
    return {name: finite(value) for name, value in asdict(estimate).items()}
