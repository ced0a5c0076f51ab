"""Differences of two genotypes, module by module, aligned by stage and position."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from nas.graph.graph import stage_of
from nas.modules import Component
from nas.space.genotype import INPUT_NODE, Genotype

State = Literal["same", "changed", "only in a", "only in b"]


@dataclass(frozen=True)
class Row:
    """One place of the networks: what a and b have there, "" for nothing; a changed place has only the fields
    that differ, as `width 16 -> 32`."""

    place: str
    state: State
    a: str
    b: str
    changes: tuple[str, ...] = ()


class Part(NamedTuple):
    """Contents of a place: its text, and its fields by name."""

    text: str
    fields: dict[str, Any]


def differences(a: Genotype, b: Genotype) -> list[Row]:
    """Return one row per place that either has: stem, modules by stage and position (`stage2.3` is
    the third of its stage), head, and the auxiliary heads."""
    first, second = _parts(a), _parts(b)
    return [_row(place, first.get(place), second.get(place)) for place in _in_order(first, second)]


def _row(place: str, a: Part | None, b: Part | None) -> Row:
    if a is None or b is None:
        return Row(place, "only in b" if a is None else "only in a", a.text if a else "", b.text if b else "")
    if a.fields == b.fields:
        return Row(place, "same", a.text, b.text)
    names = dict.fromkeys((*a.fields, *b.fields))
    if a.fields["type"] != b.fields["type"]:  # the fields of one type say nothing of the other
        names = dict.fromkeys(name for name in names if name in a.fields and name in b.fields)
    changed = [name for name in names if a.fields.get(name) != b.fields.get(name)]
    changes = tuple(
        f"{name} {_shown(a.fields.get(name))} -> {_shown(b.fields.get(name))}" for name in changed
    )
    return Row(place, "changed", a.text, b.text, changes)


def _parts(genotype: Genotype) -> dict[str, Part]:
    """Return the contents by place, in the order of the network."""
    places = _places(genotype)
    contents = {INPUT_NODE: _component(genotype.stem)} if genotype.stem else {}
    before = INPUT_NODE
    for node in genotype.nodes:
        part = _component(node.module)
        if node.inputs != (before,):
            taken = f" {node.join} ".join(sorted(places[name] for name in node.inputs))
            part = Part(f"{part.text} <- {taken}", part.fields | {"inputs": taken})
        contents[places[node.name]] = part
        before = node.name
    if genotype.head:
        part, taps = _component(genotype.head), ", ".join(places[name] for name in genotype.taps)
        contents["head"] = Part(f"{part.text} <- {taps}", part.fields | {"taps": taps}) if taps else part
    for number, item in enumerate(genotype.auxiliary, start=1):
        part, at = _component(item.head), places[item.node]
        extra = {"node": at, "weight": item.weight}
        contents[f"aux{number}"] = Part(f"{part.text} <- {at}, weight {item.weight}", part.fields | extra)
    return contents


def _places(genotype: Genotype) -> dict[str, str]:
    """Return the place of each node: its stage, and its position in the stage from 1."""
    counts: Counter[str] = Counter()
    places = {INPUT_NODE: INPUT_NODE}
    for node in genotype.nodes:
        stage = node.stage
        counts[stage] += 1
        places[node.name] = f"{stage}.{counts[stage]}"
    return places


def _component(component: Component | Genotype) -> Part:
    if isinstance(component, Genotype):  # nested
        return Part(f"[{component}]", {"type": str(component)})
    return Part(str(component), {"type": component.type_name} | asdict(component))


def _in_order(first: dict[str, Part], second: dict[str, Part]) -> list[str]:
    """Return the places of both, stage by stage; a stage of b alone follows the one it follows there."""
    a, b = _stages(first), _stages(second)
    order, at = list(a), 0
    for stage in b:
        if stage in a:
            at = order.index(stage) + 1
        else:
            order.insert(at, stage)
            at += 1
    return [place for stage in order for place in max(a.get(stage, []), b.get(stage, []), key=len)]


def _stages(parts: dict[str, Part]) -> dict[str, list[str]]:
    stages: dict[str, list[str]] = {}
    for place in parts:
        stages.setdefault(stage_of(place), []).append(place)
    return stages


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
