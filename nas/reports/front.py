"""The section on the Pareto front: an interactive chart (pointer, touch, keyboard), a table, and drawings of
its networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from markupsafe import Markup

from nas.analysis.overview import Overview
from nas.analysis.text.pareto import shrinkage_text
from nas.formatting import interval
from nas.graph.graph import Shape
from nas.reports.chart import make_chart
from nas.reports.drawing import drawing
from nas.reports.points import Point
from nas.reports.render import Table, render, table
from nas.space.genotype import expand
from nas.study.commands import argument, reseed_command
from nas.study.front import EXPECTED, error_column, front_table
from nas.study.objectives import objective

DRAWINGS = 1_000_000
"""Characters of all drawings together, which keeps a page below 3 MB."""


@dataclass(frozen=True)
class Drawing:
    """The drawing of the point with this number; without `svg`, `command` draws it."""

    number: int
    title: str
    svg: Markup | None
    command: str


def front_section(overview: Overview, points: Sequence[Point]) -> Markup:
    """Fill the section of a report on the front."""
    first = overview.runs[0].config
    return render(
        "front.html",
        chart=make_chart(points, overview.objectives, overview.types, overview.task),
        hidden=len(overview.networks) - len(points),
        members=member_table(points),
        choice=choice_text(overview, points),
        drawings=drawings(points, tuple(first.input_shape), first.num_classes),
    )


def choice_text(overview: Overview, points: Sequence[Point]) -> str:
    """Say by which error the front was chosen, and which networks measured errors would choose; as HTML where
    it is Markup."""
    if "error" not in overview.objectives:
        return ""
    members = {point.digest for point in points if point.member}
    networks = overview.networks.drop(columns=list(EXPECTED))
    measured = front_table(networks, overview.objectives)
    if error_column(overview.networks) == "error":
        return "The front is that of measured errors."
    text = (
        "The front is that of expected errors, with 95 % intervals: a model of all trainings weighs each "
        "network's own against those of its kin, because one training is partly luck."
    )
    known = overview.networks.dropna(subset="expected_error")
    text = f"{text} {shrinkage_text(known['error'], known['expected_error'])}".rstrip()
    if set(measured["digest"]) == members:
        return f"{text} Measured errors choose the same networks."
    numbers = ", ".join(map(str, sorted(measured["number"])))
    decide = reseed_command(overview.runs[0], argument(overview.runs[0]))
    hint = Markup('{} By measured errors it would hold trials {}. To decide: <code class="whole">{}</code>')
    return hint.format(text, numbers, decide)


def member_table(points: Sequence[Point]) -> Table:
    """Return the front as a table, in its order."""
    members = [point for point in points if point.member]
    repeated = any(isfinite(point.over_seeds.value) for point in members)
    error, *costs = [objective(name) for name in members[0].costs]
    over_seeds = ("over seeds, 95 %>",) if repeated else ()
    known = any(isfinite(point.expected.value) for point in members)
    modelled = ("expected error, 95 %>", "likely on front>") if known else ()
    first = f"measured {error.heading}>" if known else f"{error.heading}>"
    figures = (*modelled, first, *over_seeds, *(f"{cost.heading}>" for cost in costs))
    rows = [
        (
            point.name,
            *((interval(point.expected), f"{point.membership:.0%}") if known else ()),
            error.cell(point.costs[error.name]),
            *([interval(point.over_seeds) if isfinite(point.over_seeds.value) else ""] if repeated else []),
            *(cost.cell(point.costs[cost.name]) for cost in costs),
            ", ".join(point.roles),
            str(point.genotype),
        )
        for point in members
    ]
    return table(("network", *figures, "role", "architecture"), rows, wide=("architecture",))


def drawings(points: Sequence[Point], shape: Shape, num_classes: int) -> list[Drawing]:
    """Draw each member of the front while there is room, those with a role first."""
    members = [(i, point) for i, point in enumerate(points) if point.member]
    made: list[Drawing] = []
    room = DRAWINGS
    for i, point in sorted(members, key=lambda member: not member[1].roles):
        graph = expand(point.genotype, shape, num_classes)
        svg: Markup | None = drawing(graph, f"{point.name}: {point.genotype}")
        room -= len(svg or "")
        role = f" ({', '.join(point.roles)})" if point.roles else ""
        made.append(Drawing(i, f"{point.name}{role}", svg if room >= 0 else None, point.show))
    return sorted(made, key=lambda each: each.number)
