"""Surrogate of validation error: ridge regression on factors and pairs of them.

Its parts add up, so that each has a share of the variance: the covariance of a part with the whole is
its Shapley value in the variance of the sum
(Colini-Baldeschi, Scarsini and Vaccari, 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from nas.analysis.factors.encoding import Mask, Setting
from nas.graph.graph import stage_of
from nas.stats.resampling import Floats, Ints

STAGE, BLOCK = "stage", "block"
FIRST = ("type", "norm", "depth", "width", STAGE, BLOCK)
"""Factors whose interactions are looked at first; of the others as many as columns allow."""

MOST_COLUMNS = 200
PAIR_PENALTY = 10.0
"""Penalty of pairs as a multiple of that of factors: most effects of pairs are smaller."""

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
FOLDS, UNITS = 10, 40
"""Folds of the cross-validation, and groups of clusters that the jackknife leaves out in turn."""


@dataclass(frozen=True)
class Term:
    """The columns (n, p) of one factor, or of two together."""

    factors: tuple[str, ...]
    columns: Floats


@dataclass(frozen=True)
class Shares:
    """Share of each term in the variance of errors that the surrogate was not fitted to, the same
    without each group of clusters (groups, terms), and the R² there of all terms together."""

    terms: tuple[tuple[str, ...], ...]
    share: Floats
    without: Floats
    r2: float


NOTHING = Shares((), np.zeros(0), np.zeros((0, 0)), float("nan"))


@dataclass(frozen=True)
class _Coded:
    """A setting as contrasts (n, levels - 1) of mean zero, and zero where it is not open."""

    place: str
    columns: Floats
    is_open: Mask


def terms(factors: Mapping[str, Sequence[Setting]]) -> list[Term]:
    """Factors, then pairs, each of mean variance one. A factor of several places counts by its
    mean over them; its pair with the stage (or block) is how these depart from the mean; two
    factors act together where they meet in one block, one stage or the network."""
    coded = {name: _coded(settings) for name, settings in factors.items()}
    places = {setting.place for settings in factors.values() for setting in settings}
    where = STAGE if any(place.startswith(STAGE) for place in places) else BLOCK
    all_terms = [Term((name,), _mean(own)) for name, own in coded.items()]
    left = MOST_COLUMNS - sum(term.columns.shape[1] for term in all_terms)
    pairs = combinations((*coded, where), 2)
    for a, b in sorted(pairs, key=lambda pair: sum(name not in FIRST for name in pair)):
        columns = _departures(coded[a], left) if b == where else _together(coded[a], coded[b], left)
        if columns is not None:
            all_terms.append(Term((a, b), columns))
            left -= columns.shape[1]
    return [
        Term(term.factors, term.columns / spread) for term in all_terms if (spread := _spread(term)) > 1e-6
    ]


def shares(
    factors: Mapping[str, Sequence[Setting]],
    error: Floats,
    cluster: Ints,
    enough: float,
    rng: np.random.Generator,
) -> Shares:
    """Fit the surrogate, its penalty chosen by cross-validation over clusters, which are what was
    drawn independently, and share the variance out; `without` only where R² reaches `enough`."""
    unit = (rng.permutation(int(cluster.max()) + 1) % UNITS)[cluster]
    whole = terms(factors)
    folds = _products(whole, error, unit % FOLDS)
    fits = [_held_out(whole, folds, penalty) for penalty in PENALTIES]
    best = int(np.argmax([r2 for _, r2 in fits]))
    share, r2 = fits[best]
    without = []
    for left_out in range(int(unit.max()) + 1) if r2 >= enough else ():
        at = np.flatnonzero(unit != left_out)
        fewer = terms(
            {name: [setting.rows(at) for setting in settings] for name, settings in factors.items()}
        )
        fewer_shares, _ = _held_out(fewer, _products(fewer, error[at], unit[at] % FOLDS), PENALTIES[best])
        without.append([fewer_shares.get(term.factors, 0.0) for term in whole])
    names = tuple(term.factors for term in whole)
    return Shares(names, np.array([share[name] for name in names]), np.array(without), r2)


def _coded(settings: Sequence[Setting]) -> list[_Coded]:
    """Code the settings of one factor, whose levels mean the same at all places."""
    contrasts = _contrasts(1 + max(int(setting.level.max()) for setting in settings))
    codes = []
    for setting in settings:
        is_open = setting.level >= 0
        columns = contrasts[setting.level]  # a level of -1 reads the last, which is not open
        columns = (columns - columns[is_open].mean(axis=0)) * is_open[:, None]
        codes.append(_Coded(setting.place, columns, is_open))
    return codes


@lru_cache
def _contrasts(count: int) -> Floats:
    """An orthonormal basis (count, count - 1) of what sums to zero, so that no level is special."""
    return np.linalg.qr(np.column_stack([np.ones(count), np.eye(count)[:, 1:]]))[0][:, 1:]


def _mean(places: Sequence[_Coded]) -> Floats:
    """Average over the places that are open."""
    number = np.sum([place.is_open for place in places], axis=0)
    total = np.sum([place.columns for place in places], axis=0)
    return np.asarray(total / np.maximum(number, 1)[:, None])


def _departures(places: Sequence[_Coded], most: int) -> Floats | None:
    """Return the departures of the stages of a factor (else of its blocks) from its mean; None where these
    are fewer than two or take too many columns."""
    parts: dict[str, list[_Coded]] = {}
    for place in places:
        parts.setdefault(stage_of(place.place), []).append(place)
    if len(parts) < 2 or len(parts) * places[0].columns.shape[1] > most:
        return None
    mean = _mean(places)
    held = [np.any([place.is_open for place in part], axis=0)[:, None] for part in parts.values()]
    return np.hstack([(_mean(part) - mean) * here for part, here in zip(parts.values(), held, strict=True)])


def _together(a: Sequence[_Coded], b: Sequence[_Coded], most: int) -> Floats | None:
    """The products of two factors where they meet: where the place of one lies in the other's."""
    if a[0].columns.shape[1] * b[0].columns.shape[1] > most:
        return None
    meeting = [
        _product(x, y) for x in a for y in b if x.place.startswith(y.place) or y.place.startswith(x.place)
    ]
    return _mean(meeting) if meeting else None


def _product(a: _Coded, b: _Coded) -> _Coded:
    columns = (a.columns[:, :, None] * b.columns[:, None, :]).reshape(len(a.columns), -1)
    return _Coded("", columns, a.is_open & b.is_open)


def _spread(term: Term) -> float:
    return float(np.sqrt(term.columns.var(axis=0).mean()))


def _products(terms: Sequence[Term], error: Floats, fold: Ints) -> Floats:
    """The products of (1, the columns of the terms, the error less its mean), summed over each fold: all
    that a fit needs, whatever its penalty."""
    rows = np.column_stack([np.ones(len(error)), *[term.columns for term in terms], error - error.mean()])
    return np.stack([rows[fold == f].T @ rows[fold == f] for f in np.unique(fold)])


def _held_out(
    terms: Sequence[Term], folds: Floats, penalty: float
) -> tuple[dict[tuple[str, ...], float], float]:
    """Return the share of each term in the variance of errors as the other folds predict it, and R²."""
    sizes = [term.columns.shape[1] for term in terms]
    ridge = np.repeat([penalty * PAIR_PENALTY ** (len(term.factors) - 1) for term in terms], sizes)
    others, total = folds.sum(axis=0) - folds, folds[:, -1, -1].sum()
    slopes = np.linalg.solve(others[:, :-1, :-1] + np.diag([0, *ridge]), others[:, :-1, -1:])
    here = folds[:, :-1, -1]
    missed = -2 * (slopes[..., 0] * here).sum() + (slopes * (folds[:, :-1, :-1] @ slopes)).sum()
    centred = here[:, 1:] - others[:, 0, 1:-1] / others[:, 0, :1] * folds[:, :1, -1]
    parts = (slopes[:, 1:, 0] * centred).sum(axis=0)
    shares = np.add.reduceat(parts, np.cumsum([0, *sizes[:-1]])) / total
    share_of = {term.factors: float(share) for term, share in zip(terms, shares, strict=True)}
    return share_of, float(-missed / total)
