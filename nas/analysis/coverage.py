"""Outcomes of trials: their places, failures and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.comparison import FLOPS_BINS
from nas.stats.resampling import Floats, Ints, log_bins

if TYPE_CHECKING:
    import pandas as pd

OVERLAP = 0.25
"""Seconds by which trials of one worker may seem to overlap: starts are computed from durations."""


@dataclass(frozen=True)
class Coverage:
    """Distinct complete networks that hold each type, by FLOPs bin: counts (types, bins), with the
    limits of the bins (bins + 1,). A network of two types counts for both."""

    types: tuple[str, ...]
    edges: Floats
    counts: Ints


@dataclass(frozen=True)
class Timing:
    """Times of the trials (n,), in seconds since the first began, and the worker of each.

    Workers are inferred from the times: no two overlapping trials share one."""

    start: Floats
    end: Floats
    worker: Ints

    @property
    def trained(self) -> float:
        """Seconds of all trials together."""
        return float((self.end - self.start).sum())

    @property
    def elapsed(self) -> float:
        """Seconds in which some trial ran."""
        order = np.argsort(self.start)
        reached = np.maximum.accumulate(self.end[order])
        begin = np.maximum(self.start[order][1:], reached[:-1])
        first = self.end[order][:1] - self.start[order][:1]
        return float(first.sum() + np.maximum(self.end[order][1:] - begin, 0).sum())

    @property
    def busy(self) -> Floats:
        """Seconds of each worker."""
        return np.bincount(self.worker, weights=self.end - self.start).astype(float)


def coverage(networks: pd.DataFrame, types: Sequence[str]) -> Coverage:
    edges, at = log_bins(networks["flops"].to_numpy(float), FLOPS_BINS)
    holds = [np.array([name in blocks for blocks in networks["blocks"]], bool) for name in types]
    counts = [np.bincount(at[held], minlength=FLOPS_BINS) for held in holds]
    return Coverage(tuple(types), edges, np.array(counts, np.intp))


def failures(trials: pd.DataFrame) -> Mapping[str, Mapping[str, int]]:
    """Count by type the trials that hold it, under "", and those of them that failed, by reason."""
    counts: dict[str, Counter[str]] = {}
    for blocks, reason in zip(trials["blocks"], trials["reason"], strict=True):
        for name in set(blocks):
            own = counts.setdefault(name, Counter())
            own[""] += 1
            if reason:
                own[reason] += 1
    return {name: dict(counts[name]) for name in sorted(counts)}


def timing(end: Floats, duration: Floats) -> Timing:
    """Place trials that ended at `end` (seconds, any origin) after `duration` on workers; reused results,
    which took no time, are left out."""
    ran = duration > 0
    start, end = (end - duration)[ran], end[ran]
    origin = start.min() if len(start) else 0.0
    order = np.argsort(start, kind="stable")
    worker, free = np.zeros(len(start), np.intp), list[float]()
    for at in order:
        ready = [s for s, until in enumerate(free) if until <= start[at] + OVERLAP]
        slot = max(ready, key=free.__getitem__, default=len(free))
        if slot == len(free):
            free.append(0.0)
        free[slot], worker[at] = end[at], slot
    return Timing(start - origin, end - origin, worker)
