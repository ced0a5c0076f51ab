"""Pictures of a study, as PNG or SVG by the suffix of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.analyze import trial_table
from nas.errors import NasError
from nas.report import count, front_table, metric

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")
"""Distinct for the colour-blind (Okabe and Ito, 2008); markers repeat the distinction."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MIXED = "mixed"
GREY = "#777777"

AXES = {
    "error": "validation error, %",
    "flops": "FLOPs (multiply-adds of conv and linear layers)",
    "params": "parameters",
    "activations": "activations (outputs of conv and linear layers)",
    "peak_memory": "peak activation memory, bytes at batch 1",
}
FORMATS = (".png", ".svg", ".pdf")


def plot_front(
    source: Any, file: str | Path, objectives: Sequence[str] = ("flops", "error"), title: str = ""
) -> Path:
    """Plot every complete network of a study or its frame, and the front of two objectives (x, y).

    Colour and marker tell the module type of most blocks. Labels give the trial numbers of
    what one would export: the knee, the lowest error and the cheapest. NasError without a
    complete trial or for an unknown suffix. Returns the file.
    """
    path = check_format(file)
    table = trial_table(source)
    complete = table[table["state"] == "complete"].drop_duplicates("digest")
    if complete.empty:
        raise NasError("no trial is complete, so there is nothing to plot", where=str(file))
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.add_subplot()
    _scatter(axes, complete, objectives)
    _front_line(axes, complete, objectives)
    _dress(axes, complete, objectives)
    failed = int((table["state"] == "failed").sum())
    counts = count(len(complete), "network")
    if failed:
        counts += f", {count(failed, 'failed trial')} not shown"
    axes.set_title(f"{title}: {counts}" if title else counts, fontsize=10, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    return path


def plot_curves(
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    panels: Mapping[str, Sequence[str]],
    file: str | Path,
    title: str = "",
) -> Path:
    """Training (dashed) and validation error (solid) against the epoch, as He et al. (2015)
    draw them. `curves`: by network, rows with epoch, train_error and val_error (fractions);
    `panels`: by title, the networks of each. Returns the file."""
    path = check_format(file)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.2 * len(panels), 4), layout="constrained")
    every = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (panel, names) in zip(every, panels.items(), strict=True):
        for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
            for kind, key, style in (("training", "train_error", "--"), ("validation", "val_error", "-")):
                x, y = ([row[column] for row in curves[name]] for column in ("epoch", key))
                look = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1.3}
                axes.plot(x, _scale("error", y), style, label=f"{name}, {kind}", **look)
        axes.set(title=panel, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    every[0].set_ylabel("error, %")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    return path


def check_format(file: str | Path) -> Path:
    """The path, if its suffix names a format; NasError else."""
    path = Path(file)
    if path.suffix.lower() not in FORMATS:
        hint = f"known: {', '.join(FORMATS)}"
        raise NasError(f"no picture format {path.suffix!r}", where=str(file), hint=hint)
    return path


def dominating_type(blocks: Sequence[str]) -> str:
    """The type of most blocks; "mixed" where two have as many."""
    (name, most), *rest = Counter(blocks).most_common(2)
    return MIXED if rest and rest[0][1] == most else name


def _name(objective: str) -> str:
    return "FLOPs" if objective == "flops" else objective.replace("_", " ")


def _scale(name: str, values: Any) -> Any:
    return 100 * np.asarray(values, float) if name == "error" else np.asarray(values, float)


def _scatter(axes: Axes, complete: pd.DataFrame, objectives: Sequence[str]) -> None:
    groups = complete["blocks"].map(dominating_type)
    names = sorted(set(groups) - {MIXED}) + ([MIXED] if (groups == MIXED).any() else [])
    for at, name in enumerate(names):
        rows = complete[groups == name]
        x, y = (_scale(objective, rows[objective]) for objective in objectives)
        colour = GREY if name == MIXED else COLOURS[at % len(COLOURS)]
        marker = "." if name == MIXED else MARKERS[at % len(MARKERS)]
        label = f"{name} ({len(rows)})"
        axes.scatter(x, y, s=30, c=colour, marker=marker, alpha=0.75, linewidths=0, label=label)


def _front_line(axes: Axes, complete: pd.DataFrame, objectives: Sequence[str]) -> None:
    members = front_table(complete, objectives).sort_values(list(objectives))
    x, y = (_scale(objective, members[objective]) for objective in objectives)
    axes.step(
        x, y, where="post", color="black", linewidth=1, zorder=0.9, label=f"Pareto front ({len(members)})"
    )
    axes.scatter(x, y, s=60, facecolors="none", edgecolors="black", linewidths=0.9)
    roles: dict[int, list[str]] = {}
    for role, row in (
        ("knee", int(np.flatnonzero(members["knee"])[0])),
        (f"lowest {_name(objectives[1])}", int(np.argmin(y))),
        (f"lowest {_name(objectives[0])}", int(np.argmin(x))),
    ):
        roles.setdefault(row, []).append(role)
    for row, named in roles.items():  # below and left of a front there are no points
        first = x[row] == x.min()
        axes.annotate(
            f"trial {members['number'].iloc[row]}\n{', '.join(named)}",
            (x[row], y[row]),
            xytext=(0 if first else -14, -12),
            textcoords="offset points",
            ha="center" if first else "right",
            va="top",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7},
        )


def _dress(axes: Axes, complete: pd.DataFrame, objectives: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name, axis, set_scale in zip(
        objectives, (axes.xaxis, axes.yaxis), (axes.set_xscale, axes.set_yscale), strict=True
    ):
        axis.set_label_text(AXES[name])
        if name == "error":
            continue
        set_scale("log")
        wide = complete[name].max() > 10 * complete[name].min()
        axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if wide else (1, 2, 3, 4, 5, 6, 8)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: metric(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.1, 0.15)
    axes.legend(fontsize=8, frameon=False)
