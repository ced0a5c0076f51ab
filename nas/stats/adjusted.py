"""Effects of module types at equal FLOPs and equal depth, in networks that were not trained in pairs.

    error = type + smooth function of log FLOPs + smooth function of depth + noise

Within the FLOPs and depths at which both types occur the error is regressed on the share of blocks of each
type, with the cost and the depth of the networks held constant. Where the effect varies with them, the result
is its mean over the networks at which either type might stand, which is where they overlap most (Angrist,
1998; Li, Morgan and Zaslavsky, 2018).

    effect = adjusted_effect(shares, error, (np.log(flops), depth), a, b)
    effect.estimate, effect.p          # change of error when every block of a becomes b; p before Holm
    effect.overlap, effect.networks    # how comparable the networks are, and how many were compared
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.regression import Effect, partial_effect, smooth
from nas.stats.resampling import Floats

Mask = NDArray[np.bool_]

NETWORKS_PER_DEGREE, MOST_DEGREES = 20, 4
"""Networks per degree of freedom of a smooth function, and its most degrees of freedom."""

CALIPER = 0.2
"""Standard deviations beyond the last network of a type up to which it is comparable (Austin, 2011)."""


@dataclass(frozen=True)
class AdjustedEffect:
    """Change of error when type a is replaced by type b at equal cost and depth.

    p: two-sided, before Holm. overlap: the effective overlap, in [0, 1]: the networks in common support times
    the share of the types' variance that cost and depth do not explain, as a part of all networks that hold
    either type. Where it is .7, 100 networks tell as much as 70 of equal cost and depth. networks: those in
    common support, of `among` that hold either type. worth: networks of equal cost and depth, of both types
    together, that a test without adjustment would need for the same power: what the adjustment itself costs
    is taken off too, its parameters once for the slope and once for the caution of HC3. changes: for each
    covariate, the change of the effect per standard deviation of it.
    """

    estimate: Estimate
    p: float
    overlap: float
    networks: int
    among: int
    worth: float
    changes: tuple[Effect, ...] = ()


def adjusted_effect(
    shares: Floats, error: Floats, covariates: Sequence[Floats], a: int, b: int
) -> AdjustedEffect:
    """Compare two types at equal values of the covariates.

    shares: (networks, types), of blocks of each type, each row summing to 1. error: (networks,). covariates:
    each (networks,), what is held constant, on the scale on which it acts (log FLOPs, depth). a, b: columns
    of `shares`. Estimates are NaN where the networks cannot tell the two types apart.
    """
    holds = shares[:, [a, b]] > 0
    rows = holds.any(axis=1)
    among = int(rows.sum())
    if holds.any(axis=0).all():
        rows &= np.all([_common(values, holds) for values in covariates], axis=0)
    networks = int(rows.sum())
    if not holds[rows].any(axis=0).all():
        return AdjustedEffect(UNKNOWN, float("nan"), 0.0, 0, among, 0.0)
    others = [k for k in range(shares.shape[1]) if k not in (a, b)]
    base = np.column_stack([np.ones(networks), shares[rows][:, others]])
    held_constant = np.hstack([base, _columns([values[rows] for values in covariates])])
    effect = partial_effect(error[rows], shares[rows, b], held_constant, base.shape[1])
    overlap = effect.unexplained * networks / among
    worth = effect.unexplained * effect.left**2 / networks
    own = shares[rows, b]
    held_constant = np.column_stack([held_constant, own])
    changes = tuple(
        partial_effect(error[rows], own * _standard(values[rows]), held_constant) for values in covariates
    )
    return AdjustedEffect(effect.estimate, effect.p, overlap, networks, among, worth, changes)


def adjusted_means(shares: Floats, error: Floats, covariates: Sequence[Floats]) -> list[Estimate]:
    """Estimate the error of a network made of each type alone, at the mean cost and depth of all networks.

    Arguments as of `adjusted_effect`. The means are for the eye and for the order of a table: whether two of
    them differ is asked of `adjusted_effect`, which compares the two where both occur.
    """
    columns = _columns(covariates)
    centred = columns - columns.mean(axis=0)
    return [_mean(shares, error, centred, i).estimate for i in range(shares.shape[1])]


def adjusted_errors(shares: Floats, error: Floats, covariates: Sequence[Floats]) -> Floats:
    """Return errors (networks,) without the effects of cost and depth, so that any two may be compared.

    Arguments as of `adjusted_effect`. The mean stays that of the errors.
    """
    columns = _columns(covariates)
    centred = columns - columns.mean(axis=0)
    slopes = np.linalg.lstsq(np.hstack([shares, centred]), error, rcond=None)[0]
    return np.asarray(error - centred @ slopes[shares.shape[1] :])


def _mean(shares: Floats, error: Floats, centred: Floats, at: int) -> Effect:
    others = np.hstack([np.delete(shares, at, axis=1), centred])
    return partial_effect(error, shares[:, at], others, shares.shape[1] - 1)


def _common(values: Floats, held: Mask) -> Mask:
    """Return whether each value (n,) lies where both columns of `held` (n, 2) occur, or near it."""
    ranges = [values[column] for column in held.T]
    near = CALIPER * float(values[held.any(axis=1)].std())
    low, high = max(map(np.min, ranges)) - near, min(map(np.max, ranges)) + near
    return np.asarray((values >= low) & (values <= high))


def _standard(values: Floats) -> Floats:
    """Return values with mean 0 and standard deviation 1; zeros where they do not vary."""
    centred = values - values.mean()
    return np.asarray(centred / (centred.std() or 1.0))


def _columns(covariates: Sequence[Floats]) -> Floats:
    """Return the smooth functions of all covariates, as flexible as the number of networks allows."""
    degrees = int(np.clip(len(covariates[0]) // NETWORKS_PER_DEGREE, 1, MOST_DEGREES))
    return np.hstack([smooth(values, degrees) for values in covariates])
