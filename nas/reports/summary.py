"""The texts of a report's first sections: the networks to take, and the claims on module types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from markupsafe import Markup

from nas.analysis.claims.grades import LETTERS, MEANINGS
from nas.analysis.guess import learned, unlearned_text
from nas.analysis.overview import Overview
from nas.analysis.text.claims import claims_of
from nas.formatting import FLOPS_NOTE, count, interval
from nas.graph.graph import Shape
from nas.reports.drawing import drawing
from nas.reports.points import Point
from nas.reports.render import render
from nas.space.genotype import expand
from nas.study.objectives import objective


@dataclass(frozen=True)
class Choice:
    """A network to take: its roles on the front, its figures as (name, value), a picture, and commands."""

    name: str
    roles: str
    architecture: str
    figures: list[tuple[str, str]]
    picture: Markup
    commands: list[str]


def take_section(overview: Overview, points: Sequence[Point]) -> Markup:
    """Fill the section on the knee and the best network of the front."""
    members = [point for point in points if point.member]
    best = min(members, key=_compared)
    knee = next(point for point in members if "knee" in point.roles)
    config = overview.runs[0].config
    chosen = [knee] if knee is best else [knee, best]
    shape, classes = tuple(config.input_shape), config.num_classes
    return render(
        "take.html",
        choices=[_choice(point, shape, classes, overview.task) for point in chosen],
        unlearned=_unlearned(overview, members),
        counts=_counts(overview),
        noise=_noise(overview),
    )


def _unlearned(overview: Overview, members: Sequence[Point]) -> str:
    """Name the networks of the front that are not shown to be better than a constant guess."""
    config, networks = overview.runs[0].config, len(overview.networks)
    found = [point for point in members if not learned(point.costs["error"], config, networks)]
    return unlearned_text([point.name for point in found], len(members), config)


def _compared(point: Point) -> float:
    """Return the error by which the front was chosen."""
    return point.expected.value if isfinite(point.expected.value) else point.costs["error"]


def _choice(point: Point, shape: Shape, num_classes: int, task: str) -> Choice:
    graph = expand(point.genotype, shape, num_classes)
    entries = [(objective(name), value) for name, value in point.costs.items()]
    figures = [
        (entry.title(task) if entry.name == "error" else entry.label, entry.text(value))
        for entry, value in entries
    ]
    if isfinite(point.expected.value):
        name, measured = figures[0]
        figures[0] = f"expected {name}, 95 %", f"{interval(point.expected)} %"
        figures.insert(1, ("likely on the front", f"{point.membership:.0%}"))
        figures.insert(2, (f"measured {name}", measured))
    if isfinite(point.over_seeds.value):
        figures.insert(
            len(figures) - len(entries) + 1, ("over seeds, 95 %", f"{interval(point.over_seeds)} %")
        )
    return Choice(
        name=point.name,
        roles=", ".join(point.roles),
        architecture=str(point.genotype),
        figures=figures,
        picture=drawing(graph, f"{point.name}: {point.genotype}", closed=True),
        commands=[point.export, point.train],
    )


def claims_section(overview: Overview) -> Markup:
    """Fill the section on module types: each claim with its grade, and what would strengthen it."""
    analysis = overview.analysis
    claims = claims_of(analysis)
    occur = {claim.grade for claim in claims}
    return render(
        "claims.html",
        claims=claims,
        grades=[(letter, MEANINGS[letter], letter in occur) for letter in LETTERS],
        estimand=analysis.estimand,
        notes=analysis.notes,
    )


def _counts(overview: Overview) -> str:
    analysis = overview.analysis
    text = f"{count(analysis.trials, 'trial')}: {count(analysis.networks, 'distinct network')}"
    if analysis.repeated:
        text += f", {count(analysis.repeated, 'further training')} of these"
    failed = f"{analysis.failed} failed" if analysis.failed else "none failed"
    return f"{text}; {failed}. {FLOPS_NOTE}"


def _noise(overview: Overview) -> str:
    if overview.repeats is None:
        return (
            "Every network was trained once, so the effect of the training seed alone is not known. The "
            "lowest of many measured errors is partly luck: retraining will likely give a higher one."
        )
    sd = f"{100 * overview.repeats.seed_sd:.2f}"
    return f"Between trainings of one network that differ only in the seed, errors have an SD of {sd} points."
