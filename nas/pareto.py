"""Pareto fronts, knees and hypervolumes. Every objective is minimised.

Points are arrays (n, d) of finite numbers. A point dominates another if it is nowhere
worse and somewhere better; equal points do not dominate each other, so a front keeps all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CELLS = 100
"""Approximate number of boxes into which the space of the exact objectives is cut; the expected gains of the
boxes are summed."""

MARGIN = 0.1
"""Share of the range of each objective by which the reference point is beyond the worst value."""


def front(points: ArrayLike) -> NDArray[np.intp]:
    """Return the indices of the non-dominated points, ascending."""
    array = _points(points)
    # In lexicographic order nothing is dominated by a later point.
    left = np.lexsort(array.T[::-1])
    found: list[int] = []
    while left.size:
        found.append(int(left[0]))
        left = left[1:]
        left = left[~_dominated(array[left], array[found[-1]][None])]
    return np.array(sorted(found), dtype=np.intp)


def knee(points: ArrayLike) -> int:
    """Return the index of the knee of the front.

    Each objective is scaled to [0, 1] over the front; the knee is the point farthest, towards the ideal, from
    the hyperplane through the ends of the axes, which is the one with the smallest sum (Das 1999, On
    characterizing the "knee" of the Pareto curve). Ties go to the point that is best in the first objective,
    then in the next, whatever the order of the points. ValueError without points.
    """
    array = _points(points)
    if not len(array):
        raise ValueError("no points, so no knee")
    indices = front(array)
    best = array[indices]
    low, span = best.min(axis=0), np.ptp(best, axis=0)
    scaled = (best - low) / np.where(span > 0, span, 1.0)
    sums = scaled.sum(axis=1).round(9)
    return int(indices[np.lexsort((*best.T[::-1], sums))[0]])


def reference_point(points: ArrayLike) -> Floats:
    """Return the reference point (d,) of hypervolumes: the worst value of each objective among all points
    plus a tenth of its range, so that the ends of the front count (Ishibuchi et al. 2018, How to specify a
    reference point). An objective without range is set off by a tenth of its value, or by 1 at zero.
    """
    array = _points(points)
    if not len(array):
        raise ValueError("no points, so no reference point")
    worst, span = array.max(axis=0), np.ptp(array, axis=0)
    span = np.where(span > 0, span, np.abs(worst))
    return np.asarray(worst + np.where(span > 0, MARGIN * span, 1.0), dtype=np.float64)


def crowding(points: ArrayLike) -> Floats:
    """Return the crowding distance (n,) of each point: the gaps to its neighbours in each objective, relative
    to the range, summed (Deb et al. 2002, NSGA-II). At the ends, which have one neighbour, its gap counts
    twice instead of being infinite."""
    array = _points(points)
    total = np.zeros(len(array))
    for column in array.T if len(array) > 1 else ():
        order = np.argsort(column, kind="stable")
        gaps = np.diff(column[order]) / (np.ptp(column) or 1.0)
        total[order] += np.append(gaps, gaps[-1]) + np.insert(gaps, 0, gaps[0])
    return total


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the exact volume that the points dominate up to `reference` (d,), for any d >= 1.

    Points that are not better than the reference in every objective add nothing. Two dimensions take a sweep,
    more the WFG recursion (While et al. 2012).
    """
    array, corner = _points(points), np.asarray(reference, dtype=np.float64)
    if len(array) and corner.shape != array.shape[1:]:
        raise ValueError(f"the reference has shape {corner.shape}, the points {array.shape}")
    inside = array[(array < corner).all(axis=1)] if len(array) else array
    return _volume(inside[front(inside)], corner) if len(inside) else 0.0


def hypervolume_history(points: ArrayLike, reference: ArrayLike | None = None) -> Floats:
    """Return the hypervolume (n,) after each point, measured from one reference point (by default
    `reference_point` of all). It never falls."""
    array = _points(points)
    if not len(array):
        return np.zeros(0)
    corner = reference_point(array) if reference is None else np.asarray(reference, dtype=np.float64)
    best, volume, history = array[:0], 0.0, np.zeros(len(array))
    for index, point in enumerate(array):
        if (point < corner).all() and not (best <= point).all(axis=1).any():
            volume += _exclusive(point, best, corner)
            best = np.vstack([best[~_dominated(best, point[None])], point])
        history[index] = volume
    return history


def expected_improvement(points: Floats, spreads: Floats, done: Bools, asked: Bools) -> Floats:
    """Return the expected hypervolume gain (n,) of each point (n, d) over the points that are `done`.

    Points that are not `asked` for, or are done, gain 0. Column 0 is the mean of a normal distribution with
    standard deviations `spreads` (n,); the other columns are exact. With one objective this is the expected
    improvement of Jones et al. 1998, with two that of the hypervolume (Emmerich et al. 2005), exact up to
    CELLS points; with more points, cells are cut at quantiles, and points that are done count in those that
    they dominate whole. The reference point is that of all points.
    """
    from scipy.special import ndtr  # a quarter of a second, and not always needed

    corner, exact = reference_point(points), points[:, 1:]
    lower, upper = _cells(exact, corner[1:])
    within: Bools = np.all(exact[done] <= lower[:, None], axis=2)  # (cells, done)
    best = np.where(within, points[done, 0], corner[0]).min(axis=1, initial=corner[0])
    left = np.flatnonzero(asked & ~done)
    spread = np.maximum(spreads[left], np.finfo(float).tiny ** 0.25)
    better = best[:, None] - points[left, 0]
    density = np.exp(-((better / spread) ** 2) / 2) / np.sqrt(2 * np.pi)
    sides = np.maximum(0, upper[:, None] - np.maximum(exact[left], lower[:, None])).prod(axis=2)
    gains = np.zeros(len(points))
    gains[left] = (sides * (better * ndtr(better / spread) + spread * density)).sum(axis=0)
    return gains


def _cells(exact: Floats, corner: Floats) -> tuple[Floats, Floats]:
    """Return the boxes between values of the points in every objective (n, d), and up to the corner: the
    lower and the upper corner of each (cells, d). Without objectives there is one box without sides.
    """
    n, d = exact.shape
    count = min(n, round(CELLS ** (1 / max(1, d))))
    cuts = [np.unique(np.sort(column)[np.arange(count) * n // count]) for column in exact.T]
    ends = [np.append(cut[1:], end) for cut, end in zip(cuts, corner, strict=True)]
    lower, upper = (
        np.array(np.meshgrid(*side)).reshape(d, -1).T if d else np.zeros((1, 0)) for side in (cuts, ends)
    )
    return lower, upper


class Layers:
    """The first `depth` non-dominated layers of a growing set of points.

    Points only ever sink, so a layer is updated by the newcomer and by what it pushes
    down (Li et al. 2017, efficient non-domination level update); what falls below the
    last layer is forgotten. Adding costs O(depth * layer size). `points` (n, d) are those to begin
    with, of the keys from 0 on, which are sorted at once: thousands in the time of a few additions.
    """

    def __init__(self, points: ArrayLike, depth: int) -> None:
        left = _points(points)
        keys = np.arange(len(left), dtype=np.intp)
        self._points: list[Floats] = []
        self._keys: list[NDArray[np.intp]] = []
        for _ in range(depth):
            best = front(left)
            self._points.append(left[best])
            self._keys.append(keys[best])
            left, keys = np.delete(left, best, axis=0), np.delete(keys, best)

    @property
    def keys(self) -> list[NDArray[np.intp]]:
        """Keys in each layer, ascending, the best layer first."""
        return [np.sort(keys) for keys in self._keys]

    def add(self, key: int, point: Sequence[float]) -> None:
        moving, keys = np.asarray([point], dtype=np.float64), np.asarray([key], dtype=np.intp)
        placed = False
        for depth, (points, held) in enumerate(zip(self._points, self._keys, strict=True)):
            if not placed and _dominated(moving, points).any():
                continue
            placed = True
            sinking = _dominated(points, moving)
            self._points[depth] = np.concatenate([points[~sinking], moving])
            self._keys[depth] = np.concatenate([held[~sinking], keys])
            moving, keys = points[sinking], held[sinking]
            if not len(moving):
                return


def _points(points: ArrayLike) -> Floats:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, array.shape[-1] if array.ndim == 2 else 1)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ValueError(f"points must be finite, of shape (n, d); got shape {array.shape}")
    return array


def _dominated(points: Floats, by: Floats) -> Bools:
    """Return whether some row of `by` (m, d) dominates each of `points` (n, d)."""
    no_worse = (by[:, None] <= points[None]).all(axis=2)
    better = (by[:, None] < points[None]).any(axis=2)
    return np.asarray((no_worse & better).any(axis=0))


def _exclusive(point: Floats, others: Floats, corner: Floats) -> float:
    """Return the volume that `point` dominates and none of `others` does."""
    alone = float(np.prod(corner - point))
    if not len(others):
        return alone
    shadow = np.maximum(others, point)
    return alone - _volume(shadow[front(shadow)], corner)


def _volume(points: Floats, corner: Floats) -> float:
    """Return the volume of mutually non-dominated points inside the corner."""
    if points.shape[1] == 1:
        return float(corner[0] - points.min())
    if points.shape[1] == 2:
        ordered = points[np.lexsort(points.T[::-1])]
        upper = np.concatenate([corner[1:], ordered[:-1, 1]])
        return float(((corner[0] - ordered[:, 0]) * (upper - ordered[:, 1])).sum())
    ordered = points[np.argsort(-points[:, -1], kind="stable")]
    return sum(_exclusive(point, ordered[i + 1 :], corner) for i, point in enumerate(ordered))
