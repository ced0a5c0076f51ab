"""Warm starts: given networks, of the zoo or of files, as the first candidates of a search.

Each is projected to the nearest network of the space. Decision by decision it keeps its option if the space
offers it, and takes the nearest option otherwise. The changes are reported.
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
from nas.modules.structure import Structure
from nas.recipe import fields_text
from nas.space.around import Stages, split
from nas.space.candidate import recipe_of
from nas.space.decisions import RECIPE
from nas.space.genotype import Genotype, expand
from nas.space.space import Decisions, SearchSpace
from nas.space.spec import usual_option
from nas.study.trial import Proposal
from nas.zoo.network_file import setting_network


@dataclass(frozen=True)
class WarmStart:
    """A given network, projected into a space.

    setting: the network as the settings record it (`nas.zoo.network_file.recorded_network`). changes:
    differences from the given network, () if it lies in the space. same_as: the name of an earlier warm start
    that is then the same network, which is tried once.
    """

    name: str
    setting: str
    genotype: Genotype
    changes: tuple[str, ...] = ()
    same_as: str = ""

    def __str__(self) -> str:
        changes = ", ".join(self.changes) or "lies in the space"
        changes += f", under {fields_text(own)}" if (own := recipe_of(self.genotype)) else ""
        left_out = f"; skipped, because it is then the same as {self.same_as}" if self.same_as else ""
        return f"{self.name}: {changes}{left_out}"


def find_warm_starts(space: SearchSpace, settings: Iterable[str]) -> tuple[WarmStart, ...]:
    """Return given networks, projected into the space, in this order.

    settings: what `recorded_network` returned. NotFoundError for a name that the zoo does not know, NasError
    for a network that cannot be projected, and for two of one name.
    """
    warm_starts: list[WarmStart] = []
    for setting in settings:
        name, genotype = setting_network(setting)
        try:
            nearest, changes = project(space, genotype)
        except NasError as error:
            raise error.at(f"seed {name}") from None
        if any(start.name == name and start.setting != setting for start in warm_starts):
            raise NasError("is the name of two networks", where=f"seed {name}", hint="rename a file")
        same = next((start.name for start in warm_starts if start.genotype.digest == nearest.digest), "")
        warm_starts.append(WarmStart(name, setting, nearest, tuple(changes), same))
    return tuple(warm_starts)


def warm_start_proposals(warm_starts: Iterable[WarmStart]) -> list[Proposal]:
    """Return the proposals of the first trials, by their number."""
    return [Proposal(start.genotype, f"seed:{start.name}") for start in warm_starts if not start.same_as]


def project(space: SearchSpace, genotype: Genotype) -> tuple[Genotype, list[str]]:
    """Return the nearest genotype of the space and a description of each change.

    A space whose stages begin where strides and widths of the network change, as one around it, takes the
    modules as they are. Elsewhere pools that halve the image are left out and the next module takes their
    stride, because in a space strides stand at the start of a stage. If the constraints are violated,
    numbers are changed one by one until they hold, and other options where numbers do not suffice. NasError
    if that fails, or if the network is not a chain of modules.
    """
    if genotype in space:
        return genotype, []
    whole = split(genotype)
    as_it_is = len(whole) == len(space.spec.stages)
    stages, pools = (whole, []) if as_it_is else _without_pools(genotype)
    nearest = _within_constraints(space, _answers(space, genotype, stages))
    built = split(nearest) if as_it_is else _without_pools(nearest)[0]
    return nearest, list(_changes(genotype, stages, pools, nearest, built))


def _without_pools(genotype: Genotype) -> tuple[Stages, list[str]]:
    """Return the modules of each stage, by name, and the names of the pools that were left out."""
    stages: dict[str, list[Module]] = {}
    pools, stride = [], 1
    for node in genotype.nodes:
        module = node.module
        assert isinstance(module, Module)  # as `split` has found
        if isinstance(module, Pool) and module.stride > 1:
            pools.append(node.name)
            stride *= module.stride
        else:
            stage = stages.setdefault(node.stage, [])
            stage.append(replace(module, stride=module.stride * stride))
            stride = 1
    return list(stages.values()), pools


def _answers(space: SearchSpace, genotype: Genotype, stages: Stages) -> Decisions:
    """Return the options that the network holds, by path.

    Where the space is longer, the last stage answers for the stages after it, and the last block of a stage
    for the blocks after it. A field of another module type takes the value of the same name, or else its
    default."""
    answers: Decisions = {}
    for part, component in (("stem", genotype.stem), ("head", genotype.head)):
        answers |= {f"{part}.{name}": value for name, value in _fields(component).items()}
    scopes: dict[str, Module] = {}
    for i, stage in enumerate(space.spec.stages):
        modules, name = stages[min(i, len(stages) - 1)], f"stage{i + 1}"
        answers |= {f"{name}.width": modules[0].width, f"{name}.stride": modules[0].stride}
        if i < len(stages):
            answers[f"{name}.depth"] = len(modules)
        for block in range(max(stage.depth)):
            for scope in (f"{name}.block{block + 1}.", f"{name}.", ""):
                scopes.setdefault(scope, modules[min(block, len(modules) - 1)])
    for scope, module in scopes.items():
        answers[f"{scope}type"] = module.type_name
        for kind, cls in Module.registry.items():
            for item in fields(cls):
                value = getattr(module, item.name, item.default)
                answers[f"{scope}{kind}.{item.name}"] = str(value) if isinstance(value, Structure) else value
                inside = value.answers() if isinstance(value, Structure) else {}
                answers |= {f"{scope}{kind}.{item.name}.{path}": option for path, option in inside.items()}
    return answers


def _within_constraints(space: SearchSpace, answers: Decisions) -> Genotype:
    """Return the nearest genotype that the constraints allow.

    Numbers are changed one after the other: each time the one that reduces the excess most and, of those that
    suffice, the one that changes the FLOPs least. Where no number reduces it, other options are tried alike,
    such as another module type.
    """
    nearest = _build(space, answers)
    while violations := space.violations(nearest):
        moved = _moved(space, answers, nearest, True) or _moved(space, answers, nearest, False)
        if moved is None:
            raise NasError(f"cannot be brought into {space.name}: {violations[0]}", hint="leave it out")
        nearest, answers = moved
    return nearest


def _moved(
    space: SearchSpace, answers: Decisions, nearest: Genotype, numbers: bool
) -> tuple[Genotype, Decisions] | None:
    """Return the genotype with one number changed, or one other option, that has the least excess, and its
    answers; None if none reduces the excess."""
    excess, flops = space.excess(nearest), _flops(space, nearest)
    best: tuple[float, float, Genotype, Decisions] | None = None
    for path, value in space.decisions(nearest).items():
        for option in space.domains()[path]:
            if option == value or _is_number(value) != numbers:
                continue
            move = {**answers, path: option}
            neighbour = _build(space, move)
            rank = space.excess(neighbour), abs(_flops(space, neighbour) - flops)
            if rank[0] < excess and (best is None or rank < best[:2]):
                best = *rank, neighbour, move
    return best[2:] if best else None


def _build(space: SearchSpace, answers: Decisions) -> Genotype:
    def answer(path: str, options: Sequence[Any]) -> Any:
        if path.startswith(RECIPE):
            return usual_option(options)
        return _nearest(answers.get(path, answers.get(path.partition("[")[0])), options)

    return space.build(answer)


def _nearest(value: Any, options: Sequence[Any]) -> Any:
    """Return the value if it is an option, else the nearest number (the lower of two), else the first
    option."""
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


def _changes(
    genotype: Genotype, stages: Stages, pools: Sequence[str], nearest: Genotype, built: Stages
) -> Iterator[str]:
    """Yield the differences from the network: stem, stages, blocks, head."""
    yield from _component_changes("stem", genotype.stem, nearest.stem)
    if pools:
        yield f"without {', '.join(pools)}"
    if len(built) != len(stages):
        yield f"stages {len(stages)} -> {len(built)}"
    pairs: dict[str, tuple[Module, Module]] = {}
    for number, (before, after) in enumerate(zip(stages, built, strict=False), start=1):
        if len(before) != len(after):
            yield f"stage{number}.depth {len(before)} -> {len(after)}"
        for block, pair in enumerate(zip(before, after, strict=False), start=1):
            pairs[f"stage{number}.block{block}"] = pair
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
    """Yield the changes of blocks; equal changes of all blocks of a stage or of the network once."""
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
