"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.visualization.plots.style import COLOURS, MARKERS, check_format, in_style, save, scale


@in_style
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
                axes.plot(x, scale("error", y), style, label=f"{name}, {kind}", **look)
        axes.set(title=panel, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    every[0].set_ylabel("error, %")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return save(figure, path)
