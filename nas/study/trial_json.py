"""A trial as one flat mapping of JSON values, and back.

The record of a study and the files of paused trials hold it. What is read may be a stranger's, and
files are named after its numbers, so every value is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from nas.graph.cost import Cost
from nas.modules.base import TYPE_NAME
from nas.space.candidate import checked_recipe, under
from nas.space.decisions import RECIPE
from nas.space.genotype import Genotype
from nas.study.trial import HistorySnapshot, Proposal, StoredGenotype, Trial
from nas.training.latency import Latency
from nas.training.task import MAX_CLASS_ERRORS, State

M = TypeVar("M", bound=BaseModel)

MAX_INTEGER = 2**63 - 1
"""The largest integer of a database."""

MAX_SECONDS = 1e9
"""The longest duration of a trial, about 31 years."""

SUSPECT = re.compile(r"\\u[dD]|\d{19}")
"""JSON without this holds only what `check_plain` accepts. Curves are long, and a search is fast."""

Count = Annotated[int, Strict(), Field(ge=0, le=MAX_INTEGER)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0, le=1)]
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Places = tuple[Count, ...]


def check_plain(value: Any) -> Any:
    """Return JSON data as it is; ValueError if a reader could fail on it: an integer that no database
    holds, or text that is not Unicode."""
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("holds an integer that is too large")
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair is a UnicodeEncodeError, which is a ValueError
    elif isinstance(value, Mapping):
        check_plain([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            check_plain(item)
    return value


class _Snapshot(BaseModel):
    model_config = ConfigDict(extra="forbid")

    recorded: Count
    pending: tuple[tuple[Count, Text], ...] = ()
    rung_results: Count = 0


class _Provenance(BaseModel):
    """Origin of a proposal."""

    model_config = ConfigDict(extra="forbid")

    proposer: Text
    parent: Count | None = None
    uniform: Flag = False
    log_probability: Annotated[float, Strict()] | None = None
    design: dict[Text, Any] = {}
    recipe: dict[Text, Any] = {}
    snapshot: _Snapshot | None = None


class _Attributes(_Provenance):
    """All values of a trial; times in seconds, memory in bytes."""

    number: Count
    state: State
    reason: Text = ""
    message: Text = ""
    error: Share | None = None
    flops: Annotated[Count, Field(ge=1)]
    params: Count
    activations: Count
    peak_memory: Count
    digest: Annotated[Text, Field(min_length=1)]
    module_types: Annotated[Text, Field(pattern=rf"^{TYPE_NAME}(\+{TYPE_NAME})*$")]
    duplicate_of: Count | None = None
    seed: Count
    epochs: Count
    duration: Annotated[Number, Field(ge=0, le=MAX_SECONDS)] = 0.0
    retries: Count = 0
    decisions: dict[Text, Any]
    latency: dict[Text, Any] | None = None
    measured: dict[Text, Annotated[float, Strict()]] = {}
    class_errors: Annotated[tuple[Share | None, ...], Field(max_length=MAX_CLASS_ERRORS)] = ()
    rung_order: Places = ()
    curve: Text
    genotype: Text


_PROPOSAL = ("proposer", "parent", "uniform", "log_probability")
_COST = ("flops", "params", "activations", "peak_memory")
_SAME = ("number", "state", "reason", "message", "duplicate_of", "seed", "epochs", "retries")
"""Fields of a trial that are attributes as they are."""


def to_attributes(trial: Trial) -> dict[str, Any]:
    """Return a trial as JSON values: module types joined by "+", network and curve as JSON texts, since a
    curve may hold NaN, which strict readers refuse.

    ValueError if a value is out of the bounds of the record.
    """
    attributes: dict[str, Any] = {name: getattr(trial, name) for name in _SAME}
    attributes |= {name: getattr(trial.cost, name) for name in _COST}
    attributes |= {
        "error": None if trial.error is None else float(trial.error) + 0.0,  # -0.0 is 0.0 to a database
        "duration": float(trial.duration) + 0.0,
        "digest": trial.digest,
        "module_types": "+".join(trial.module_types),
        "decisions": dict(trial.decisions),
        "curve": json.dumps(trial.curve),
        "genotype": trial.genotype.to_json(),
        **provenance(trial.proposal),
    }
    if trial.latency is not None:
        attributes["latency"] = asdict(trial.latency)
    if trial.measured:
        attributes["measured"] = dict(trial.measured)
    if trial.class_errors:
        attributes["class_errors"] = list(trial.class_errors)
    if trial.rung_order:
        attributes["rung_order"] = list(trial.rung_order)
    _checked(_Attributes, attributes)
    check_plain(trial.curve)
    return attributes


def from_attributes(attributes: Mapping[str, Any]) -> Trial:
    """Read a trial that `to_attributes` wrote; TypeError, ValueError or NasError for other data. The network
    is parsed when it is first asked for."""
    values = _checked(_Attributes, attributes)
    curve = json.loads(values.curve)
    if not isinstance(curve, list) or not all(isinstance(row, dict) for row in curve):
        raise ValueError("curve must have one mapping per epoch")
    if SUSPECT.search(values.curve):
        check_plain(curve)
    types = tuple(values.module_types.split("+"))
    recipe = checked_recipe(values.recipe)
    _check_recipe(values.decisions, recipe)
    network = StoredGenotype(values.digest, types, values.genotype, f"trial {values.number}", recipe)
    return Trial(
        **{name: getattr(values, name) for name in _SAME},
        cost=Cost(**{name: getattr(values, name) for name in _COST}),
        proposal=_proposal(network, values),
        error=values.error,
        duration=values.duration,
        decisions=values.decisions,
        curve=tuple(curve),
        latency=None if values.latency is None else Latency(**values.latency),
        measured=values.measured,
        class_errors=values.class_errors,
        rung_order=values.rung_order,
    )


def provenance(proposal: Proposal) -> dict[str, Any]:
    """Return the origin of a proposal, as JSON values."""
    attributes: dict[str, Any] = {name: getattr(proposal, name) for name in _PROPOSAL}
    if proposal.design:
        attributes["design"] = dict(proposal.design)
    if recipe := proposal.recipe:
        attributes["recipe"] = recipe
    if snapshot := proposal.snapshot:
        pending = [list(pair) for pair in snapshot.pending]
        attributes["snapshot"] = {
            "recorded": snapshot.recorded,
            "pending": pending,
            "rung_results": snapshot.rung_results,
        }
    return attributes


def proposal_from(genotype: Genotype, attributes: Mapping[str, Any]) -> Proposal:
    """Return the proposal of this `provenance`; ValueError if it is not one."""
    held = _checked(_Provenance, attributes)
    return _proposal(under(genotype, held.recipe), held)


def _proposal(network: Genotype | StoredGenotype, held: _Provenance) -> Proposal:
    seen = held.snapshot
    snapshot = None if seen is None else HistorySnapshot(seen.recorded, seen.pending, seen.rung_results)
    return Proposal(
        network, held.proposer, held.parent, held.uniform, held.log_probability, held.design, snapshot
    )


def _check_recipe(decisions: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Raise ValueError if decisions about the recipe are not what the training had."""
    for path, value in decisions.items():
        name = path.partition("[")[0].removeprefix(RECIPE)
        if path.startswith(RECIPE) and (name not in recipe or recipe[name] != value):
            raise ValueError(f"the decision {path} is not that of its recipe")


def _checked(model: type[M], attributes: Mapping[str, Any]) -> M:
    """Return the attributes as a model; ValueError names the first wrong one."""
    try:
        values = model.model_validate(attributes)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place} cannot be {first['input']!r:.80}: {first['msg']}") from None
    check_plain(attributes)
    return values
