"""The networks that the chart of the front shows, with the facts about each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from nas.analysis.overview import Overview
from nas.analysis.table import MIXED
from nas.formatting import interval
from nas.space.genotype import Genotype
from nas.stats.estimate import UNKNOWN, Estimate
from nas.study.commands import argument, command_for
from nas.study.front import EXPECTED, error_column, front_table
from nas.study.objectives import all_axes, objective
from nas.visualization.colours import css_class, in_order

MOST_POINTS = 1500
"""Most networks off the front that are shown; of more, a random sample."""


@dataclass(frozen=True)
class Point:
    """A network on the chart.

    x, y: in the units that people see.
    costs: recorded values by objective, the error first.
    expected, membership: the expected error, and the probability of being on the front; unknown where
    measured
        errors choose.
    over_seeds: the error over repeated trainings.
    member: whether it is on the front.
    roles: "knee" and the like, for members of the front.
    export, train, show: the commands that write its code, train it fully and draw it.
    """

    name: str
    digest: str
    genotype: Genotype
    kind: str
    x: float
    y: float
    costs: Mapping[str, float]
    expected: Estimate
    membership: float
    over_seeds: Estimate
    member: bool
    roles: tuple[str, ...]
    export: str
    train: str
    show: str

    @property
    def facts(self) -> list[str]:
        """Facts about the network, in words."""
        entries = [(objective(name), value) for name, value in self.costs.items()]
        error, *costs = [f"{entry.label} {entry.text(value)}" for entry, value in entries]
        over_seeds = [f"over seeds {interval(self.over_seeds)} %"] if isfinite(self.over_seeds.value) else []
        known = isfinite(self.expected.value)
        expected = [f"expected {interval(self.expected)} %"] if known else []
        likely = [f"on the front with {self.membership:.0%}"] if known else []
        return [
            *expected,
            f"measured {error}" if known else error,
            *over_seeds,
            *likely,
            *costs,
            " + ".join(in_order(self.genotype.module_types)),
        ]


def points_of(overview: Overview, *, seed: int = 0) -> list[Point]:
    """Return the networks to show, those of the front last and in its order."""
    error = error_column(overview.networks)
    names = all_axes(overview.objectives)
    columns = [error if name == "error" else name for name in names]
    order = [error if axis == "error" else axis for axis in overview.axes]
    members = front_table(overview.networks, overview.objectives).sort_values(order)
    on = overview.networks["digest"].isin(members["digest"])
    others = overview.networks[~on]
    if len(others) > MOST_POINTS:
        others = others.iloc[np.random.default_rng(seed).choice(len(others), MOST_POINTS, replace=False)]
    roles = _roles(members, names, columns)
    shown: list[tuple[dict[str, Any], bool, tuple[str, ...]]]
    shown = [(row, False, ()) for row in others.to_dict("records")]
    shown += [(row, True, roles.get(i, ())) for i, row in enumerate(members.to_dict("records"))]
    return [_point(overview, *each) for each in shown]


def _roles(members: Any, objectives: Sequence[str], columns: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Return the roles of the rows that one would export."""
    roles: dict[int, tuple[str, ...]] = {}
    for role, i in (
        ("knee", int(np.flatnonzero(members["knee"])[0])),
        *(
            (f"lowest {objective(name).label}", int(np.argmin(members[column])))
            for name, column in reversed(list(zip(objectives, columns, strict=True)))
        ),
    ):
        roles[i] = (*roles.get(i, ()), role)
    return roles


def _point(overview: Overview, row: dict[str, Any], member: bool, roles: tuple[str, ...]) -> Point:
    run, number = overview.runs[row["run"]], int(row["number"])
    error = error_column(overview.networks)
    shown = {name: error if name == "error" else name for name in overview.axes}
    x, y = (objective(name).scale * float(row[column]) for name, column in shown.items())
    known = Estimate(*(float(row[name]) for name in EXPECTED[:3])) if error != "error" else UNKNOWN
    trial = (argument(run), "--trial", str(number))
    return Point(
        name=f"{run.name}, trial {number}" if len(overview.runs) > 1 else f"trial {number}",
        digest=row["digest"],
        genotype=row["network"],
        kind=row["type"],
        x=x,
        y=y,
        costs={
            name: float(row[name])
            for name in dict.fromkeys(("error", "flops", "params", *overview.objectives))
        },
        expected=known,
        membership=float(row["membership"]) if error != "error" else float("nan"),
        over_seeds=overview.intervals.get(row["digest"], UNKNOWN),
        member=member,
        roles=roles,
        export=command_for(run, "export", *trial),
        train=command_for(run, "train", *trial, data=True),
        show=command_for(run, "show", *trial, "--plot", "network.svg"),
    )


def points_data(points: Sequence[Point], types: Sequence[str]) -> dict[str, Any]:
    """Return the data of the page's script, as JSON."""
    named = [(name, css_class(name, types)) for name in in_order((*types, MIXED))]
    index = {name: i for i, (name, _) in enumerate(named)}
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
                "blocks": [[index[kind], halvings] for kind, halvings in _blocks(point.genotype)],
            }
            for point in points
        ],
    }


def _blocks(genotype: Genotype) -> Iterator[tuple[str, int]]:
    """Return the type of each block, and how often the resolution was halved before its end."""
    halvings = 0
    for node in genotype.nodes:
        halvings += getattr(node.module, "stride", 1) > 1
        kinds = node.module.module_types if isinstance(node.module, Genotype) else (node.module.type_name,)
        for kind in kinds:
            yield kind, halvings
