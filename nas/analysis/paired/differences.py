"""Differences between two module types, one per context."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.stats.resampling import Floats, Ints


def differences(means: Floats, networks: NDArray[np.str_], pair: tuple[int, int]) -> Floats:
    """Error of type b less that of type a in each context (contexts,); NaN where one is not known.

    Contexts are what was drawn independently. Those with the same network of both types, or with the same
    trainings of either, are one context seen again: their mean stands at the first of them, and NaN at the
    others.

    Args:
        means: Mean error of each network, (contexts, types).
        networks: Digest of each network, (contexts, types).
        pair: Places of the types a and b.
    """
    found = means[:, pair[1]] - means[:, pair[0]]
    known = np.flatnonzero(np.isfinite(found))
    unknown = np.array([f"unknown {at}" for at in range(len(found))])[:, None]
    named = np.where(networks == "", unknown, networks)
    group = _linked(_labels(named[known][:, list(pair)], means[known][:, list(pair)]))
    if len(known) == group.max(initial=-1) + 1:
        return np.asarray(found)
    once = np.full(len(found), np.nan)
    first = np.unique(group, return_index=True)[1]
    once[known[first]] = np.bincount(group, weights=found[known]) / np.bincount(group)
    return once


def _labels(networks: NDArray[np.str_], means: Floats) -> list[Ints]:
    """Numbers of equal pairs of networks, and of networks with equal trainings, which have equal means."""
    a, b = (np.unique(column, return_inverse=True)[1] for column in networks.T)
    columns = [
        np.stack([a, b], axis=1),
        np.stack([a, means[:, 0]], axis=1),
        np.stack([b, means[:, 1]], axis=1),
    ]
    return [np.unique(each, axis=0, return_inverse=True)[1].reshape(-1).astype(np.intp) for each in columns]


def _linked(columns: list[Ints]) -> Ints:
    """Number of the group of each row, where rows with an equal number in a column are of one group."""
    group = np.arange(len(columns[0]))
    if all(len(np.unique(column)) == len(group) for column in columns):
        return group
    while True:
        before = group
        for column in columns:
            lowest = np.full(column.max(initial=0) + 1, len(group))
            np.minimum.at(lowest, column, group)
            group = lowest[column]
        if np.array_equal(before, group):
            return np.unique(group, return_inverse=True)[1].astype(np.intp)
