"""Plots of runs, written as PNG, SVG or PDF by the suffix of the file."""

from nas.visualization.plots.front import plot_front
from nas.visualization.plots.seeds import plot_front_over_seeds

__all__ = ["plot_front", "plot_front_over_seeds"]
