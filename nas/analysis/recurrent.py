"""Modules that recur among the good networks of a search more often than in uniform draws from its space.

Modules are told apart by their expanded graph in one context, so that two types, or two settings, that make
the same graph are one module; the inner steps of a derivation count as modules, too. Good networks have the
lowest errors in a range of FLOPs, of which there are at most four. A search copies from its parents, so the
networks that descend from one first network count as one observation. Where a module makes no difference,
its share in each has the mean that uniform draws of the same range have. Within a range a module is not told
apart from the FLOPs that come with it.

A free space holds countless modules, and any network has some that hardly another one has. So p is adjusted
for all modules of the space, not only for those that were found: by Bonferroni's method with weights, where
the weight of a module is its share of all modules of uniform draws. A module that one family alone has is
never shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp, log
from typing import Any

import numpy as np

from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Shape
from nas.modules.base import Module, expansion, field_names
from nas.space.genotype import Genotype, expand
from nas.space.space import SearchSpace
from nas.stats.estimate import Estimate
from nas.stats.resampling import Floats
from nas.study.trial import Trial

DRAWS = 1000
"""Uniform draws from the space."""
BINS, MIN_TRAINED, MIN_DRAWN = 4, 8, 30
"""Bins of FLOPs, and the fewest trained networks and uniform draws of one that is looked at."""
GOOD = 0.25
"""Share of the networks of a bin that are called good."""
LEVEL = 0.05
CONTEXT = (64, 16, 16)
"""Input of the expansion by which modules are told apart."""
NONE_SHOWN = "no module is shown to recur more than in uniform draws"


@dataclass(frozen=True)
class Recurrent:
    """A module among the good networks.

    module: one with this graph, at a width and stride of its own. networks: good networks that have it.
    families: families of good networks (a first network and those that descend from it) that have it. share:
    mean over families of the share of their networks that have it, with 95 % limits. expected: the share
    in uniform draws of the same range of FLOPs. p: adjusted for all modules of the space. gain: by how much
    the error of its good networks is below the median of all networks of their range, on average.
    """

    key: str
    module: Module
    networks: int
    families: int
    share: Estimate
    expected: float
    p: float
    gain: float


@dataclass(frozen=True)
class Recurrence:
    """Modules of a run, by p and, where that is equal, by families and gain, with the numbers that they were
    counted among.

    good, families: good networks, and their families. left_out: trained networks in bins of FLOPs with too
    few of them, or too few uniform draws. draws: uniform draws in the bins. ranges: lowest and highest FLOPs
    of the trained networks of each bin.
    """

    modules: tuple[Recurrent, ...]
    good: int
    families: int
    left_out: int
    draws: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def shown(self) -> tuple[Recurrent, ...]:
        """Modules that are shown to recur: above what is expected at the level of 5 %, all tests together."""
        return tuple(module for module in self.modules if module.p < LEVEL)


def recurrent_modules(trials: Sequence[Trial], space: SearchSpace, *, seed: int = 0) -> Recurrence:
    """Count the modules of the good networks of a run against uniform draws from its space.

    Args:
        trials: The trials of the run, failed ones included.
        space: Its space, for its images.
        seed: Seed of the uniform draws.

    Raises:
        NasError: No bin of FLOPs has enough trained networks and uniform draws.
    """
    trained = _networks(trials)
    if len(trained) < MIN_TRAINED:
        raise NasError(f"{len(trained)} networks are trained, {MIN_TRAINED} needed", where=space.name)
    flops = np.array([trial.cost.flops for trial in trained], float)
    edges = np.quantile(flops, np.linspace(0, 1, min(BINS, len(trained) // MIN_TRAINED) + 1))
    drawn: dict[int, list[frozenset[str]]] = defaultdict(list)
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        genotype = space.sample(rng)
        place = _bin(_flops(space, genotype), edges)
        if place >= 0:
            drawn[place].append(frozenset(module_keys(genotype)))
    bins = [_bin(value, edges) for value in flops]
    counts = Counter(bins)
    usable = sorted(b for b in counts if counts[b] >= MIN_TRAINED and len(drawn[b]) >= MIN_DRAWN)
    if not usable:
        message = f"no range of FLOPs has {MIN_TRAINED} trained networks and {MIN_DRAWN} uniform draws"
        hint = "train more networks; a searcher that looks at no errors (random) spreads over all costs"
        raise NasError(message, where=space.name, hint=hint)
    good, gains = _good(trained, bins, usable)
    left_out = sum(b not in usable for b in bins)
    inside = [[int(value) for value, at in zip(flops, bins, strict=True) if at == b] for b in usable]
    ranges = tuple((min(own), max(own)) for own in inside)
    return _count(trials, good, gains, drawn, left_out, sum(len(drawn[b]) for b in usable), ranges)


def _flops(space: SearchSpace, genotype: Genotype) -> int:
    return cost(expand(genotype, space.input_shape, space.num_classes)).flops


def module_keys(genotype: Genotype) -> dict[str, Module]:
    """Return the modules of a genotype, and the parts of derived ones, by the digest of their graph."""
    modules = [node.module for node in genotype.nodes if isinstance(node.module, Module)]
    return {module_key(part): part for module in modules for part in (module, *_parts(module))}


@lru_cache(maxsize=8192)
def _parts(module: Module) -> tuple[Module, ...]:
    """Return what a module is composed of, each part as a module: the inner steps of a derivation."""
    found: list[Module] = []
    kind: Any = type(module)  # mypy takes dataclasses for unhashable classes
    for field in field_names(kind):
        for operand in getattr(getattr(module, field), "operands", ()):
            if operand.operands:
                part = replace(module, **{field: operand})
                found += [part, *_parts(part)]
    return tuple(found)


def module_places(
    trials: Sequence[Trial], space: SearchSpace, keys: Collection[str]
) -> list[tuple[Module, Shape]]:
    """Return the modules with these keys as they stand in the networks of trials, with their input shapes."""
    places: dict[tuple[Module, Shape], None] = {}
    for trial in _networks(trials):
        genotype = trial.proposal.genotype
        graph = expand(genotype, space.input_shape, space.num_classes)
        for node in genotype.nodes:
            if isinstance(node.module, Module) and module_key(node.module) in keys and len(node.inputs) == 1:
                places[node.module, graph.nodes[node.inputs[0]].shape] = None
    return list(places)


@lru_cache(maxsize=65536)
def module_key(module: Module) -> str:
    """Return what tells modules apart: the digest of the graph in a context of one width, where the settings
    fit that, and else at the module's own width."""
    for width in (CONTEXT[0], module.width):
        try:
            return expansion(replace(module, width=width, stride=1), (width, *CONTEXT[1:])).digest
        except NasError:
            continue
    return repr(module)


def _networks(trials: Iterable[Trial]) -> list[Trial]:
    """Return the first complete trial of each distinct network."""
    first: dict[str, Trial] = {}
    for trial in trials:
        if trial.state == "complete":
            first.setdefault(trial.proposal.network.digest, trial)
    return list(first.values())


def _bin(flops: float, edges: Floats) -> int:
    if not edges[0] <= flops <= edges[-1]:
        return -1
    return min(int(np.searchsorted(edges, flops, side="right")) - 1, len(edges) - 2)


def _good(
    trained: Sequence[Trial], bins: Sequence[int], usable: Sequence[int]
) -> tuple[list[tuple[Trial, int]], Floats]:
    """Return the good networks with their bins, and how far each is below the median of its bin."""
    good, gains = [], []
    for b in usable:
        own = sorted((t for t, at in zip(trained, bins, strict=True) if at == b), key=lambda t: t.error or 0)
        errors = np.array([trial.error or 0 for trial in own])
        count = max(1, round(GOOD * len(own)))
        good += [(trial, b) for trial in own[:count]]
        gains += list(np.median(errors) - errors[:count])
    return good, np.array(gains)


def _count(
    trials: Sequence[Trial],
    good: Sequence[tuple[Trial, int]],
    gains: Floats,
    drawn: dict[int, list[frozenset[str]]],
    left_out: int,
    draws: int,
    ranges: tuple[tuple[int, int], ...],
) -> Recurrence:
    founders = _founders(trials)
    keys = [module_keys(trial.proposal.genotype) for trial, _ in good]
    known = {key: module for own in keys for key, module in own.items()}
    families = sorted({founders[trial.number] for trial, _ in good})
    rows = np.array([families.index(founders[trial.number]) for trial, _ in good])
    sizes = np.bincount(rows)

    def mean(values: Floats) -> float:
        """Return the mean over families of their means over networks."""
        return float((np.bincount(rows, values) / sizes).mean())

    modules = mean(np.array([np.mean([len(own) for own in drawn[b]]) for _, b in good]))
    found = []
    for key, module in known.items():
        holds = np.array([key in own for own in keys], float)
        share, expected = mean(holds), mean(np.array([_share(drawn[b], key) for _, b in good]))
        estimate = Estimate(share, *limits(share, len(families)))
        has = len(set(rows[holds > 0]))
        p = min(1.0, tail(share, expected, len(families)) * modules / expected) if has > 1 else 1.0
        gain = float(gains[holds > 0].mean())
        found.append(Recurrent(key, module, int(holds.sum()), has, estimate, expected, p, gain))
    found.sort(key=lambda row: (row.p, -row.families, -row.gain))  # stable: a module comes before its parts
    return Recurrence(tuple(found), len(good), len(families), left_out, draws, ranges)


def _share(drawn: Sequence[frozenset[str]], key: str) -> float:
    """Return the share of uniform draws that have a module, never zero: one more is assumed to have it."""
    return (sum(key in own for own in drawn) + 1) / (len(drawn) + 1)


def _founders(trials: Iterable[Trial]) -> dict[int, int]:
    """Map each trial to the first of the chain of its parents."""
    parents = {trial.number: trial.proposal.parent for trial in trials}
    founders: dict[int, int] = {}
    for number in parents:
        at = number
        while (parent := parents.get(at)) is not None and parent != at and parent in parents:
            at = parent
        founders[number] = at
    return founders


def divergence(p: float, q: float) -> float:
    """Return the Kullback-Leibler divergence of a coin of p from one of q."""
    parts = ((p, q), (1 - p, 1 - q))
    return sum(a * log(a / b) if b > 0 else float("inf") for a, b in parts if a > 0)


def tail(share: float, expected: float, count: int) -> float:
    """Bound the probability that the mean of independent values from 0 to 1 is as large as `share`.

    Hoeffding (1963), theorem 1: it holds for any distributions whose means average to `expected`.
    """
    return exp(-count * divergence(share, expected)) if share > expected else 1.0


def limits(share: float, count: int) -> tuple[float, float]:
    """Return 95 % limits of the expected mean, those that `tail` does not reject on either side."""
    bound = log(2 / LEVEL) / count

    def edge(inside: float, outside: float) -> float:
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if divergence(share, middle) <= bound else (inside, middle)
        return inside

    return edge(share, 0.0), edge(share, 1.0)
