"""The space around a network: it holds the network itself, and cheaper ones that differ in what may vary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from nas.errors import NasError, did_you_mean
from nas.graph.graph import Shape, shape_text
from nas.modules import MODULE_TYPES, Module
from nas.space.decisions import pick
from nas.space.genotype import INPUT_NODE, Genotype
from nas.space.load import parse_space
from nas.space.space import SearchSpace

VARIED = ("depth", "width", "type", "cardinality")
USUAL = ("depth", "width")
SCALES = (0.25, 0.5, 0.75, 1.0)
"""Factors of depth and width that a space offers."""
CHANNELS = 8
"""Scaled widths are multiples of this, so that groups and branches divide them."""
DRAWS = 20
"""Draws of a space, of which at least half must be networks."""
TYPES = ("plain", "residual", "bottleneck", "resnext", "fractal")
GROUPS = {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}
"""Base width by cardinality, at equal cost (Xie et al., 2017, table 2)."""

Stages = Sequence[Sequence[Module]]


def around(
    genotype: Genotype,
    input_shape: Shape,
    num_classes: int,
    *,
    name: str,
    vary: Sequence[str] | None = None,
    max_flops: int,
) -> str:
    """Return the file of a space around a network.

    Args:
        genotype: A chain of modules, behind a stem or not. Its auxiliary heads are left out.
        input_shape: Channels, height and width of an image.
        num_classes: Classes to tell apart.
        name: Name of the network.
        vary: What may vary, of `VARIED`. By default what can vary of depth and width.
        max_flops: Limit on the FLOPs of the networks, for images of this shape.

    Raises:
        NasError: Name in `vary` that is unknown or changes no stage, a network that no space can hold, or
            none within the limit.
    """
    if genotype.head is None:
        raise NasError("a space needs a network with a head")
    for item in vary or ():
        if item not in VARIED:
            raise NasError(f"unknown {item!r}", where="--vary", hint=did_you_mean(item, VARIED))
    stages = split(genotype)
    if vary is None:
        vary = [item for item in USUAL if item not in _idle(stages, USUAL)]
    elif idle := _idle(stages, vary):
        rest = ",".join(item for item in vary if item not in idle) or "width"
        hint = f"--vary {'type,cardinality' if idle == ['cardinality'] else rest}"
        raise NasError(f"{' and '.join(idle)} can vary in no stage of it", where=name, hint=hint)
    data = {
        "name": f"around_{name}",
        "description": f"Around {name}: {', '.join(vary) or 'nothing'} may vary.",
        "input": shape_text(input_shape),
        "classes": num_classes,
        "vary": "stage" if all(map(_alike, stages)) else "block",
        "stem": _without_norm(genotype.stem, stages[0][0]) if genotype.stem else "none",
        "stages": [_stage(stage, vary) for stage in stages],
        "head": _without_norm(genotype.head, stages[-1][-1]),
    }
    _check_held(parse_space(yaml.safe_dump(data, sort_keys=False), f"around {name}"), genotype, stages, name)
    limits = {"flops": {"max": max_flops, "at": shape_text(input_shape[1:])}}
    text = yaml.safe_dump({**data, "constraints": limits}, sort_keys=False)
    parse_space(text, f"around {name}").sample(0)  # raises where nothing meets the limit
    return str(text)


def _check_held(space: SearchSpace, genotype: Genotype, stages: Stages, name: str) -> None:
    """Raise NasError unless a space holds the network itself, and mostly networks beside it."""
    same = False
    with suppress(NasError):  # of a head that takes feature maps of other sizes than it did
        same = _rebuilt(space, stages).digest == genotype.digest
    if not same:
        raise NasError("no space holds exactly this network", where=name)
    rng = np.random.default_rng(0)
    draws = [space.build(lambda _, options: pick(options, rng)) for _ in range(DRAWS)]
    if sum(bool(space.violations(draw)) for draw in draws) > DRAWS / 2:
        hint = "a space draws each setting of a stage alone, and these belong together"
        raise NasError("the settings of its blocks cannot be mixed", where=name, hint=hint)


def _idle(stages: Stages, vary: Sequence[str]) -> list[str]:
    """Return what may vary and changes no stage, such as the cardinality of plain modules."""
    spaces = [_stage(stage, vary) for stage in stages]
    return [
        item
        for item in vary
        if spaces == [_stage(stage, [other for other in vary if other != item]) for stage in stages]
    ]


def split(genotype: Genotype) -> Stages:
    """Return the modules of each stage of a chain; one begins wherever a stride or another width does.

    NasError for a network that is no chain of modules.
    """
    stages: list[list[Module]] = []
    before, stage = INPUT_NODE, ""
    for node in genotype.nodes:
        module = node.module
        if node.inputs != (before,) or not isinstance(module, Module):
            raise NasError(
                "is not a chain of modules", where=node.name, hint="only chains of modules fit a space"
            )
        if node.stage != stage or module.stride > 1 or module.width != stages[-1][-1].width:
            stages.append([])
        stages[-1].append(module)
        before, stage = node.name, node.stage
    return stages


def _stage(modules: Sequence[Module], vary: Sequence[str]) -> dict[str, Any]:
    first, kinds = modules[0], {module.type_name for module in modules}
    pools, blocks = "max_pool" in kinds, kinds.isdisjoint(("max_pool", "activated_conv"))
    scales = SCALES if not pools else (1.0,)
    depth, width = len(modules), first.width
    deeper = "depth" in vary and blocks
    depths = sorted({max(1, round(depth * scale)) for scale in scales}) if deeper else [depth]
    widths = sorted({_channels(width, scale) for scale in scales}) if "width" in vary else [width]
    settings = {kind: dict(_settings(kind, modules)) for kind in dict.fromkeys(m.type_name for m in modules)}
    if "type" in vary and blocks:
        settings = {**{kind: _shared(kind, first) for kind in TYPES}, **settings}
    if "resnext" in settings and "cardinality" in vary:
        fixed = {key: value for key, value in settings["resnext"].items() if key not in _groups(modules)}
        settings["resnext"] = {**_groups(modules), **fixed}
    stride = {"stride": first.stride} if first.stride > 1 else {}
    return {"depth": _plain(depths), "width": _plain(widths), **stride, "modules": settings}


def _channels(width: int, scale: float) -> int:
    return width if scale == 1 else max(CHANNELS, round(width * scale / CHANNELS) * CHANNELS)


def _settings(kind: str, modules: Sequence[Module]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a type that are not always at their default, with the values that they have."""
    own = [module for module in modules if module.type_name == kind]
    for field in {key: None for module in own for key in module.to_dict()}:
        if field not in ("type", "width", "stride"):
            yield field, _plain(list(dict.fromkeys(getattr(module, field) for module in own)))


def _shared(kind: str, module: Module) -> dict[str, Any]:
    """Return the place of batch norm and the shortcut of a module for another type, where that has them."""
    own = {name: getattr(module, name) for name in ("norm", "shortcut") if hasattr(module, name)}
    fields = dict(MODULE_TYPES[kind].choices())
    return {name: value for name, value in own.items() if value in fields.get(name, ())}


def _groups(modules: Sequence[Module]) -> dict[str, Any]:
    """Return options of cardinality, each with its base width; those of the network are among them."""
    grouped: list[Any] = [module for module in modules if module.type_name == "resnext"]
    pairs = {**GROUPS, **{module.cardinality: module.base_width for module in grouped}}
    return {"cardinality": sorted(pairs), "base_width": {"by": "cardinality", **pairs}}


def _alike(modules: Sequence[Module]) -> bool:
    """Tell whether all modules are equal but for the stride of the first."""
    return len({replace(module, stride=1) for module in modules}) == 1


def _plain(options: list[Any]) -> Any:
    return options[0] if len(options) == 1 else options


def _without_norm(part: Any, neighbour: Any) -> dict[str, Any]:
    """Return the settings of a stem or head; the norm only if it is not that of the module next to it."""
    settings: dict[str, Any] = part.to_dict()
    settings.pop("norm", None)
    norm = getattr(part, "norm", None)
    return settings if norm in (None, getattr(neighbour, "norm", norm)) else {**settings, "norm": norm}


def _rebuilt(space: SearchSpace, stages: Stages) -> Genotype:
    """Return the network of the space that has these stages."""

    def answer(path: str, options: Sequence[Any]) -> Any:
        stage, *rest = path.partition("[")[0].split(".")
        modules = stages[int(stage.removeprefix("stage")) - 1]
        field = rest[-1]
        if field == "depth":
            return len(modules)
        block = int(rest[0].removeprefix("block")) - 1 if rest[0].startswith("block") else 0
        module = modules[block]
        return module.type_name if field == "type" else getattr(module, field)

    return space.build(answer)
