"""Why no network of a space meets its constraints, and what would do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import NasError
from nas.graph.graph import Graph, shape_text
from nas.space.decisions import pick
from nas.space.fitting import BOUND, reduced_size
from nas.space.genotype import Genotype, expand
from nas.space.spec import AUTO, UNITS, Limits

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

DRAWS = 1000
SIDES = (8, 16, 32, 64, 96, 128, 224, 512)
"""Sizes of images that are tried where none of the draws can be built."""


def unmet(space: SearchSpace, near: Iterable[Genotype]) -> str:
    """Return lines for each constraint: share of draws that meet it, nearest figure, and what would do.

    near: networks that came near the constraints, whose figures count too.
    """
    graphs, fault = _expanded(space, _draws(space, DRAWS))
    if not graphs:
        return f"no draw can be built: {fault}\n  {_size_that_fits(space)}"
    closer, _ = _expanded(space, near)
    figures = [{name: figure for name, (figure, _) in space.limited(graph).items()} for graph in graphs]
    others = [{name: figure for name, (figure, _) in space.limited(graph).items()} for graph in closer]
    lines = list[str]()
    for name, limit in space.spec.constraints.items():
        drawn_figures = [row[name] for row in figures if name in row]  # some module types have no such figure
        if drawn_figures:
            lines += _lines(space, name, limit, drawn_figures, [row[name] for row in others if name in row])
    return "\n  ".join(lines)


def _draws(space: SearchSpace, count: int) -> list[Genotype]:
    rng = np.random.default_rng(0)
    return [space.build(lambda _, options: pick(options, rng)) for _ in range(count)]


def _expanded(space: SearchSpace, genotypes: Iterable[Genotype]) -> tuple[list[Graph], str]:
    """Return the networks that can be built, and why one cannot."""
    graphs, fault = list[Graph](), ""
    for genotype in genotypes:
        try:
            graphs.append(expand(genotype, space.input_shape, space.num_classes))
        except NasError as error:
            fault = fault or str(error)
    return graphs, fault


def _lines(
    space: SearchSpace, name: str, limit: Limits, drawn: Sequence[int], others: Sequence[int]
) -> Iterator[str]:
    low, high = limit.min or 0, inf if limit.max is None else limit.max
    share = sum(low <= figure <= high for figure in drawn) / len(drawn)
    nearest = min((*drawn, *others), key=lambda figure: max(low - figure, figure - high, 0))
    bounds = " and ".join(f"{BOUND[kind]} {bound:,}" for kind, bound in limit.bounds().items())
    missed = "" if share else f", the nearest has {nearest:,}"
    yield f"{name} {bounds}: met by {share:.1%} of random draws{missed}"
    middle = float(np.median(drawn))
    if not low <= middle <= high:
        kind = "max" if middle > high else "min"
        declared = space.declared.constraints[name]
        grown = limit.bounds()[kind] / (declared.bounds()[kind] or 1)
        at = f", at: {shape_text(declared.at)}" if declared.at else ""
        yield f"  half of the draws meet  {name}: {{{kind}: {_round(middle / grown, kind)}{at}}}"
    if name == "flops" and middle > high:
        yield from _smaller_images(space, middle / high)


def _round(figure: float, kind: str) -> str:
    """Return two digits of a figure as a file has it, rounded so that a limit admits more."""
    digits = 10 ** max(0, len(str(int(figure))) - 2)
    rounded = (-(-int(figure + 1) // digits) if kind == "max" else int(figure) // digits) * digits
    factor, unit = max((factor, unit) for unit, factor in UNITS.items() if rounded >= factor or factor == 1)
    return f"{rounded / factor:.12g}{unit}"


def _smaller_images(space: SearchSpace, excess: float) -> Iterator[str]:
    """Yield what else reduces FLOPs `excess` times: smaller images, or a stem that makes them small."""
    size, declared = space.input_shape[1:], space.declared
    if (
        not declared.stem
        or declared.stem.get("stride") == AUTO
        or declared.constraints["flops"].at is not None
    ):
        return  # FLOPs or limit do not follow from the pixels alone
    if (side := int(min(size) / sqrt(excess))) >= SIDES[0]:
        yield f"  half of the draws meet it with images of {side} pixels: --data 'DATA?size={side}'"
    reduced = reduced_size(declared, size) if declared.stem.get("stride", 1) == 1 else None
    if reduced is not None:
        stem = f"stem: {{type: {declared.stem['type']}, …, stride: {AUTO}}}"
        yield f"  {stem} reduces {shape_text(size)} to {shape_text(reduced)} pixels"


def _size_that_fits(space: SearchSpace) -> str:
    for side in SIDES:
        try:
            other = space.with_input((space.input_shape[0], side, side), space.num_classes)
        except NasError:
            continue
        if _expanded(other, _draws(other, 20))[0]:
            return f"images of {side}x{side} fit: --data 'DATA?size={side}'"
    return "the modules do not fit together: compare widths and strides of the stages"
