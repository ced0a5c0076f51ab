"""Decisions and FLOPs of networks as rows of numbers.

A decision that is not asked in a network, because another rules it out, is half as far from each option as
these are from each other. Numeric options are ordinal: near numbers are alike. Decisions with the same
options, such as the module types of all blocks, also share columns that say how often each was taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats


@dataclass(frozen=True)
class Encoder:
    """Maps networks to rows of numbers, log FLOPs in the last column.

    columns: of each decision, the columns that tell its options apart, 0 where it is not asked. codes: their
    values by option. shares: of each option, by decision, the column that counts how often it is taken, and
    what it adds. group: number of the weight of each column but the last.
    """

    columns: Mapping[str, slice]
    codes: Mapping[str, Mapping[Any, Floats]]
    shares: Mapping[str, tuple[Mapping[Any, int], float]]
    group: NDArray[np.intp]

    @classmethod
    def of(cls, domains: Mapping[str, Sequence[Any]]) -> Encoder:
        """Return the encoder of a space with these options by decision."""
        searched = {path: tuple(options) for path, options in domains.items() if len(options) > 1}
        columns: dict[str, slice] = {}
        codes: dict[str, dict[Any, Floats]] = {}
        group: list[str] = []
        for path, options in searched.items():
            codes[path] = _codes(options)
            width = len(codes[path][options[0]])
            columns[path] = slice(len(group), len(group) + width)
            group += [_name(path)] * width
        shares: dict[str, tuple[dict[Any, int], float]] = {}
        alike: dict[tuple[Any, ...], list[str]] = {}
        for path, options in searched.items():
            alike.setdefault(options, []).append(path)
        for options, paths in alike.items():
            if len(paths) > 1:
                places = {option: len(group) + i for i, option in enumerate(options)}
                shares |= dict.fromkeys(paths, (places, 1 / len(paths)))
                group += [f"share {options}"] * len(options)
        numbers = {name: i for i, name in enumerate(dict.fromkeys(group))}
        return cls(
            columns,
            codes,
            shares,
            np.array([numbers[name] for name in group], dtype=np.intp),
        )

    def encode(self, decisions: Sequence[Mapping[str, Any]], flops: Sequence[float]) -> Floats:
        """Return a row for each network, (n, columns)."""
        rows = np.zeros((len(decisions), len(self.group) + 1))
        rows[:, -1] = np.log(np.maximum(1.0, np.asarray(flops, dtype=np.float64)))
        for row, chosen in zip(rows, decisions, strict=True):
            for path, option in chosen.items():
                if path in self.columns:
                    row[self.columns[path]] = self.codes[path].get(option, 0.0)
                if path in self.shares:
                    places, share = self.shares[path]
                    if option in places:
                        row[places[option]] += share
        return rows


def _codes(options: Sequence[Any]) -> dict[Any, Floats]:
    """Return the columns of each option. The squared distance is 1 between categories, and the difference of
    ranks, from 0 to 1, between numbers."""
    count = len(options)
    if not all(isinstance(option, int | float) and not isinstance(option, bool) for option in options):
        return dict(zip(options, np.sqrt(0.5) * np.eye(count), strict=True))
    steps = np.sqrt(1 / (count - 1)) * (np.tri(count, count - 1, -1) - 0.5)
    return dict(zip(sorted(options), steps, strict=True))


def _name(path: str) -> str:
    """Return the name of a decision without its stage and block, all of it where nothing is left."""
    return re.sub(r"(stage|block)\d+\.", "", path)
