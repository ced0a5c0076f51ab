"""Sections that `nas analyze` adds on request: decisions, budgets and complexities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nas.study.run import Run


@dataclass(frozen=True)
class Extra:
    """A part of the analysis: its key and value in JSON, its text at a width, and its plots by name."""

    key: str
    data: Any
    text: Callable[[int], str]
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)


def extras(
    runs: Sequence[Run], *, decisions: bool, budgets: bool, complexities: Sequence[str]
) -> Iterator[Extra]:
    """Yield the parts that were asked for, of runs on one data set."""
    from nas.analysis.pooling import pool

    trials = pool(runs).trials
    if decisions:
        yield _decisions(trials)
    if budgets:
        yield from map(_budgets, runs)
    if complexities:
        yield _complexities(trials, complexities)


def write_plots(parts: Sequence[Extra], folder: Path) -> list[Path]:
    """Draw the plots of the parts into a folder and return the files."""
    from nas.visualization.plots.style import save

    drawn = {name: draw for part in parts for name, draw in part.figures.items()}
    return [save(draw(), folder / f"{name}.png") for name, draw in drawn.items()]


def _decisions(trials: Any) -> Extra:
    from nas.analysis.factors.decisions import decision_effects
    from nas.analysis.text.decisions import decisions_list, decisions_text
    from nas.visualization.plots.decisions import decisions_figure

    effects = decision_effects(trials)
    figures = {"decisions": lambda: decisions_figure(effects)} if effects else {}
    return Extra("decisions", decisions_list(effects), lambda width: decisions_text(effects, width), figures)


def _budgets(run: Run) -> Extra:
    from nas.analysis.factors.budgets import factors_by_budget
    from nas.analysis.text.decisions import budgets_list, budgets_text
    from nas.visualization.plots.decisions import budgets_figure

    budgets = factors_by_budget(run)
    figures = (
        {f"budgets_{run.name}": lambda: budgets_figure(budgets)} if any(b.factors for b in budgets) else {}
    )
    return Extra(
        "budgets",
        {run.name: budgets_list(budgets)},
        lambda width: budgets_text(budgets, run.name, width),
        figures,
    )


def _complexities(trials: Any, names: Sequence[str]) -> Extra:
    from nas.analysis.complexities import at_equal, at_equal_list, at_equal_text
    from nas.visualization.plots.distribution import edf_figure
    from nas.visualization.plots.effects import complexities_figure

    comparisons = at_equal(trials, list(dict.fromkeys(names)))
    figures: dict[str, Callable[[], Figure]] = {
        f"edf_equal_{comparison.complexity}": partial(edf_figure, comparison.edfs)
        for comparison in comparisons
        if comparison.edfs
    }
    if comparisons[0].differences:
        figures["complexities"] = lambda: complexities_figure(comparisons)
    return Extra(
        "complexities", at_equal_list(comparisons), lambda width: at_equal_text(comparisons, width), figures
    )
