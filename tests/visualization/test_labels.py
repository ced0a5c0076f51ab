"""Labels and legends stand beside data and axes, and not on each other."""

from itertools import pairwise

import numpy as np
import pytest
from testing.histories import study

from nas.analysis.table import trial_table
from nas.graph.ops import Conv
from nas.study.expected import Expected
from nas.visualization.module_layout import describe
from nas.visualization.plots.front import front_figure
from nas.visualization.plots.style import canvas, in_style, log_axis

THREE = ("flops", "error", "params")


def tick_boxes(axes, which):
    """The boxes of the tick labels that are shown, in pixels, in order."""
    axis = getattr(axes, f"{which}axis")
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label.get_window_extent() for at, label in ticks if low <= at <= high and label.get_text()]


@pytest.mark.parametrize("factor", [1.5, 4, 30, 1000, 1e6])
@pytest.mark.parametrize("which", ["x", "y"])
def test_labels_of_a_logarithmic_axis_stand_apart(which, factor):
    @in_style
    def draw():
        figure, axes = canvas()
        values = 123_456 * np.geomspace(1, factor, 5)
        axes.plot(values, values)
        log_axis(axes, which, values)
        figure.draw_without_rendering()
        return tick_boxes(axes, which)

    boxes = draw()
    assert len(boxes) >= 2
    ends = [(box.x0, box.x1) if which == "x" else (box.y0, box.y1) for box in boxes]
    assert all(end + 3 < start for (_, end), (start, _) in pairwise(sorted(ends)))


def with_expected_errors(history):
    networks = history.networks
    mean = np.array([trial.error for trial in networks])
    points = np.array([history.means(trial, THREE) for trial in networks])
    sd = np.full(len(networks), 0.05)
    return Expected(
        tuple(trial.digest for trial in networks),
        mean,
        sd,
        np.full(len(networks), 0.5),
        points,
        len(networks),
    )


@pytest.mark.parametrize("objectives", [("flops", "error"), THREE])
def test_the_legend_explains_each_line_and_covers_no_panel(objectives):
    history = study()
    figure = front_figure(trial_table(history), objectives, expected=with_expected_errors(history))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    panels = [axes for axes in figure.axes if axes.axison]
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in panels)
    assert any("front by measured error" in text.get_text() for text in legend.get_texts())
    labels = {label for axes in panels for label in (axes.get_xlabel(), axes.get_ylabel())}
    assert any(label.startswith("expected") for label in labels)
    assert not any(label.startswith(("error", "validation error")) for label in labels)


def test_a_convolution_names_window_stride_dilation_and_groups():
    assert describe(Conv(8, 3)) == "conv 3x3"
    assert describe(Conv(8, 3, 2, 4, dilation=2)) == "conv 3x3 /2 d2 g4"
