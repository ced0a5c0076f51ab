"""Sample sizes that a comparison needs, in contexts or networks, and the effects that they can show.

For a difference of standard deviation SD the two-sided test at level a finds an effect
delta with the wanted power in n = ((z_(1-a/2) + z_power) SD / delta)^2 blocks, 2.8 SD / delta for
5 % and 80 %. z^2 / 2 more blocks make up for an SD that is itself estimated (Guenther, 1981), and as many
again if the stricter of two tests counts, as in `nas.stats.paired_means`. That widens limits where
differences have long tails, for which 4 % more are planned. The first of several tests,
adjusted after Holm, has to pass at a / tests.
"""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist

LEVEL, POWER = 0.05, 0.8
LONG_TAILS = 1.04
"""Factor of the blocks of two tests: they lose power by up to 5.5 points where differences are lognormal, and
none where these are normal (benchmarks/claims_statistics.py)."""

_NORMAL = NormalDist()


def needed(effect: float, sd: float, tests: int = 1, power: float = POWER, *, two_tests: bool = False) -> int:
    """Return the blocks that detect an effect of this size; `effect` and `sd` in one unit, above 0."""
    z = _z(tests)
    known = ((z + _NORMAL.inv_cdf(power)) * sd / effect) ** 2
    return ceil(known * (LONG_TAILS if two_tests else 1) + _spent(z, two_tests))


def detectable(
    blocks: int, sd: float, tests: int = 1, power: float = POWER, *, two_tests: bool = False
) -> float:
    """Return the smallest effect that this many blocks detect; infinite if they are too few for any."""
    z = _z(tests)
    known = _known(blocks, z, two_tests)
    return (z + _NORMAL.inv_cdf(power)) * sd / sqrt(known) if known > 0 else float("inf")


def predicted(blocks: int, effect: float, sd: float, tests: int = 1, *, two_tests: bool = False) -> float:
    """Return the probability that this many blocks detect an effect of this size."""
    z = _z(tests)
    return _NORMAL.cdf(abs(effect) * sqrt(max(0.0, _known(blocks, z, two_tests))) / sd - z)


def _z(tests: int) -> float:
    return _NORMAL.inv_cdf(1 - LEVEL / (2 * tests))


def _known(blocks: int, z: float, two_tests: bool) -> float:
    """Return the blocks that are left for the effect."""
    return (blocks - _spent(z, two_tests)) / (LONG_TAILS if two_tests else 1)


def _spent(z: float, two_tests: bool) -> float:
    """Return the additional blocks for an estimated SD and for the stricter of two tests."""
    return z**2 if two_tests else z**2 / 2
