"""The answers that build a genotype, read off it: a space's program of decisions backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.modules import Component
from nas.modules.base import field_names
from nas.space.candidate import recipe_of
from nas.space.decisions import NO_SKIP, RECIPE, build
from nas.space.genotype import Genotype
from nas.space.spec import SpaceSpec

if TYPE_CHECKING:
    from nas.space.space import SearchSpace


def answers(genotype: Genotype) -> dict[str, Any]:
    """Return every answer that can be read off a genotype, by path, in each of the scopes."""
    known: dict[str, Any] = {}
    for part, component in (("stem", genotype.stem), ("head", genotype.head)):
        known.update(_fields(component, f"{part}."))
    depths: dict[str, int] = {}
    blocks = {node.name: node.block for node in genotype.nodes}
    for node in genotype.nodes:
        stage = node.stage
        depths[stage] = depths.get(stage, 0) + 1
        known.setdefault(f"{stage}.width", getattr(node.module, "width", None))
        known.setdefault(f"{stage}.stride", getattr(node.module, "stride", None))
        kind = getattr(node.module, "type_name", "genotype")
        for scope in (f"{node.name}.", f"{stage}.", ""):
            known.setdefault(f"{scope}type", kind)
            for path, value in _fields(node.module, f"{scope}{kind}.").items():
                known.setdefault(path, value)
        if len(node.inputs) > 1:
            known[f"{node.name}.skip"] = blocks.get(node.inputs[1], node.inputs[1])
            known[f"{node.name}.join"] = node.join
    known |= {f"{RECIPE}{name}": value for name, value in recipe_of(genotype).items()}
    return {**known, **{f"{stage}.depth": depth for stage, depth in depths.items()}}


def _fields(component: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(component, Component):
        return {}
    cls: Any = type(component)
    fields = {prefix + name: getattr(component, name) for name in field_names(cls)}
    for name, _ in component.structures():
        value = fields[prefix + name]
        fields |= {f"{prefix}{name}.{path}": answer for path, answer in value.answers().items()}
        fields[prefix + name] = str(value)
    return fields


def read(spec: SpaceSpec, genotype: Genotype) -> dict[str, Any]:
    """Return the answers that build a genotype, in the order of the program; NasError, naming the first
    that differs, if no answers do."""
    known = answers(genotype)
    decisions: dict[str, Any] = {}

    def answer(path: str, options: Sequence[Any]) -> Any:
        value = known.get(_field(path), NO_SKIP)
        if value not in options:
            listed = ", ".join(map(str, options))
            raise NasError(f"{value!r} is not among {listed}", where=f"{spec.name}: {path}")
        decisions[path] = value
        return value

    if build(spec, answer) != genotype:
        raise NasError("what is fixed in the space differs from the genotype", where=spec.name)
    return decisions


def decisions_of(space: SearchSpace, genotype: Genotype, *, strict: bool = True) -> Mapping[str, Any]:
    """Return the decisions that build a genotype. A design scales widths to values between the options
    of the space; unless `strict`, such widths are left out."""
    if strict:
        return space.decisions(genotype)
    known = answers(genotype)
    decisions: dict[str, Any] = {}

    def answer(path: str, options: Sequence[Any]) -> Any:
        value = known.get(_field(path), options[0])
        if value in options:
            decisions[path] = value
            return value
        return options[0]

    space.build(answer)
    return decisions


def _field(path: str) -> str:
    """The path of an answer, without the condition that its options depend on."""
    return path.partition("[")[0]
