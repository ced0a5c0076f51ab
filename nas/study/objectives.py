"""The objectives that a search can minimise, one entry each.

An entry holds everything about an objective: the command line, tables, plots, the report and the docs read it
from here. To add an objective, add its entry. A function of the user's own, named as
`python:module:function`, needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.errors import NasError, did_you_mean
from nas.formatting import metric
from nas.plugins import PYTHON, load_objectives

Read = Callable[[Any], float | None]
"""Gives the value of a `Trial`, None where it has none; one that is known before training also that of a
candidate, which has a `cost` and `decisions`."""


@dataclass(frozen=True)
class Objective:
    """One figure of a trial; lower is better.

    name: as the command line and JSON name it.
    label: its name in running text and above columns.
    meaning: what it is, in a few words, for axes of plots.
    read: gives the recorded value of a trial.
    unit: the unit that people see; empty where a count needs none.
    scale: factor from the recorded value to that unit.
    form: format of a value in that unit; empty for counts, which are shown as `40.6M`.
    logarithmic: whether an axis of a plot is, where all values are positive.
    before_training: whether the value follows from the network alone.
    measure: gives the value of a trained network, from it and its data set; None where no such
        function is needed.
    by_task: (label, meaning) for tasks that call it otherwise.
    """

    name: str
    label: str
    meaning: str
    read: Read
    unit: str = ""
    scale: float = 1.0
    form: str = ""
    logarithmic: bool = False
    before_training: bool = False
    measure: Callable[..., float] | None = None
    by_task: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Label with the unit, for a column of `cell`."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def title(self, task: str = "") -> str:
        """Return the label for data of this `task`."""
        return self.by_task.get(task, (self.label, ""))[0]

    def axis(self, task: str = "") -> str:
        """Return the meaning with the unit, for data of this `task`."""
        meaning = self.by_task.get(task, ("", self.meaning))[1]
        return f"{meaning}, {self.unit}" if self.unit else meaning

    def cell(self, value: float) -> str:
        """Format a recorded value without its unit, such as `40.6M` or `1.20`."""
        shown = self.scale * value
        if self.form:
            return format(shown, self.form)
        return metric(shown) if shown >= 1000 or shown == round(shown) else f"{shown:.4g}"

    def text(self, value: float) -> str:
        """Format a recorded value with its unit, such as `1.20 %`."""
        return f"{self.cell(value)} {self.unit}" if self.unit else self.cell(value)


def _cost(name: str) -> Read:
    return lambda trial: float(getattr(trial.cost, name))


def _last_row(name: str) -> Read:
    """Return a reader of a figure of the last epoch; a curve may be a stranger's."""

    def read(trial: Any) -> float | None:
        value = trial.curve[-1].get(name) if trial.curve and trial.error is not None else None
        return value if isinstance(value, float) and 0 <= value <= 1 else None

    return read


def _measured(name: str) -> Read:
    return lambda trial: trial.measured.get(name)


_ENTRIES = (
    Objective(
        "error",
        "error",
        "validation error",
        lambda trial: trial.error,
        unit="%",
        scale=100,
        form=".2f",
        by_task={"segmentation": ("1 - mIoU", "1 - mIoU of validation images")},
    ),
    Objective(
        "balanced_error",
        "balanced error",
        "mean of the validation errors of the classes",
        _last_row("val_balanced_error"),
        unit="%",
        scale=100,
        form=".2f",
        by_task={"segmentation": ("mean class error", "mean of the pixel errors of the classes")},
    ),
    Objective(
        "flops",
        "FLOPs",
        "FLOPs (multiply-adds of conv and linear layers)",
        _cost("flops"),
        logarithmic=True,
        before_training=True,
    ),
    Objective("params", "parameters", "parameters", _cost("params"), logarithmic=True, before_training=True),
    Objective(
        "activations",
        "activations",
        "activations (outputs of conv and linear layers)",
        _cost("activations"),
        logarithmic=True,
        before_training=True,
    ),
    Objective(
        "peak_memory",
        "peak memory",
        "peak activation memory at batch 1",
        _cost("peak_memory"),
        unit="bytes",
        logarithmic=True,
        before_training=True,
    ),
    Objective(
        "latency",
        "latency",
        "inference latency at batch 1",
        lambda trial: trial.latency.seconds if trial.latency else None,
        unit="ms",
        scale=1000,
        form=".3g",
        logarithmic=True,
    ),
)
OBJECTIVES = {entry.name: entry for entry in _ENTRIES}
"""Every objective that needs no code of the user, by name. Values are recorded as fractions, counts,
bytes and seconds."""


def objective(name: str) -> Objective:
    """Return the entry of an objective; one is made for a function of the user's own.

    NasError where the name is unknown.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    if name.startswith(PYTHON):
        label = name.removeprefix(PYTHON)
        return Objective(name, label, label, _measured(name))
    hint = f"{did_you_mean(name, OBJECTIVES)}; {PYTHON}module:function is one of your own"
    raise NasError(f"unknown objective {name!r}", hint=hint)


def complexities() -> tuple[str, ...]:
    """Return the names of the objectives that are costs of a network, above zero and compared by ratios."""
    return tuple(entry.name for entry in OBJECTIVES.values() if entry.logarithmic)


def measures(names: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Return the functions that a worker calls with a trained network and the data set, by objective.

    NasError where one cannot be imported.
    """
    entries = (OBJECTIVES[name] for name in names if name in OBJECTIVES)
    return load_objectives(names) | {entry.name: entry.measure for entry in entries if entry.measure}


def check_objectives(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple; NasError if there is none, or one is repeated or unknown."""
    for name in names:
        objective(name)
    if not names or len(set(names)) < len(names):
        raise NasError(
            "objectives must be one or more different names", hint=f"known: {', '.join(OBJECTIVES)}"
        )
    return tuple(names)


def error_first(names: Sequence[str]) -> list[str]:
    """Return the names in a fixed order, the error first."""
    return sorted(names, key=lambda name: (name != "error", name))


def all_axes(names: Sequence[str]) -> tuple[str, ...]:
    """Return the axes of a plot of a front: x and y, or all objectives, the error last, if there are more."""
    return plot_axes(names) if len(names) < 3 else tuple(reversed(error_first(names)))


def plot_axes(names: Sequence[str]) -> tuple[str, str]:
    """Return the objectives x and y that a plot of a front shows.

    The error is y where it is an objective, and FLOPs stand in where there is only one. Of more than two
    objectives, error and FLOPs are preferred.
    """
    rest = [name for name in names if name != "error"]
    y = "error" if "error" in names or rest in ([], ["flops"]) else rest.pop()
    x = "flops" if "flops" in rest or not rest else rest[0]
    return x, y
