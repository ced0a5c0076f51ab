"""A proposal of a searcher, and the frozen record of what became of it.

A trial remembers where it came from (searcher, parent, probability) and how it was
measured (seed, epochs), because that decides what may be claimed from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nas.errors import NasError, did_you_mean
from nas.graph.cost import Cost
from nas.space.genotype import Genotype
from nas.study.objectives import objective
from nas.training.latency import Latency
from nas.training.task import State

REASONS = ("diverged", "oom", "exception", "worker_lost", "timeout", "too_large")
"""Why a trial failed; one that is too large for the memory there is was refused before it was trained."""


@dataclass(frozen=True)
class Known:
    """What a history held when it was asked for a proposal: how many trials, the first of them in
    the order of recording; what was in flight, (number, digest) each; and, where there are rungs, how
    many arrivals at them (`Trial.arrivals`). Of what waited at one these say enough."""

    recorded: int
    pending: tuple[tuple[int, str], ...] = ()
    arrivals: int = 0


@dataclass(frozen=True)
class Proposal:
    """A network to evaluate. `parent` is the number of the trial it was derived from;
    `uniform` marks a draw that did not look at any result; `log_probability` (natural
    logarithm) is that of the draw, where it is known. `design` says which part of a planned
    sample it is (see `nas.searchers.designs.base`); its `seed`, if any, is that of the training. `known`
    says what it was chosen from, so that it can be chosen again."""

    genotype: Genotype
    proposer: str
    parent: int | None = None
    uniform: bool = False
    log_probability: float | None = None
    design: Mapping[str, Any] = field(default_factory=dict)
    known: Known | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One finished evaluation.

    error: validation error in [0, 1], None where the trial failed; epochs: those it was given, of a
    stopped one those it had; duration: seconds on a monotonic clock; duplicate_of: number of the
    trial whose result was reused; curve: one mapping an epoch, as the training reports it; latency:
    None where it was not asked for; measured: what the user's own objectives gave, by their name;
    arrivals: at which places in the order of all arrivals at rungs it came to its own.
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
    arrivals: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        where = f"trial {self.number}"
        if self.state != "failed":
            if self.reason or self.error is None or not math.isfinite(self.error):
                raise NasError(f"a {self.state} trial has a finite error and no reason to fail", where=where)
        elif self.reason not in REASONS:
            hint = did_you_mean(self.reason, REASONS)
            raise NasError(f"unknown reason to fail {self.reason!r}", where=where, hint=hint)

    @property
    def genotype(self) -> Genotype:
        return self.proposal.genotype

    @property
    def digest(self) -> str:
        return self.genotype.digest

    @property
    def module_types(self) -> tuple[str, ...]:
        """The distinct module types, in order of first use."""
        return tuple(dict.fromkeys(self.genotype.module_types))

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
        """As it stood when it had been trained for so many epochs, of which its curve tells."""
        curve = self.curve[:epochs]
        error = curve[-1]["val_error"]
        return replace(self, state="stopped", reason="", message="", error=error, epochs=epochs, curve=curve)

    def objective(self, name: str) -> float:
        """The recorded value of an objective; NasError where this trial has none."""
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


_OUTCOME = ("error", "seed", "epochs", "duration", "retries", "duplicate_of")
_PROPOSAL = ("proposer", "parent", "uniform", "log_probability")
_WHOLE, _NUMBER, _TEXT = (int,), (float, int), (str,)
_KINDS: dict[str, dict[str, tuple[type, ...]]] = {
    "": {"number": _WHOLE, "digest": _TEXT, "genotype": _TEXT},
    "proposal": {
        "proposer": _TEXT,
        "parent": (*_WHOLE, type(None)),
        "uniform": (bool,),
        "log_probability": (*_NUMBER, type(None)),
    },
    "cost": {item.name: _WHOLE for item in fields(Cost)},
    "outcome": {
        **dict.fromkeys(("seed", "epochs", "retries"), _WHOLE),
        "error": (*_NUMBER, type(None)),
        "duration": _NUMBER,
        "duplicate_of": (*_WHOLE, type(None)),
    },
}
"""Names of files and figures are made of these, and the file may be a stranger's."""


def to_attributes(trial: Trial) -> dict[str, Any]:
    """Everything of a trial but its decisions, as a few JSON values.

    Genotype and curve are JSON texts: a curve may hold NaN, which strict readers of the
    attributes (a browser) would refuse.
    """
    attributes: dict[str, Any] = {
        "number": trial.number,
        "digest": trial.digest,
        "module_types": list(trial.genotype.module_types),
        "genotype": trial.genotype.to_json(),
        "proposal": provenance(trial.proposal),
        "cost": dict(vars(trial.cost)),
        "outcome": {name: getattr(trial, name) for name in _OUTCOME},
    }
    if trial.curve:
        attributes["curve"] = json.dumps(trial.curve)
    if trial.state == "failed":
        attributes |= {"reason": trial.reason, "message": trial.message}
    if trial.state == "stopped":
        attributes["stopped"] = True
    if trial.latency is not None:
        attributes["latency"] = asdict(trial.latency)
    if trial.measured:
        attributes["measured"] = dict(trial.measured)
    if trial.arrivals:
        attributes["arrivals"] = list(trial.arrivals)
    return attributes


def provenance(proposal: Proposal) -> dict[str, Any]:
    """Where a proposal came from, as JSON."""
    design = {"design": dict(proposal.design)} if proposal.design else {}
    known = {"known": dict(vars(proposal.known))} if proposal.known else {}
    return {name: getattr(proposal, name) for name in _PROPOSAL} | design | known


def proposal_from(genotype: Genotype, data: Mapping[str, Any]) -> Proposal:
    """What `provenance` wrote, of a genotype. TypeError, ValueError or LookupError if it is not its work."""
    fields = dict(data)
    if known := fields.pop("known", None):
        pending = tuple((number, digest) for number, digest in known["pending"])
        recorded, arrivals = known["recorded"], known.get("arrivals", 0)
        counts = (recorded, arrivals, *(number for number, _ in pending))
        if any(type(count) is not int for count in counts):
            raise TypeError("known counts something that is no trial")
        if recorded < 0 or not all(isinstance(digest, str) for _, digest in pending):
            raise TypeError("known names something that is no network")
        fields["known"] = Known(recorded, pending, arrivals)
    return Proposal(genotype, **fields)


def from_attributes(attributes: Mapping[str, Any], decisions: Mapping[str, Any]) -> Trial:
    """The trial that `to_attributes` wrote. KeyError, TypeError, ValueError or NasError
    if the attributes are not its work."""
    for part, places in _KINDS.items():
        held = attributes[part] if part else attributes
        for name, kinds in places.items():
            value = held[name]
            if type(value) not in kinds or (kinds[0] is int and value is not None and value < 0):
                raise TypeError(f"{part}{'.' * bool(part)}{name} cannot be {value!r:.80}")
    curve = json.loads(attributes.get("curve", "[]"))
    mappings = [attributes["proposal"].get("design", {}), *curve]
    if not isinstance(attributes.get("message", ""), str) or not all(isinstance(m, dict) for m in mappings):
        raise TypeError("message, design or curve is of another kind")
    if not all(type(place) is int for place in attributes.get("arrivals", [])):
        raise TypeError("arrivals are no places")
    where = f"trial {attributes['number']}"
    known: dict[str, Any] = {"digest": attributes["digest"]}
    if "module_types" in attributes:  # layouts 1 and 2 have none
        known["module_types"] = _names(attributes["module_types"])
    genotype = Genotype.read_later(attributes["genotype"], where, **known)
    return Trial(
        number=attributes["number"],
        proposal=proposal_from(genotype, attributes["proposal"]),
        state="failed" if "reason" in attributes else "stopped" if "stopped" in attributes else "complete",
        reason=attributes.get("reason", ""),
        message=attributes.get("message", ""),
        cost=Cost(**attributes["cost"]),
        decisions=decisions,
        curve=tuple(curve),
        latency=Latency(**attributes["latency"]) if "latency" in attributes else None,
        measured={name: float(value) for name, value in attributes.get("measured", {}).items()},
        arrivals=tuple(attributes.get("arrivals", [])),
        **attributes["outcome"],
    )


def _names(held: Any) -> tuple[str, ...]:
    if not isinstance(held, list) or not held or not all(isinstance(name, str) for name in held):
        raise TypeError("module_types are no names")
    return tuple(held)
