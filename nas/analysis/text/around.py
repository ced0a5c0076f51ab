"""The surroundings of given networks as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

from nas.analysis.around import Given
from nas.analysis.scaled import MIN_CHANGED, Axis
from nas.formatting import WIDTH, count, interval, metric, table_of, to_text
from nas.stats.estimate import estimate_dict, finite

if TYPE_CHECKING:
    from rich.console import RenderableType

METHOD = (
    "A step is half of the FLOPs by depth or by width alone, all blocks of another type, or twice as many "
    "groups. Change: of the error by a step, in points, all else equal, with 95 % intervals; from a linear "
    "fit to the mean errors of all trained networks. Against width: that change less the one "
    "of other widths with the same FLOPs; below zero, the step is the better way to these FLOPs. The search "
    "chose networks by their results, and a straight line is an approximation."
)
STEPS = {"depth": "half of the FLOPs by depth", "width": "half of the FLOPs by width"}


def given_text(given: Sequence[Given], width: int = WIDTH) -> str:
    """Return the surroundings of all given networks, one after the other."""
    return "\n\n".join(to_text(*given_parts(item), width=width) for item in given)


def given_parts(given: Given) -> Iterator[RenderableType]:
    """Yield the parts of a section: what was given, the best networks by FLOPs, and the axes."""
    yield lead(given)
    best = table_of("FLOPs, at most", "trial>", "FLOPs>", "of those given>", "error, %>")
    for _, group in groupby(given.best, key=lambda row: row.trial):
        rows = list(group)
        row, shares = rows[0], [f"{row.share:g}x" for row in rows]
        limit = shares[0] if len(shares) == 1 else f"{shares[0]} to {shares[-1]}"
        error = interval(row.error) if isfinite(row.error.low) else f"{100 * row.error.value:.2f}"
        best.add_row(limit, str(row.trial), metric(row.flops), f"{row.flops / given.own:.2f}x", error)
    if given.best:
        yield best
    missing = missing_text(given)
    if given.scaling.known and any(isfinite(axis.change.value) for axis in given.scaling.axes):
        axes = table_of("", "step", "networks>", "FLOPs>", "change, points>", "against width>")
        for axis in given.scaling.axes:
            if isfinite(axis.change.value):
                against = "" if isnan(axis.against_width.value) else interval(axis.against_width)
                figures = str(axis.changed), f"{axis.flops:.2f}x", interval(axis.change), against
                axes.add_row("*" if axis.beyond else "", step_of(axis), *figures)
        yield axes
        if any(axis.beyond for axis in given.scaling.axes):
            yield "*: extrapolated, as no network of such FLOPs was trained."
        yield METHOD
        yield from verdicts(given)
    if missing:
        yield missing


def lead(given: Given) -> str:
    """Return which network was given, and what became of it."""
    text = f"Around {given.name} (run {given.run}, trial {given.trial}: "
    text += f"{metric(given.flops)} FLOPs, error {100 * given.error:.2f} %)"
    if given.changed:
        share = given.flops / given.own
        text += f". The space has no such network of {metric(given.own)} FLOPs: the nearest has {share:.2f}x"
    return f"{text}."


def verdicts(given: Given) -> Iterator[str]:
    """Yield what is shown about the way to save FLOPs."""
    for axis in given.scaling.axes:
        if axis.name == "cardinality" or not axis.against_width.sign:
            continue
        order = "lower" if axis.against_width.sign < 0 else "higher"
        yield f"Shown: {step_of(axis)} has a {order} error than the same FLOPs by width."


def missing_text(given: Given) -> str:
    """Return what is not known, and the command that would help; "" if all is known."""
    scaling = given.scaling
    few = [axis for axis in scaling.axes if axis.changed < MIN_CHANGED]
    parts = []
    if not scaling.axes:
        return "No interval: no trained network differs in depth, width, type or cardinality."
    if not scaling.known:
        parts.append(f"{count(scaling.networks, 'network')} trained, {scaling.needed} needed for intervals")
    parts += [f"{axis.name}: {count(axis.changed, 'network')} of {MIN_CHANGED} needed" for axis in few]
    parts += [
        f"{axis.name}: not told apart from the other axes"
        for axis in scaling.axes
        if scaling.known and axis not in few and isnan(axis.change.value)
    ]
    if not parts:
        return ""
    return (
        f"No interval: {'; '.join(parts)}. More networks: nas search --resume --name {given.run} --trials N"
    )


def step_of(axis: Axis) -> str:
    """Return what a step along an axis is."""
    if axis.name == "cardinality":
        return "twice as many groups"
    return STEPS.get(axis.name, f"all blocks {axis.name}")


def given_list(given: Sequence[Given]) -> list[dict[str, Any]]:
    """Return the surroundings as JSON; None for what is not known."""
    return [
        {
            "name": item.name,
            "run": item.run,
            "trial": item.trial,
            "own_flops": item.own,
            "flops": item.flops,
            "error": item.error,
            "best": [{**asdict(row), "error": estimate_dict(row.error)} for row in item.best],
            "networks": item.scaling.networks,
            "needed": item.scaling.needed,
            "axes": [
                {
                    "name": axis.name,
                    "networks": axis.changed,
                    "flops": finite(axis.flops),
                    "change": estimate_dict(axis.change),
                    "against_width": estimate_dict(axis.against_width),
                }
                for axis in item.scaling.axes
            ],
        }
        for item in given
    ]
