"""Networks of the zoo as the first candidates of a search: each as the nearest network of the space.

Decision by decision a network keeps what it has where the space offers it, and takes what
is nearest where it does not. What was changed is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from math import inf
from typing import Any

from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import stage_of
from nas.modules import Component, Module
from nas.modules.pool import Pool
from nas.space.genotype import INPUT_NODE, Genotype, expand
from nas.space.space import Decisions, SearchSpace
from nas.study.trial import Proposal
from nas.zoo import zoo_entry

Stages = Sequence[Sequence[Module]]


@dataclass(frozen=True)
class Seed:
    """A network of the zoo in a space; `changes` is empty where it lies in the space.
    `same_as` names an earlier seed that it is equal to, which then stands for both."""

    name: str
    genotype: Genotype
    changes: tuple[str, ...] = ()
    same_as: str = ""

    def __str__(self) -> str:
        changes = ", ".join(self.changes) or "lies in the space"
        left_out = f"; left out, as it is then {self.same_as}" if self.same_as else ""
        return f"{self.name}: {changes}{left_out}"


def find_seeds(space: SearchSpace, names: Iterable[str]) -> tuple[Seed, ...]:
    """The networks of these names in the space, in this order. NotFoundError for a name that
    the zoo does not know, NasError for a network that cannot be brought into the space."""
    found: list[Seed] = []
    for name in names:
        genotype = zoo_entry(name).build()
        try:
            nearest, changes = project(space, genotype)
        except NasError as error:
            raise error.at(f"seed {name}") from None
        same = next((seed.name for seed in found if seed.genotype.digest == nearest.digest), "")
        found.append(Seed(name, nearest, tuple(changes), same))
    return tuple(found)


def seed_proposals(seeds: Iterable[Seed]) -> list[Proposal]:
    """The proposals of the first trials, by their number."""
    return [Proposal(seed.genotype, f"seed:{seed.name}") for seed in seeds if not seed.same_as]


def project(space: SearchSpace, genotype: Genotype) -> tuple[Genotype, list[str]]:
    """The nearest genotype of the space, and what was changed to get there.

    Pools that halve the image are left out, and the next module takes their stride: in a
    space strides stand at the start of a stage. Where the constraints are violated, numbers
    are reduced step by step. NasError if that does not help, or the network is no chain.
    """
    if genotype in space:
        return genotype, []
    stages, pools = _stages(genotype)
    nearest = _within_constraints(space, _wanted(space, genotype, stages))
    return nearest, list(_changes(genotype, stages, pools, nearest))


def _stages(genotype: Genotype) -> tuple[Stages, list[str]]:
    """The modules of each stage, and the names of the pools that were left out."""
    stages: dict[str, list[Module]] = {}
    pools, stride, before = [], 1, INPUT_NODE
    for node in genotype.nodes:
        module = node.module
        if node.inputs != (before,) or not isinstance(module, Module):
            raise NasError("is no chain of modules", where=node.name, hint="only chains seed a search")
        before = node.name
        if isinstance(module, Pool) and module.stride > 1:
            pools.append(node.name)
            stride *= module.stride
        else:
            stage = stages.setdefault(node.stage, [])
            stage.append(replace(module, stride=module.stride * stride))
            stride = 1
    return list(stages.values()), pools


def _wanted(space: SearchSpace, genotype: Genotype, stages: Stages) -> Decisions:
    """What the network would answer, by path; where a space is longer, its last stage and the
    last block of a stage answer on. Fields of other module types are those of the same name,
    else at their default."""
    wanted: Decisions = {}
    for part, component in (("stem", genotype.stem), ("head", genotype.head)):
        wanted |= {f"{part}.{name}": value for name, value in _fields(component).items()}
    scopes: dict[str, Module] = {}
    for at, stage in enumerate(space.spec.stages):
        modules, name = stages[min(at, len(stages) - 1)], f"stage{at + 1}"
        wanted |= {f"{name}.width": modules[0].width, f"{name}.stride": modules[0].stride}
        if at < len(stages):
            wanted[f"{name}.depth"] = len(modules)
        for block in range(max(stage.depth)):
            for scope in (f"{name}.block{block + 1}.", f"{name}.", ""):
                scopes.setdefault(scope, modules[min(block, len(modules) - 1)])
    for scope, module in scopes.items():
        wanted[f"{scope}type"] = module.type_name
        for kind, cls in Module.registry.items():
            for item in fields(cls):
                wanted[f"{scope}{kind}.{item.name}"] = getattr(module, item.name, item.default)
    return wanted


def _within_constraints(space: SearchSpace, wanted: Decisions) -> Genotype:
    """The nearest genotype that the constraints allow, one number after the other changed:
    the one that helps most, and of those that suffice the one that changes the FLOPs least."""
    nearest = _build(space, wanted)
    excess = space.excess(nearest)
    while found := space.violations(nearest):
        flops = _flops(space, nearest)
        best: tuple[float, float, Decisions] | None = None
        for path, value in space.decisions(nearest).items():
            for option in space.domains()[path]:
                if not _is_number(value) or option == value:
                    continue
                move = {**wanted, path: option}
                neighbour = _build(space, move)
                rank = space.excess(neighbour), abs(_flops(space, neighbour) - flops)
                if best is None or rank < best[:2]:
                    best = *rank, move
        if best is None or best[0] >= excess:
            raise NasError(f"cannot be brought into {space.name}: {found[0]}", hint="leave it out")
        excess, _, wanted = best
        nearest = _build(space, wanted)
    return nearest


def _build(space: SearchSpace, wanted: Decisions) -> Genotype:
    def answer(path: str, options: Sequence[Any]) -> Any:
        return _nearest(wanted.get(path, wanted.get(path.partition("[")[0])), options)

    return space.build(answer)


def _nearest(value: Any, options: Sequence[Any]) -> Any:
    """The value if it is an option, else of numbers the nearest (the lower of two), else the first."""
    if value in options:
        return value
    if _is_number(value) and all(map(_is_number, options)):
        return min(options, key=lambda option: (abs(option - value), option))
    return options[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flops(space: SearchSpace, genotype: Genotype) -> float:
    try:
        return cost(expand(genotype, space.input_shape, space.num_classes)).flops
    except NasError:
        return inf


def _fields(component: Component | None) -> dict[str, Any]:
    return {item.name: getattr(component, item.name) for item in fields(component)} if component else {}


def _changes(genotype: Genotype, stages: Stages, pools: Sequence[str], nearest: Genotype) -> Iterator[str]:
    """Stem, stages, blocks, head: what differs from the network."""
    yield from _component_changes("stem", genotype.stem, nearest.stem)
    if pools:
        yield f"without {', '.join(pools)}"
    built, _ = _stages(nearest)
    if len(built) != len(stages):
        yield f"stages {len(stages)} -> {len(built)}"
    pairs: dict[str, tuple[Module, Module]] = {}
    for at, (before, after) in enumerate(zip(stages, built, strict=False), start=1):
        if len(before) != len(after):
            yield f"stage{at}.depth {len(before)} -> {len(after)}"
        for block, pair in enumerate(zip(before, after, strict=False), start=1):
            pairs[f"stage{at}.block{block}"] = pair
    yield from _block_changes(pairs)
    yield from _component_changes("head", genotype.head, nearest.head)
    if genotype.auxiliary:
        yield "without auxiliary heads"


def _component_changes(where: str, before: Component | None, after: Component | None) -> Iterator[str]:
    if type(before) is not type(after):
        yield f"{where} {before or 'none'} -> {after or 'none'}"
        return
    old, new = _fields(before), _fields(after)
    yield from (f"{where}.{name} {old[name]} -> {new[name]}" for name in old if old[name] != new[name])


def _block_changes(pairs: Mapping[str, tuple[Module, Module]]) -> Iterator[str]:
    """Equal changes of all the blocks of a stage, or of the network, are said once."""
    blocks: dict[str, list[str]] = {}
    for name, (before, after) in pairs.items():
        old, new = ({"type": module.type_name} | _fields(module) for module in (before, after))
        shared = ("type", "width", "stride") if type(before) is not type(after) else tuple(old)
        for field in shared:
            if old[field] != new[field]:
                blocks.setdefault(f"{field} {old[field]} -> {new[field]}", []).append(name)
    for change, names in blocks.items():
        if len(names) == len(pairs) > 1:
            yield f"{change} in every block"
            continue
        for stage, members in groupby(names, key=stage_of):
            listed = list(members)
            whole = len(listed) == sum(stage_of(name) == stage for name in pairs)
            yield from ([f"{stage}.{change}"] if whole else [f"{name}.{change}" for name in listed])
