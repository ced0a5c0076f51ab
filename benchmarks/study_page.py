"""Makes the tables and the picture on the pages of the study of module types from its published contrasts.

    python benchmarks/study_page.py table NAME
    python benchmarks/study_page.py summary NAME,NAME
    python benchmarks/study_page.py extras NAME
    python benchmarks/study_page.py draw NAME,NAME

`table` prints the contrasts of one data set with their intervals; `summary` those of several without, marked
where the order at the same shape is the reverse, and the orders that reverse between budgets or data;
`extras` what the pages say beside the contrasts: errors, FLOPs, longer trainings and recipes. All read
results/published/module_types, which `study.py` writes.
"""

from __future__ import annotations

import argparse
from functools import cache
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student_t
from study import BARE, DECAYS, EPOCHS, FOLDER, LONG_EPOCHS, RATES, ROOT, SETTINGS, TWIN, TYPES

from nas.formatting import metric
from nas.visualization.plots.style import GREY, INK, canvas, in_style, looks

PICTURE = ROOT / "docs" / "studies" / "module_types.png"
LABELS = {
    "digits": "digits",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cifar10_small": "CIFAR-10, 16x16",
}
REVERSED = "\N{RIGHTWARDS ARROW OVER LEFTWARDS ARROW}"
PAIRS = (*combinations(TYPES, 2), ("residual", TWIN), ("residual", BARE))


class Place(NamedTuple):
    """A column of the tables: a data set, and the same shape (E1) or equal FLOPs (E2) at a budget."""

    name: str
    estimand: str
    budget: int

    def __str__(self) -> str:
        return f"{LABELS[self.name]}, {self.label}"

    @property
    def label(self) -> str:
        """Title of the column within its data set."""
        return "same shape" if self.estimand == "E1" else f"{metric(self.budget)} FLOPs"


class Effect(NamedTuple):
    """Change of error in points from the first type of a pair to the second, its 95 % limits, and p."""

    mean: float
    low: float
    high: float
    p: float

    @property
    def sign(self) -> int:
        """1 or -1 where the change is shown after Holm, else 0."""
        return int(np.sign(self.mean)) if self.p < 0.05 else 0


def places(name: str) -> list[Place]:
    """Return the columns of a data set."""
    budgets = SETTINGS[name].budgets
    return [Place(name, "E1", budgets[0]), *(Place(name, "E2", budget) for budget in budgets)]


@cache
def effects(place: Place) -> dict[tuple[str, str], Effect]:
    """Return the effects of a column by pair of types, in either order."""
    rows = pd.read_csv(FOLDER / f"{place.name}_{place.budget}_contrasts.csv")
    found = {}
    for row in rows[rows.estimand == place.estimand].itertuples():
        mean, low, high = 100 * row.effect, 100 * row.effect_low, 100 * row.effect_high
        found[row.a, row.b] = Effect(mean, low, high, row.p)
        found[row.b, row.a] = Effect(-mean, -high, -low, row.p)
    return found


def reverses(first: Effect, second: Effect) -> bool:
    """Return whether both effects are shown, and in opposite directions."""
    return first.sign * second.sign < 0


def cell(effect: Effect, text: str) -> str:
    """Return the text of an effect, bold if it is shown, with signs as they are printed."""
    text = text.replace("-0.00", "0.00").replace("-0.0 ", "0.0 ").replace("-", "\N{MINUS SIGN}").strip()
    return f"**{text}**" if effect.sign else text


def short(effect: Effect, at_shape: Effect) -> str:
    """Return the text of an effect without limits, marked if the order at the same shape is the reverse."""
    text = cell(effect, f"{effect.mean:.1f} ")
    return f"{text}{REVERSED}" if reverses(effect, at_shape) else text


def print_table(titles: list[str], columns: list[list[str]]) -> None:
    """Print a Markdown table with one row per pair of types."""
    print("| from | to | " + " | ".join(titles) + " |")
    print("|---" * (2 + len(titles)) + "|")
    for (a, b), *row in zip(PAIRS, *columns, strict=True):
        print(f"| {a.replace('_', ' ')} | {b.replace('_', ' ')} | {' | '.join(row)} |")


def table(name: str) -> None:
    columns = []
    for place in places(name):
        found = [effects(place)[pair] for pair in PAIRS]
        columns.append([cell(e, f"{e.mean:.2f} [{e.low:.2f}, {e.high:.2f}]") for e in found])
    print_table([place.label for place in places(name)], columns)


def summary(names: list[str]) -> None:
    titles: list[str] = []
    columns: list[list[str]] = []
    for name in names:
        shape, *budgets = places(name)
        titles += [f"{LABELS[name]}, same shape", *(metric(place.budget) for place in budgets)]
        for place in (shape, *budgets):
            columns.append([short(effects(place)[pair], effects(shape)[pair]) for pair in PAIRS])
    print_table(titles, columns)
    at_budgets = [place for name in names for place in places(name)[1:]]
    for (first, second), (a, b) in product(combinations(at_budgets, 2), PAIRS):
        if reverses(effects(first)[a, b], effects(second)[a, b]):
            print(f"the order of {a} and {b} reverses between {first} and {second}")


def student(differences: pd.Series) -> str:
    """Return the mean of differences of errors in points, with its 95 % limits by Student's t."""
    found = 100 * differences.dropna()
    half = student_t.ppf(0.975, len(found) - 1) * found.std() / len(found) ** 0.5
    return (
        f"{found.mean():.1f} [{found.mean() - half:.1f}, {found.mean() + half:.1f}] in {len(found)} contexts"
    )


def extras(name: str) -> None:
    """Print errors, FLOPs, the change from residual at two schedules and the best recipe of each type."""
    table = pd.read_csv(FOLDER / f"{name}.csv").query("seed == 0")
    table["usual"] = (table.lr == RATES[1]) & (table.weight_decay == DECAYS[1])
    for budget, rows in table.groupby("budget"):
        print(f"== {name}, {f'{budget:,} FLOPs' if budget else 'same shape'}")
        first = rows[rows.usual & (rows.epochs == EPOCHS)].pivot(index="context", columns="type")
        longer = rows[rows.usual & (rows.epochs == LONG_EPOCHS)].pivot(index="context", columns="type")
        tuned = rows[(rows.epochs == EPOCHS) & rows.context.isin(rows[~rows.usual].context)]
        for kind in (*TYPES, BARE):
            flops = (first.flops[kind] / first.flops.residual).median()
            print(f"{kind}: error {first.error[kind].mean():.2%}, FLOPs {flops:.3f} of residual (median)")
            if len(longer):
                before = (first.error[kind] - first.error.residual)[longer.index]
                after = longer.error[kind] - longer.error.residual
                print(f"  {EPOCHS} epochs {student(before)}, {LONG_EPOCHS} epochs {student(after)}")
                print(f"  error at {LONG_EPOCHS} epochs {longer.error[kind].mean():.2%}")
            if len(tuned):
                recipes = tuned[tuned.type == kind].groupby(["lr", "weight_decay"]).error.mean()
                rate, decay = recipes.idxmin()
                print(f"  best rate {rate:g}, weight decay {decay:.2g}: error {recipes.min():.2%}")


def draw(names: list[str]) -> None:
    """Draw the change of error from residual to each type, in the same context and at each budget."""
    shown = {TWIN: ("residual, other seeds", GREY, "s")}
    shown |= {kind: (kind, *looks([kind], TYPES)[kind]) for kind in TYPES if kind != "residual"}
    figure, axes = canvas(3.6 * len(names), 3.6)
    axes.remove()
    for name, panel in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        columns = places(name)
        for offset, kind in zip(np.linspace(-0.24, 0.24, len(shown)), shown, strict=True):
            label, colour, marker = shown[kind]
            found = np.array([effects(place)["residual", kind][:3] for place in columns])
            bars = np.abs(found[:, 1:] - found[:, :1]).T
            x = np.arange(len(columns)) + offset
            panel.errorbar(
                x, found[:, 0], bars, fmt=marker, color=colour, markersize=4, capsize=2, label=label
            )
        panel.axhline(0, color=INK, linewidth=0.8)
        panel.set_xticks(range(len(columns)), [place.label.replace(" ", "\n") for place in columns])
        panel.set_title(LABELS[name], loc="left", fontsize=9)
    figure.axes[0].set_ylabel("change of error from residual, points")
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3 if len(names) == 1 else 5,
    )
    figure.savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("table", "summary", "extras", "draw"))
    parser.add_argument("names", help=f"of {', '.join(SETTINGS)}, with commas between them")
    options = parser.parse_args()
    data_sets = options.names.split(",")
    if options.what == "table":
        table(*data_sets)
    elif options.what == "extras":
        extras(*data_sets)
    elif options.what == "summary":
        summary(data_sets)
    else:
        in_style(draw)(data_sets)
