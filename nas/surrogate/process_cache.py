"""State of Gaussian processes that a search keeps between proposals: encoded networks, fitted parameters.

Both follow from the order of the trials alone, so a resumed search gets the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats
from nas.surrogate.encoder import Encoder
from nas.surrogate.gaussian_process import fit_parameters

MAX_FITTED = 100
"""Trials that parameters are fitted to, at most."""

GROWTH = 1.25
"""Factor by which the trials grow between two fits of the parameters."""

MAX_ROWS = 4_000
"""Encoded networks kept."""


class Network(Protocol):
    """A network to encode, such as a trial."""

    @property
    def decisions(self) -> Mapping[str, Any]: ...

    @property
    def flops(self) -> int: ...


class ProcessCache:
    """Rows and parameters of one search, whose trials are only appended."""

    def __init__(self, domains: Mapping[str, Sequence[Any]]) -> None:
        self.encoder = Encoder.of(domains)
        self._rows: dict[int, tuple[Network, Floats]] = {}  # by identity, which the network itself keeps
        self._parameters: dict[Any, tuple[int, Floats]] = {}

    def rows(self, networks: Sequence[Network]) -> Floats:
        """Return the encoded networks, (n, columns)."""
        if len(self._rows) > MAX_ROWS:
            self._rows.clear()
        new = [item for item in networks if id(item) not in self._rows]
        rows = self.encoder.encode([item.decisions for item in new], [item.flops for item in new])
        self._rows |= {id(item): (item, row) for item, row in zip(new, rows, strict=True)}
        kept = [self._rows[id(item)][1] for item in networks]
        return np.array(kept).reshape(len(kept), len(self.encoder.group) + 1)

    def parameters(
        self, key: Any, networks: Sequence[Network], points: Floats, warp: Callable[[Floats, Floats], Floats]
    ) -> Floats:
        """Return the parameters of the process `key`, fitted to the first networks: to all up to the last
        step of `GROWTH`.

        points: their objectives, the one that is modelled first, (n, d). warp: maps its values and log FLOPs
        to the scale of the process.
        """
        step = int(np.log(len(points)) / np.log(GROWTH) + 1e-9)
        if self._parameters.get(key, (-1,))[0] != step:
            count = min(len(points), int(np.ceil(GROWTH**step)))
            used = nearest_to_front(points[:count], MAX_FITTED)
            rows = self.rows([networks[i] for i in used])
            fitted = fit_parameters(self.encoder, rows, warp(points[used, 0], rows[:, -1]))
            self._parameters[key] = step, fitted
        return self._parameters[key][1]


def nearest_to_front(points: Floats, most: int) -> NDArray[np.intp]:
    """Return the indices of `most` points, ascending: half of them the nearest to the front, half spread
    evenly over the others."""
    if len(points) <= most:
        return np.arange(len(points))
    ranks = np.argsort(np.argsort(points, axis=0, kind="stable"), axis=0, kind="stable")
    nearest = np.argsort(ranks.sum(axis=1), kind="stable")[: most // 2]
    others = np.setdiff1d(np.arange(len(points)), nearest)
    even = others[np.arange(most - most // 2) * len(others) // (most - most // 2)]
    return np.sort(np.concatenate([nearest, even]))
