"""The summary of a report: what the runs support, what they do not, and what is missing, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from markupsafe import Markup

from nas.analysis.overview import Overview
from nas.analysis.text.statements import stopped, unsupported
from nas.formatting import FLOPS_NOTE, count, metric
from nas.reports.points import Point
from nas.reports.render import render
from nas.study.objectives import objective

GRADES = {
    "A": "causal: replacing one type by another changes the error by this much, in this space and recipe",
    "B": "causal at few epochs: the same, for trainings as short as these",
    "C": "associational: one type goes with lower error in a sample drawn without looking at results",
    "D": "descriptive: it holds among the networks that the search visited, or that train, and no further",
    "X": "unsupported: no ranking; the requirement that failed is named",
}


BEYOND = {
    "A": "That the effect holds in another space or with another recipe.",
    "B": "That the effect holds for a full schedule, in another space or with another recipe.",
    "C": "That the type is the cause.",
    "D": "That a type is better in the space, or that it is the cause: the networks were chosen by the "
    "search, or by which trainings failed.",
}
"""Statements that the best grade of a sample does not support, by grade."""


@dataclass(frozen=True)
class Sample:
    """Claims that one sample of networks supports: `claims` are (grade, sentence), `beyond` is what the best
    grade does not support, `silent` names the types without a ranking, `gates` are (types, what is missing).
    """

    of: str
    claims: list[tuple[str, str]]
    beyond: str
    silent: str
    gates: list[tuple[str, str]]


def summary(overview: Overview, points: Sequence[Point]) -> Markup:
    """Fill the summary of a report."""
    analysis = overview.analysis
    samples: list[tuple[str, Sequence[Any]]] = [(c.sample, c.contrasts) for c in analysis.comparisons]
    if analysis.paired:
        paired = analysis.paired.contrasts
        parts = {c.where: [each for each in paired if each.where == c.where] for c in paired}
        samples = [(f"paired contexts {where}", part) for where, part in parts.items()] + samples
    return render(
        "summary.html",
        counts=_counts(overview),
        front=_front(overview, points),
        noise=_noise(overview),
        estimand=analysis.estimand,
        samples=[_sample(sample, contrasts, alone=len(samples) == 1) for sample, contrasts in samples],
        notes=analysis.notes,
        grades=GRADES,
    )


def _counts(overview: Overview) -> str:
    analysis = overview.analysis
    text = f"{count(analysis.trials, 'trial')}: {count(analysis.networks, 'distinct network')}"
    if analysis.repeated:
        text += f", {count(analysis.repeated, 'further training')} of these"
    failed = f"{analysis.failed} failed" if analysis.failed else "none failed"
    return f"{text}; {failed}. {FLOPS_NOTE}"


def _front(overview: Overview, points: Sequence[Point]) -> str:
    members = [point for point in points if point.member]
    best = min(members, key=lambda point: point.costs["error"])
    knee = next(point for point in members if "knee" in point.roles)
    x, y = (objective(axis).label for axis in overview.axes)
    error = objective("error").title(overview.task)
    front = f"The front of {x} and {y} holds {count(len(members), 'network')}."
    text = f"{front} The lowest {error} on it is {_described(best)}"
    return f"{text}; " + ("the same is its knee." if knee is best else f"its knee is {_described(knee)}.")


def _described(point: Point) -> str:
    return f"{100 * point.costs['error']:.2f} % at {metric(point.costs['flops'])} FLOPs ({point.name})"


def _noise(overview: Overview) -> str:
    if overview.repeats is None:
        return (
            "Every network was trained once, so the effect of the training seed alone is not known. The "
            "lowest of many errors is partly luck, and retraining that network will likely give a higher one."
        )
    sd = f"{100 * overview.repeats.seed_sd:.2f}"
    return f"Between trainings of one network that differ only in the seed, errors have an SD of {sd} points."


def _sample(sample: str, contrasts: Sequence[Any], *, alone: bool) -> Sample:
    claims = [(c.grade, _sentence(c.claim)) for c in contrasts if c.grade != "X"]
    silent = unsupported(contrasts)
    if silent:
        known = any(c.grade == "X" and isfinite(c.effect.value) for c in contrasts)
        silent = f"No ranking of {silent}."
        silent += " Differences that are shown below may be chance." if known else ""
    return Sample(
        of="" if alone else f", of {sample}",
        claims=claims,
        beyond=BEYOND[min(claims)[0]] if claims else "",
        silent=silent,
        gates=[(str(pairs), str(gate)) for pairs, gate in stopped(contrasts)],
    )


def _sentence(claim: str) -> str:
    return f"{claim[0].upper()}{claim[1:]}."
