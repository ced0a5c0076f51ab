"""A proposal of a searcher, and the frozen record of its evaluation.

A trial remembers where it came from (searcher, parent, probability) and how it was
measured (seed, epochs), because that decides what may be claimed from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nas.errors import NasError, StorageError, did_you_mean
from nas.formatting import metric
from nas.graph.cost import Cost
from nas.space.candidate import recipe_of, under
from nas.space.genotype import Genotype
from nas.study.objectives import objective
from nas.training.latency import Latency
from nas.training.task import State

REASONS = ("diverged", "oom", "exception", "worker_lost", "timeout", "too_large")
"""Reasons of failure; a network too large for the available memory is refused before it is trained."""


@dataclass(frozen=True)
class HistorySnapshot:
    """Snapshot of the history a proposal was made from, enough to replay it.

    recorded: number of trials, the first ones in the order of recording; pending: (number, digest) of
    each trial in flight; rung_results: number of rungs that trials had reached (`History.rung_result_count`).
    """

    recorded: int
    pending: tuple[tuple[int, str], ...] = ()
    rung_results: int = 0


@dataclass(frozen=True, eq=False)
class StoredGenotype:
    """The network of a recorded trial as JSON, parsed when it is first asked for.

    Few networks of a large study are looked at, and to parse all of them takes longer than to read
    all else. Digest and module types are columns of the record. `where` names the trial in errors. `recipe`
    holds the fields of the recipe that the network is trained under.
    """

    digest: str
    distinct_types: tuple[str, ...]
    text: str
    where: str
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def genotype(self) -> Genotype:
        """The network; NasError if the text is not a genotype, one of other module types, or one whose module
        types make another network today, as those of a plug-in may that was changed."""
        genotype = under(Genotype.from_json(self.text, self.where), self.recipe)
        if tuple(dict.fromkeys(genotype.module_types)) != self.distinct_types:
            raise StorageError("its module types are not those of its network", where=self.where)
        if genotype.digest != self.digest:
            hint = "was the file of a plug-in changed? its weights and errors are those of the file as it was"
            message = "its module types make another network than was recorded"
            raise StorageError(message, where=self.where, hint=hint)
        return genotype

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StoredGenotype) and (self.text, self.recipe) == (other.text, other.recipe):
            return True
        return self.genotype == (other.genotype if isinstance(other, StoredGenotype) else other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Proposal:
    """A network to evaluate.

    network: the genotype, or the stored form of it; parent: number of the trial it was derived from;
    uniform: whether it was drawn without a look at any result; log_probability: natural logarithm of
    the probability of the draw, where it is known; design: which part of a planned sample it is (see
    `nas.searchers.designs.base`), whose `seed`, if any, is that of the training; snapshot: the history
    it was chosen from, so that it can be chosen again.
    """

    network: Genotype | StoredGenotype
    proposer: str
    parent: int | None = None
    uniform: bool = False
    log_probability: float | None = None
    design: Mapping[str, Any] = field(default_factory=dict)
    snapshot: HistorySnapshot | None = field(default=None, compare=False)

    @property
    def genotype(self) -> Genotype:
        return self.network.genotype if isinstance(self.network, StoredGenotype) else self.network

    @property
    def recipe(self) -> dict[str, Any]:
        """Fields in which the recipe of the training differs from that of the search."""
        network = self.network
        return dict(network.recipe) if isinstance(network, StoredGenotype) else recipe_of(network)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One finished evaluation.

    error: validation error in [0, 1], None where the trial failed; epochs: the planned number, of a
    stopped trial the number it was trained for; duration: seconds on a monotonic clock; duplicate_of:
    number of the trial whose result was reused; curve: one mapping per epoch, as the training reports
    it; latency: None where it was not asked for; measured: values of the user's own objectives by
    name; class_errors: validation error of each class of a complete trial, None for a class without
    images, () where there are more than 1,000 classes; rung_order: places of its rung results in the order
    of those of all trials.
    """

    number: int
    proposal: Proposal
    state: State
    cost: Cost
    decisions: Mapping[str, Any]
    seed: int
    epochs: int
    reason: str = ""
    message: str = ""
    error: float | None = None
    duration: float = 0.0
    retries: int = 0
    duplicate_of: int | None = None
    curve: tuple[dict[str, Any], ...] = ()
    latency: Latency | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    class_errors: tuple[float | None, ...] = ()
    rung_order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        where = f"trial {self.number}"
        if self.state != "failed":
            if self.reason or self.error is None or not math.isfinite(self.error):
                raise NasError(f"a {self.state} trial has a finite error and no reason to fail", where=where)
        elif self.reason not in REASONS:
            hint = did_you_mean(self.reason, REASONS)
            raise NasError(f"unknown reason to fail {self.reason!r}", where=where, hint=hint)

    def __repr__(self) -> str:
        outcome = f"error {self.error:.2%}" if self.error is not None else self.reason
        figures = f"{metric(self.flops)} FLOPs, {metric(self.params)} parameters"
        types = " + ".join(sorted(self.module_types))
        return f"<Trial {self.number}: {self.state}, {outcome}, {figures}, {types}>"

    @property
    def genotype(self) -> Genotype:
        return self.proposal.genotype

    @property
    def digest(self) -> str:
        return self.proposal.network.digest

    @property
    def recipe(self) -> dict[str, Any]:
        """Fields in which the recipe of the training differs from that of the search."""
        return self.proposal.recipe

    @property
    def module_types(self) -> tuple[str, ...]:
        """The distinct module types, in order of first use."""
        network = self.proposal.network
        if isinstance(network, StoredGenotype):
            return network.distinct_types
        return tuple(dict.fromkeys(network.module_types))

    @property
    def flops(self) -> int:
        return self.cost.flops

    @property
    def params(self) -> int:
        return self.cost.params

    @property
    def complete(self) -> bool:
        return self.state == "complete"

    def after(self, epochs: int) -> Trial:
        """Return the trial as if it had been stopped after the first `epochs` epochs of its curve."""
        curve = self.curve[:epochs]
        changes = {"error": curve[-1]["val_error"], "epochs": epochs, "curve": curve, "class_errors": ()}
        return replace(self, state="stopped", reason="", message="", **changes)

    def objective(self, name: str) -> float:
        """Return the recorded value of an objective; NasError if this trial has none."""
        value = objective(name).read(self)
        if value is None:
            where = f"trial {self.number}"
            if self.state == "failed":
                raise NasError(f"a failed trial has no {name}", where=where)
            hint = f"nas search --objectives error,{name} measures it"
            raise NasError(f"{name} was not measured", where=where, hint=hint)
        return value

    def values(self, objectives: Sequence[str]) -> tuple[float, ...]:
        return tuple(self.objective(name) for name in objectives)
