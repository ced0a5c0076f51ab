"""Samples of distinct networks on which module types are compared without pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.table import refused
from nas.stats.resampling import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

COVARIATES = ("FLOPs", "depth")
"""Names of what is held constant, in the order of `Networks.covariates`."""


@dataclass(frozen=True)
class Networks:
    """Distinct complete networks, one per row: arrays (n,), `shares` (n, types) of blocks, `depth` in blocks.
    `runs` holds for each type how many runs hold it and how many of these failed. `own_recipes` tells
    whether types were trained under recipes of their own."""

    names: tuple[str, ...]
    shares: Floats
    error: Floats
    flops: Floats
    depth: Floats
    uniform: np.ndarray[Any, np.dtype[np.bool_]]
    seed: Ints
    runs: Mapping[str, tuple[int, int]]
    own_recipes: bool = False

    def rows(self, at: np.ndarray[Any, Any], runs: Mapping[str, tuple[int, int]]) -> Networks:
        columns = (
            self.shares[at],
            self.error[at],
            self.flops[at],
            self.depth[at],
            self.uniform[at],
            self.seed[at],
        )
        return Networks(self.names, *columns, runs, self.own_recipes)

    @property
    def covariates(self) -> tuple[Floats, Floats]:
        """Covariates held constant when types are compared at equal cost: log FLOPs and depth."""
        return np.log(self.flops), self.depth


def samples_of(frame: pd.DataFrame) -> list[tuple[str, Networks]]:
    """Return all networks, and separately those of the uniform draws, by these alone, if others are there."""
    complete = frame[(frame["state"] == "complete") & frame["error"].notna()]
    networks, drawn = _networks(complete, _runs_by_type(frame)), _drawn(complete)
    if len(drawn) and drawn.all():
        planned = all(design.get("design") == "balanced" for design in frame["design"])
        return [(f"{'a balanced sample' if planned else 'uniform samples'} of the space", networks)]
    samples = [("networks that the search visited", networks)]
    if drawn.any():
        runs = dict.fromkeys(networks.names, (0, 0)) | _runs_by_type(frame[frame["uniform"].astype(bool)])
        samples.append(("uniform samples alone", _networks(complete[drawn], runs)))
    return samples


def _networks(complete: pd.DataFrame, counted: Mapping[str, tuple[int, int]]) -> Networks:
    """Return the distinct networks of complete runs, each with its mean error over them, and uniform if each
    of its candidates is.

    counted: runs and failed runs of each type."""
    first = complete.drop_duplicates("digest")
    row = complete["digest"].factorize()[0]
    runs = np.maximum(np.bincount(row, minlength=len(first)), 1)
    error = np.bincount(row, weights=complete["error"].to_numpy(float), minlength=len(first)) / runs
    steered = np.bincount(row, weights=~_drawn(complete), minlength=len(first))
    names = tuple(sorted(counted))
    return Networks(
        names=names,
        shares=_shares(first["blocks"].tolist(), names),
        error=error,
        flops=first["flops"].to_numpy(float),
        depth=np.array([len(blocks) for blocks in first["blocks"]], float),
        uniform=steered == 0,
        seed=first["seed"].to_numpy(np.intp),
        runs=counted,
        own_recipes=bool(complete["recipe_by_type"].any()),
    )


def _runs_by_type(frame: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Count the runs that hold each type, and how many of them failed.

    Networks refused for lack of memory never ran, so they say nothing about their types."""
    frame = frame[~refused(frame)]
    blocks = frame["blocks"].tolist()
    names = sorted(set(chain.from_iterable(blocks)))
    holds = _block_counts(blocks, names) > 0
    failed = holds[(frame["state"] == "failed").to_numpy(bool)]
    counts = zip(holds.sum(axis=0).tolist(), failed.sum(axis=0).tolist(), strict=True)
    return dict(zip(names, counts, strict=True))


def _block_counts(blocks: Sequence[tuple[str, ...]], names: Sequence[str]) -> Ints:
    """Count the blocks of each type in each network, (n, types)."""
    number = {name: i for i, name in enumerate(names)}
    kind = np.fromiter(map(number.__getitem__, chain.from_iterable(blocks)), np.intp)
    row = np.repeat(np.arange(len(blocks)), np.fromiter(map(len, blocks), np.intp))
    cells = np.bincount(row * len(names) + kind, minlength=len(blocks) * len(names))
    return cells.reshape(len(blocks), len(names))


def _shares(blocks: Sequence[tuple[str, ...]], names: Sequence[str]) -> Floats:
    """Return the share of each type among the blocks of each network, (n, types)."""
    counts = _block_counts(blocks, names)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _drawn(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return whether any run of the candidate of each row was a uniform draw."""
    return np.asarray(rows.groupby("candidate")["uniform"].transform("any"), bool)
