"""The Pareto front as a chart that answers to pointer, finger and keyboard; as a table; and its
networks as drawings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.front import front_table
from nas.analysis.overview import Overview
from nas.analysis.table import MIXED
from nas.formatting import interval, metric
from nas.reports.drawing import drawing
from nas.reports.markup import Html, join, table, tag
from nas.space.genotype import Genotype, expand
from nas.stats.estimate import UNKNOWN, Estimate
from nas.study.objectives import objective
from nas.visualization.plots.style import COLOURS

if TYPE_CHECKING:
    from nas.study.run import Run

MOST_POINTS = 1500
"""Networks off the front that are shown; of more a random part."""
DRAWINGS = 1_000_000
"""Characters of all drawings together, so that a page stays below 3 MB."""


@dataclass(frozen=True)
class Point:
    """A network on the chart. `roles` are "knee" and the like, of members of the front alone;
    `over_seeds` is the error over repeated trainings, `blocks` the type and the number of
    halvings of the resolution at each block."""

    name: str
    digest: str
    genotype: Genotype
    kind: str
    x: float
    y: float
    costs: Mapping[str, float]
    over_seeds: Estimate
    member: bool
    roles: tuple[str, ...]
    export: str
    show: str

    @property
    def facts(self) -> list[str]:
        """What is known of it, in words."""
        entries = [(objective(name), value) for name, value in self.costs.items()]
        error, *costs = [f"{entry.label} {entry.text(value)}" for entry, value in entries]
        over_seeds = [f"over seeds {interval(self.over_seeds)} %"] if isfinite(self.over_seeds.value) else []
        return [error, *over_seeds, *costs, " + ".join(dict.fromkeys(self.genotype.module_types))]


def points_of(found: Overview, *, seed: int = 0) -> list[Point]:
    """The networks to show, those of the front last and in its order."""
    members = front_table(found.networks, found.axes).sort_values(list(found.axes))
    on = found.networks["digest"].isin(members["digest"])
    others = found.networks[~on]
    if len(others) > MOST_POINTS:
        others = others.iloc[np.random.default_rng(seed).choice(len(others), MOST_POINTS, replace=False)]
    roles = _roles(members, found.axes)
    shown: list[tuple[dict[str, Any], bool, tuple[str, ...]]]
    shown = [(row, False, ()) for row in others.to_dict("records")]
    shown += [(row, True, roles.get(at, ())) for at, row in enumerate(members.to_dict("records"))]
    return [_point(found, *each) for each in shown]


def _roles(members: Any, axes: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Of the rows that one would export."""
    names: dict[int, tuple[str, ...]] = {}
    for role, at in (
        ("knee", int(np.flatnonzero(members["knee"])[0])),
        *((f"lowest {objective(axis).label}", int(np.argmin(members[axis]))) for axis in reversed(axes)),
    ):
        names[at] = (*names.get(at, ()), role)
    return names


def _point(found: Overview, row: dict[str, Any], member: bool, roles: tuple[str, ...]) -> Point:
    run, number = found.runs[row["run"]], int(row["number"])
    x, y = (objective(name).scale * float(row[name]) for name in found.axes)
    return Point(
        name=f"{run.name}, trial {number}" if len(found.runs) > 1 else f"trial {number}",
        digest=row["digest"],
        genotype=row["network"],
        kind=row["type"],
        x=x,
        y=y,
        costs={name: float(row[name]) for name in dict.fromkeys(("error", "flops", "params", *found.axes))},
        over_seeds=found.intervals.get(row["digest"], UNKNOWN),
        member=member,
        roles=roles,
        export=f"nas export {where(run)} --trial {number}",
        show=f"nas show {where(run)} --trial {number} --plot network.svg",
    )


def where(run: Run) -> str:
    """What names a run on the command line: its name in the default folder, else its path."""
    return shlex.quote(run.name if run.folder.parent == Path("results") else str(run.folder))


def classes(types: Sequence[str]) -> dict[str, str]:
    """The CSS class of each type's colour, as `nas.visualization.plots.style.looks` has it."""
    return {name: f"c{at % len(COLOURS)}" for at, name in enumerate(sorted(types))} | {MIXED: "mixed"}


def points_data(points: Sequence[Point], types: Sequence[str]) -> dict[str, Any]:
    """What the page's script knows, as JSON."""
    named = list(classes(types).items())
    at = {name: index for index, (name, _) in enumerate(named)}
    return {
        "types": named,
        "points": [
            {
                "name": point.name,
                "architecture": str(point.genotype),
                "facts": point.facts,
                "roles": point.roles or (["on the front"] if point.member else []),
                "command": point.export,
                "show": point.show,
                "blocks": [[at[kind], halvings] for kind, halvings in _blocks(point.genotype)],
            }
            for point in points
        ],
    }


def _blocks(genotype: Genotype) -> Iterator[tuple[str, int]]:
    """The type of each block, and how often the resolution was halved before its end."""
    halvings = 0
    for node in genotype.nodes:
        halvings += getattr(node.module, "stride", 1) > 1
        kinds = node.module.module_types if isinstance(node.module, Genotype) else (node.module.type_name,)
        for kind in kinds:
            yield kind, halvings


def member_table(points: Sequence[Point]) -> Html:
    """The front by ascending cost."""
    members = [point for point in points if point.member]
    repeated = any(isfinite(point.over_seeds.value) for point in members)
    over_seeds = ("over seeds, 95 %>",) if repeated else ()
    figures = ("error, %>", *over_seeds, "FLOPs>", "parameters>")
    rows = [
        (
            point.name,
            f"{100 * point.costs['error']:.2f}",
            *([interval(point.over_seeds) if isfinite(point.over_seeds.value) else ""] if repeated else []),
            metric(point.costs["flops"]),
            metric(point.costs["params"]),
            ", ".join(point.roles),
            str(point.genotype),
            tag("code", point.export),
        )
        for point in members
    ]
    return table(("network", *figures, "", "architecture", "export"), rows, wide=("architecture",))


def drawings(points: Sequence[Point], shape: tuple[int, int, int], num_classes: int) -> Html:
    """A drawing of each member of the front, of those with a role first, while there is room; the
    command that draws it for the others."""
    order = sorted((at for at, p in enumerate(points) if p.member), key=lambda at: not points[at].roles)
    made: dict[int, Html] = {}
    room = DRAWINGS
    for at in order:
        point = points[at]
        content = drawing(expand(point.genotype, shape, num_classes), f"{point.name}: {point.genotype}")
        room -= len(content)
        if room < 0:
            content = tag("p", "Draw it with ", tag("code", point.show))
        role = f" ({', '.join(point.roles)})" if point.roles else ""
        whole = tag("summary", f"Drawing of {point.name}{role}") + content
        drawn = {"id": f"net-{at}"} if room >= 0 else {}
        made[at] = tag("details", Html(whole), **drawn)
    return join(made[at] for at in sorted(made))
