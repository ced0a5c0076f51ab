"""The order of module types under one estimand, as far as the tests separate them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np

from nas.analysis.claims.grades import LEVEL
from nas.stats.estimate import Estimate
from nas.stats.resampling import tied_groups


class Tested(Protocol):
    """A contrast of two types: the change of error from a to b and its p after Holm."""

    @property
    def a(self) -> str: ...
    @property
    def b(self) -> str: ...
    @property
    def effect(self) -> Estimate: ...
    @property
    def p(self) -> float: ...
    @property
    def grade(self) -> str: ...


@dataclass(frozen=True)
class Order:
    """Types from the lowest error to the highest, in `groups`: two types that share a group are not
    separated, which does not say that they are equal. `left_out` are types of which a contrast is
    unsupported. There are no groups where fewer than two types are left, or where the contrasts contradict
    each other."""

    groups: tuple[tuple[str, ...], ...] = ()
    left_out: tuple[str, ...] = ()


def order_of(types: Sequence[str], contrasts: Sequence[Tested]) -> Order:
    """Order the types by the contrasts of one estimand. A contrast of grade X, or none, separates
    nothing and ties nothing, so types are left out until every pair of those that stay is supported."""
    kept = list(types)
    supported = {frozenset((c.a, c.b)) for c in contrasts if c.grade != "X"}
    while gaps := [pair for pair in combinations(kept, 2) if frozenset(pair) not in supported]:
        kept.remove(max(kept, key=lambda name: sum(name in pair for pair in gaps)))
    left_out = tuple(name for name in types if name not in kept)
    among = [c for c in contrasts if {c.a, c.b} <= set(kept)]
    if len(kept) < 2:
        return Order((), tuple(types))
    scores = np.zeros(len(kept))
    for c in among:
        scores[kept.index(c.b)] += c.effect.value / len(kept)
        scores[kept.index(c.a)] -= c.effect.value / len(kept)
    separated = [c for c in among if c.p < LEVEL]
    if any((scores[kept.index(c.b)] - scores[kept.index(c.a)]) * c.effect.value <= 0 for c in separated):
        return Order((), left_out)
    groups = tied_groups(kept, scores, {frozenset((c.a, c.b)) for c in separated})
    return Order(tuple(map(tuple, groups)), left_out)
