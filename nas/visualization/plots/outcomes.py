"""Coverage of FLOPs by module types, and trials that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.coverage import Coverage
from nas.formatting import metric
from nas.study.trial import REASONS
from nas.visualization.plots.effects import heatmap
from nas.visualization.plots.style import COLOURS, WIDTH, canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HATCHES = ("", "///", "...", "xxx", "\\\\\\")


@in_style
def coverage_figure(coverage: Coverage) -> Figure:
    """Draw the number of networks by type and FLOPs bin; an empty cell supports no claim at equal FLOPs."""
    figure, axes = canvas(WIDTH, 1.2 + 0.36 * len(coverage.types))
    table = np.where(coverage.counts > 0, coverage.counts, np.nan).astype(float)
    heatmap(axes, table, [[str(count) for count in row] for row in coverage.counts])
    axes.set_yticks(np.arange(len(coverage.types)), coverage.types)
    edges = [metric(edge) for edge in coverage.edges]
    axes.set_xticks(np.arange(len(edges)) - 0.5, edges)
    axes.set_xlabel("FLOPs")
    return figure


@in_style
def failures_figure(failures: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw the share of trials with each type that failed, by reason."""
    names = list(failures)
    figure, axes = canvas(WIDTH, 1.3 + 0.34 * len(names))
    left = np.zeros(len(names))
    for i, reason in enumerate(REASONS):
        share = np.array([100 * failures[name].get(reason, 0) / failures[name][""] for name in names])
        if share.any():
            colour, hatch = COLOURS[i % len(COLOURS)], HATCHES[i % len(HATCHES)]
            axes.barh(
                names, share, left=left, label=reason, color=colour, hatch=hatch, edgecolor="white", lw=0
            )
            left += share
    for i, name in enumerate(names):
        failed = sum(failures[name].values()) - failures[name][""]
        axes.annotate(f" {failed} of {failures[name]['']}", (left[i], i), va="center", fontsize=8)
    axes.set(xlabel="failed trials, %", xlim=(0, max(1.0, 1.25 * left.max())))
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure
