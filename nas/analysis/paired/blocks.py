"""The trainings of paired contexts as arrays (see `nas.searchers.designs.paired`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.analysis.table import refused
from nas.stats.resampling import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

ARMS = ("same_shape", "equal_flops")

OR = " / "
"""Joins the names of the two sides of a covariate that is 0 or 1."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Blocks:
    """Trainings by (context, arm, repeat, type): errors, FLOPs and parameters, NaN where there is
    none; `failed` marks those that failed. `digests` name the networks, "" where none was trained;
    `planned` (contexts, arms, types) marks the networks that a context was to have. `covariates` hold
    a number per context (depth in blocks, width in channels, the place of batch norm as 0 or 1 under the
    names of both sides), NaN where it is not known."""

    types: tuple[str, ...]
    error: Floats
    flops: Floats
    params: Floats
    failed: Mask
    digests: NDArray[np.str_]
    planned: Mask
    depth: Floats
    covariates: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        """Training seeds of most networks."""
        runs = (~np.isnan(self.error) | self.failed).sum(axis=2)
        return int(np.median(runs[runs > 0])) if (runs > 0).any() else 0

    def seed_sd(self, types: Sequence[int]) -> float:
        """Return the standard deviation between trainings of one network of a context, pooled over the
        networks of some types; NaN with one seed. A network that stands in both arms counts once."""
        error = np.where(self.repeated, np.nan, self.error)[..., list(types)]
        runs = (~np.isnan(error)).sum(axis=2)
        squares = np.nansum((error - mean_of(error, 2)[:, :, None]) ** 2)
        freedom = int(np.maximum(runs - 1, 0).sum())
        return float(np.sqrt(squares / freedom)) if freedom else float("nan")

    @property
    def repeated(self) -> Mask:
        """The trainings that stand in the first arm already."""
        again: Mask = (self.digests[:, :1] == self.digests) & (self.digests != "")
        again[:, 0] = False
        return again

    @property
    def networks(self) -> NDArray[np.str_]:
        """Digest of each network, (contexts, arms, types)."""
        return self.digests[:, :, 0]

    def tally(self, arm: int) -> tuple[Ints, Ints, Ints]:
        """Count trainings that failed, trainings that ran, and planned networks without a training, each by
        (context, type)."""
        failed = self.failed[:, arm]
        ran = (failed | ~np.isnan(self.error[:, arm])).sum(axis=1)
        return failed.sum(axis=1), ran, (self.planned[:, arm] & (ran == 0)).astype(np.intp)

    def means(self, arm: int, failed_as: float = np.nan) -> Floats:
        """Mean error over the trainings of each network, (contexts, types). Trainings that failed and
        networks that have none count with the error `failed_as`, or not at all where it is NaN."""
        means = mean_of(np.where(self.failed[:, arm], failed_as, self.error[:, arm]), 1)
        return np.where(self.tally(arm)[2] > 0, failed_as, means)

    def rows(self, contexts: Mask) -> Blocks:
        """The same of some contexts alone."""
        arrays = ("error", "flops", "params", "failed", "digests", "planned", "depth")
        covariates = {name: values[contexts] for name, values in self.covariates.items()}
        return replace(
            self, **{name: getattr(self, name)[contexts] for name in arrays}, covariates=covariates
        )


def read_blocks(frame: pd.DataFrame) -> Blocks:
    """Read the rows of a paired design, whose `design` says where they stand.

    A context is the networks it holds: pooled runs of one context are further trainings of it, and a
    training that stands in two runs counts once. The last context of a run may be cut by its budget: types
    that were not reached in it are no losses.
    """
    import pandas as pd

    designs = list(frame["design"])
    runs = frame["run"] if "run" in frame else [0] * len(frame)
    contexts = [(run, design["context"]) for run, design in zip(runs, designs, strict=True)]
    failed = (frame["state"] == "failed") & ~refused(frame)  # what was refused for want of memory never ran
    decisions = frame["decisions"] if "decisions" in frame else [None] * len(frame)
    ends: dict[Any, int] = {}
    for run, number in contexts:
        ends[run] = max(number, ends.get(run, number))
    rows = pd.DataFrame(
        {
            "context": contexts,
            "run": list(runs),
            "last": [number == ends[run] for run, number in contexts],
            "type": [design["type"] for design in designs],
            **{arm: [arm in design["arms"] for design in designs] for arm in ARMS},
            "error": frame["error"].where(frame["state"] == "complete").astype(float).to_numpy(),
            "failed": np.asarray(failed, bool),
            **{name: frame[name].astype(float).to_numpy() for name in ("flops", "params")},
            "digest": frame["digest"].astype(str).to_numpy(),
            "seed": frame["seed"].to_numpy(),
            "depth": [float(len(blocks)) for blocks in frame["blocks"]],
            "width": [_width(found) for found in decisions],
            "norm": [_norm(found) for found in decisions],
        }
    )
    return blocks_of(rows)


def blocks_of(rows: pd.DataFrame) -> Blocks:
    """Arrange trainings by context.

    Args:
        rows: One row per training, with the columns `context`, `run` (which decides what was planned),
            `type`, one truth value per arm, `error` (NaN where there is none), `failed`, `flops`, `params`,
            `digest`, `depth`, `width`, `norm` and, where it is known, `seed` and `last`, which marks the last
            context of a design.
    """
    rows = rows.assign(context=_merged(rows))
    if "seed" in rows:  # a training of two runs counts once; two types may be one network, with one training
        rows = rows[~rows[["context", "type", *ARMS, "digest", "seed", "error"]].duplicated()]
    types, contexts = tuple(sorted(rows["type"].unique())), rows["context"].drop_duplicates()
    place = {context: at for at, context in enumerate(contexts)}
    at = rows["context"].map(place).to_numpy(np.intp)
    kind = rows["type"].map({name: k for k, name in enumerate(types)}).to_numpy(np.intp)
    where = [np.flatnonzero(rows[arm].to_numpy(bool)) for arm in ARMS]
    repeat = [rows.iloc[row].groupby(["context", "type"]).cumcount().to_numpy(np.intp) for row in where]
    repeats = 1 + max((int(numbers.max(initial=0)) for numbers in repeat), default=0)
    shape = (len(place), len(ARMS), repeats, len(types))
    values = {name: np.full(shape, np.nan) for name in ("error", "flops", "params")}
    names = rows["digest"].to_numpy(str)
    failed, digests = np.zeros(shape, bool), np.full(shape, "", names.dtype)
    for arm, (row, number) in enumerate(zip(where, repeat, strict=True)):
        cell = at[row], arm, number, kind[row]
        for name, array in values.items():
            array[cell] = rows[name].to_numpy(float)[row]
        failed[cell] = rows["failed"].to_numpy(bool)[row]
        digests[cell] = names[row]
    first = rows.groupby(at)[["depth", "width", "norm"]].first()
    covariates = {"depth": first["depth"].to_numpy(float), "width": first["width"].to_numpy(float)}
    covariates |= _places(first["norm"].fillna("").to_numpy(str))
    planned = _planned(rows, at, kind, shape)
    return Blocks(
        types,
        **values,
        failed=failed,
        digests=digests,
        planned=planned,
        depth=covariates["depth"],
        covariates=covariates,
    )


def _places(norms: NDArray[np.str_]) -> dict[str, Floats]:
    """0 or 1 for the place of batch norm, by the names of both sides."""
    names = sorted(set(norms) - {""})
    if len(names) == 2:
        return {f"norm {names[0]}{OR}norm {names[1]}": np.where(norms == "", np.nan, norms == names[1])}
    return {f"other norm{OR}norm {name}": np.where(norms == "", np.nan, norms == name) for name in names}


def _planned(rows: pd.DataFrame, at: Ints, kind: Ints, shape: tuple[int, ...]) -> Mask:
    """Mark the types that a context was to have: those of its run, in each arm that it has a part in."""
    planned = np.zeros((shape[0], shape[1], shape[3]), bool)
    for _, numbers in rows.groupby("run").indices.items():
        for arm, name in enumerate(ARMS):
            held = rows[name].to_numpy(bool)[numbers]
            if held.any():
                cells = np.ix_(np.unique(at[numbers][held]), np.array([arm]), np.unique(kind[numbers][held]))
                planned[cells] = True
    return planned & ~_not_reached(rows, at, kind, planned.shape)


def _not_reached(rows: pd.DataFrame, at: Ints, kind: Ints, shape: tuple[int, ...]) -> Mask:
    """Mark what has no row in contexts that are the last of every run that holds them."""
    missing = np.zeros(shape, bool)
    if "last" in rows:
        missing[rows["last"].groupby(at).all().to_numpy(bool)] = True
        for arm, name in enumerate(ARMS):
            held = rows[name].to_numpy(bool)
            missing[at[held], arm, kind[held]] = False
    return missing


def _merged(rows: pd.DataFrame) -> list[Any]:
    """The context of each row, with contexts of the same networks as one. The last context of a design joins
    one that holds its networks and more."""
    networks: dict[Any, set[tuple[Any, ...]]] = {}
    columns = (rows[name] for name in ("context", "type", *ARMS, "digest"))
    for context, *network in zip(*columns, strict=True):
        networks.setdefault(context, set()).add(tuple(network))
    first: dict[frozenset[tuple[Any, ...]], Any] = {}
    last = set(rows["context"][rows["last"]]) if "last" in rows else set()
    for context in last:
        whole = (held for held in networks.values() if networks[context] < held)
        networks[context] = next(whole, networks[context])
    same = {context: first.setdefault(frozenset(held), context) for context, held in networks.items()}
    return [same[context] for context in rows["context"]]


def _width(decisions: Mapping[str, Any] | None) -> float:
    """Mean width of the stages, in channels."""
    widths = [v for path, v in (decisions or {}).items() if path.rpartition(".")[2] == "width"]
    return float(np.mean(widths)) if widths else float("nan")


def _norm(decisions: Mapping[str, Any] | None) -> str:
    """The one place of batch norm; "" where there are several or none."""
    norms = {v for path, v in (decisions or {}).items() if path.rpartition(".")[2] == "norm"}
    return str(norms.pop()) if len(norms) == 1 else ""


def mean_of(values: Floats, axis: int) -> Floats:
    """The mean of what is known along an axis; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0).sum(axis=axis)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))
