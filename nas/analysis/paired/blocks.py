"""The trainings of a paired design as arrays (see `nas.searchers.designs.paired`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.stats.resampling import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

ARMS = ("same_shape", "equal_flops")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Blocks:
    """Trainings by (context, arm, repeat, type): errors, FLOPs and parameters, NaN where there is
    none; `failed` marks those that failed. `depth` (contexts,) counts the blocks of a network;
    `strata` names sets of contexts."""

    types: tuple[str, ...]
    error: Floats
    flops: Floats
    params: Floats
    failed: Mask
    digests: NDArray[np.str_]
    depth: Floats
    strata: Mapping[str, Mask]

    @property
    def seeds(self) -> int:
        """Training seeds of most networks."""
        runs = (~np.isnan(self.error) | self.failed).sum(axis=2)
        return int(np.median(runs[runs > 0])) if (runs > 0).any() else 0

    @property
    def seed_sd(self) -> float:
        """Pooled standard deviation between trainings of one network of a context; NaN with one
        seed. A network that stands in both arms counts once."""
        error = np.where(self._again, np.nan, self.error)
        runs = (~np.isnan(error)).sum(axis=2)
        squares = np.nansum((error - mean_of(error, 2)[:, :, None]) ** 2)
        freedom = int(np.maximum(runs - 1, 0).sum())
        return float(np.sqrt(squares / freedom)) if freedom else float("nan")

    @property
    def _again(self) -> Mask:
        """The trainings that stand in the first arm already."""
        again: Mask = (self.digests[:, :1] == self.digests) & (self.digests != "")
        again[:, 0] = False
        return again

    def tally(self) -> tuple[Ints, Ints]:
        """How many trainings failed and how many ran, each by (context, type)."""
        once = ~self._again
        ran = self.failed | ~np.isnan(self.error)
        return (self.failed & once).sum(axis=(1, 2)), (ran & once).sum(axis=(1, 2))

    def with_failed_as(self, error: float) -> Blocks:
        """The same with this error, a fraction, for every failed training."""
        return replace(self, error=np.where(self.failed, error, self.error))

    def differences(self, a: int, b: int) -> Floats:
        """Error of b less that of a, (contexts, arms), averaged over the seeds they share."""
        return mean_of(self.error[..., b] - self.error[..., a], 2)


def read_blocks(frame: pd.DataFrame) -> Blocks:
    """The blocks in the rows of a paired design (their `design` says where they stand); with a
    column `run`, contexts of different runs are different, and no training counts twice."""
    rows = frame.assign(run=frame.get("run", 0))
    rows = rows.drop_duplicates(["digest", "seed"]).to_dict("records")
    types = tuple(sorted({row["design"]["type"] for row in rows}))
    contexts = {key: at for at, key in enumerate(dict.fromkeys(_context(row) for row in rows))}
    repeats = 1 + max(row["design"]["repeat"] for row in rows)
    shape = (len(contexts), len(ARMS), repeats, len(types))
    values = {name: np.full(shape, np.nan) for name in ("error", "flops", "params")}
    failed, digests = np.zeros(shape, bool), np.full(shape, "", "<U32")
    depth = np.zeros(len(contexts))
    for row in rows:
        depth[contexts[_context(row)]] = len(row["blocks"])
        for arm in row["design"]["arms"]:
            kind = types.index(row["design"]["type"])
            at = contexts[_context(row)], ARMS.index(arm), row["design"]["repeat"], kind
            refused = row.get("reason") == "too_large"  # for want of memory: it never ran
            failed[at], digests[at] = row["state"] == "failed" and not refused, row["digest"]
            for name, array in values.items():
                array[at] = np.nan if row[name] is None else row[name]
    strata = dict(_strata(rows, contexts, depth, values["flops"]))
    return Blocks(types, **values, failed=failed, digests=digests, depth=depth, strata=strata)


def _context(row: Mapping[str, Any]) -> tuple[Any, int]:
    return row["run"], row["design"]["context"]


def _strata(
    rows: list[dict[str, Any]], contexts: Mapping[tuple[Any, int], int], depth: Floats, flops: Floats
) -> Iterator[tuple[str, Mask]]:
    """Contexts by the halves of depth and of FLOPs, and by the place of batch norm."""
    norm = np.full(len(contexts), "", object)
    for row in rows:
        at = contexts[_context(row)]
        norms = {v for path, v in (row.get("decisions") or {}).items() if path.rpartition(".")[2] == "norm"}
        norm[at] = norm[at] or (norms.pop() if len(norms) == 1 else "")
    for name, values in (("depth", depth), ("FLOPs", mean_of(mean_of(flops[:, 1], 2), 1))):
        known = values[np.isfinite(values)]
        low = values <= (np.median(known) if len(known) else np.nan)
        if low.any() and not low.all():
            yield f"low {name}", low
            yield f"high {name}", ~low
    for place in sorted(set(norm) - {""}):
        yield f"norm {place}", norm == place


def mean_of(values: Floats, axis: int) -> Floats:
    """The mean of what is known along an axis; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0).sum(axis=axis)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))
