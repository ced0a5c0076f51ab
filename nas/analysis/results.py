"""Results of any trainer, one row per training: types compared in the contexts that they share."""

from __future__ import annotations

from collections import Counter
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.analyze import Analysis
from nas.analysis.paired.blocks import Blocks, blocks_of
from nas.analysis.paired.comparison import WHERE, compare_blocks
from nas.analysis.paired.costs import SAME_FLOPS
from nas.analysis.paired.evidence import SMALLEST_EFFECT, Evidence
from nas.analysis.paired.recipes import network_errors
from nas.analysis.results_table import SCHEDULES, check_table
from nas.analysis.unpaired import ESTIMAND as UNPAIRED_ESTIMAND
from nas.analysis.unpaired import compare_groups
from nas.errors import NasError

if TYPE_CHECKING:
    import pandas as pd

ESTIMAND = (
    "Mean change of validation error when module type a is replaced by type b in the same context, over the "
    "contexts of the table, taken as drawn at random. {e1} E2: at equal FLOPs (within 3 %{budget}). The two "
    "answer different questions and may differ in sign. Intervals are 95 % and hold every mean that neither "
    "sign flips nor a bootstrap-t over contexts reject, wider where differences have long tails; p is the "
    "larger of the two, after Holm over the contrasts of one estimand. The validation images are taken as "
    "fixed: how far other images would move an effect is in no interval, and 10,000 or more keep it small."
)
SHAPE = "E1: as the context pairs them, whatever FLOPs they have."
IN_CONTEXT = {**WHERE, "E1": "in the same context"}
CHOSEN = (
    "The table does not say how its contexts were chosen. Where they were chosen by their results, no claim "
    "above grade D holds."
)
ONE_NETWORK = (
    "All networks of a type have the same {costs}. If the contexts differ by the seed alone, they are one "
    "context, and no claim holds beyond it."
)
RECIPE = (
    "Of {count} recipes, the effects are those with lr {lr:g} and weight decay {weight_decay:g}: the recipe "
    "of most rows, of several the one in the middle."
)
STOPPED = "Trainings that were stopped early are no results: their networks count as absent."


def analyze_results(
    table: pd.DataFrame, *, smallest_effect: float = SMALLEST_EFFECT, seed: int = 0
) -> Analysis:
    """Compare the module types of a table of results; see `nas.analysis.results_table` for its columns.

    Rows of one `context` are paired. Rows with more `epochs` than most say whether an effect holds at a
    longer schedule, rows with another `lr` or `weight_decay` whether it holds where each type has its recipe.

    Args:
        table: One row per training.
        smallest_effect: Smallest effect of interest, a fraction.
        seed: Seed of the resamples.

    Raises:
        NasError: A column or a row cannot be understood; the message names it.
    """
    where = table.attrs.get("file", "table")
    rows, notes = check_table(table)
    if "context" not in rows:
        return _unpaired(rows, notes, seed)
    rows = _named(_with_arms(rows, where), where)
    main, longer, recipes, said = _schedules(rows)
    said += _left_out(rows, main, where) + _one_network(main)
    evidence = Evidence(
        epochs=_epochs(main),
        longer=network_errors(longer),
        longer_epochs=_epochs(longer),
        recipes={key: network_errors(part) for key, part in recipes.items()},
        usual=next(iter(recipes), (nan, nan)),
        smallest_effect=smallest_effect,
    )
    paired = compare_blocks(
        _blocks(main),
        evidence,
        np.random.default_rng(seed),
        estimand=ESTIMAND.format(
            e1=SHAPE, budget=" of the budget of the context" if "budget" in rows else ""
        ),
        where=IN_CONTEXT,
    )
    complete = main["state"] == "complete"
    networks = main["digest"][complete].nunique()
    unknown = rows["context"][rows["flops"].isna() & (rows["state"] == "complete")] if "flops" in rows else ()
    if len(unknown):
        said += (f"Contexts with networks of unknown FLOPs are left out of E2: {len(set(unknown))}.",)
    stopped = (STOPPED,) if (main["state"] == "stopped").any() else ()
    return Analysis(
        trials=len(rows),
        failed=int((rows["state"] == "failed").sum()),
        networks=networks,
        repeated=int(complete.sum()) - networks,
        paired=paired,
        comparisons=(),
        factors=None,
        top=0.0,
        motifs=(),
        notes=(*notes, *said, *stopped, CHOSEN),
        estimand=paired.estimand,
        of_table=True,
    )


def _unpaired(rows: pd.DataFrame, notes: tuple[str, ...], seed: int) -> Analysis:
    """The types of rows that share no contexts."""
    main, longer, recipes, said = _schedules(rows)
    said += _left_out(rows, main, rows.attrs.get("file", "table"))
    if len(longer):
        said += (
            f"Rows of {_epochs(longer)} epochs are evidence in contexts alone: left out: {len(longer)}.",
        )
    if len(recipes) > 1:
        said += (f"Rows of other recipes were left out: {sum(map(len, recipes.values())) - len(main)}.",)
    digest = main["digest"].replace("", np.nan) if "digest" in main else main["error"] * np.nan
    main = main.assign(digest=digest.astype(object).fillna(main.index.to_series().astype(str)))
    complete = main[main["state"] == "complete"]
    means = complete.groupby(["type", "digest"])["error"].mean()
    ended = main[main["state"] != "stopped"]
    runs = {
        str(kind): (len(part), int((part["state"] == "failed").sum())) for kind, part in ended.groupby("type")
    }
    errors = {str(kind): part.to_numpy(float) for kind, part in means.groupby(level=0)}
    contrasts = compare_groups(errors, runs, np.random.default_rng(seed))
    return Analysis(
        trials=len(main),
        failed=int((main["state"] == "failed").sum()),
        networks=len(means),
        repeated=len(complete) - len(means),
        paired=None,
        comparisons=(),
        factors=None,
        top=0.0,
        motifs=(),
        notes=(*notes, *said),
        estimand=UNPAIRED_ESTIMAND,
        unpaired=contrasts,
        of_table=True,
    )


def _with_arms(rows: pd.DataFrame, where: str) -> pd.DataFrame:
    """Mark the estimands that each row takes part in. A network at the budget of its context is one of equal
    FLOPs; it is one of the same shape too where its type has no other network in the context."""
    if "budget" not in rows:
        return rows.assign(same_shape=True, equal_flops=_of_known_flops(rows), at_budget=False)
    if "flops" not in rows:
        raise NasError(
            "no column 'flops'", where=where, hint="a budget says nothing of networks of unknown FLOPs"
        )
    budgets = rows.groupby("context")["budget"].nunique()
    if (budgets > 1).any():
        hint = "give one budget per context, and analyze several budgets each apart"
        raise NasError(f"context {budgets.idxmax()!r} has several budgets", where=where, hint=hint)
    at_budget = (rows["flops"] / rows["budget"] - 1).abs() <= SAME_FLOPS
    others = (~at_budget).groupby([rows["context"], rows["type"]]).transform("any")
    return rows.assign(same_shape=~at_budget | ~others, equal_flops=at_budget, at_budget=at_budget & others)


def _of_known_flops(rows: pd.DataFrame) -> pd.Series[bool]:
    """Mark the rows of contexts in which the FLOPs of all complete trainings are known."""
    unknown = rows["state"].eq("complete") & (rows["flops"].isna() if "flops" in rows else True)
    return ~unknown.groupby(rows["context"]).transform("any")


def _named(rows: pd.DataFrame, where: str) -> pd.DataFrame:
    """Add a digest for each network. A context with two networks of a type in one arm is refused, unless its
    `run` tells them apart: then it is another context."""
    place = rows["context"] + "/" + rows["type"] + rows["at_budget"].map({True: "/budget", False: ""})
    digest = rows.get("digest", "")
    rows = rows.assign(digest=np.where(digest == "", place, digest), place=place)
    if "run" in rows and (rows.groupby("place")["digest"].nunique() > 1).any():
        rows = rows.assign(context=rows["run"] + "/" + rows["context"], place=rows["run"] + "/" + place)
    groups = rows.groupby("place")
    apart = groups["digest"].nunique() > 1
    if "flops" in rows:
        apart |= groups["flops"].max() > (1 + SAME_FLOPS) * groups["flops"].min()
    if apart.any():
        first = rows[rows["place"] == apart.idxmax()].iloc[0]
        hint = (
            "a context holds one network per type; a column 'budget' (FLOPs) tells those that were scaled to "
            "equal FLOPs from those at the same shape"
        )
        message = f"context {first['context']!r} has several networks of type {first['type']!r}"
        raise NasError(message, where=where, hint=hint)
    return rows.drop(columns="place")


def _schedules(
    rows: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[tuple[float, float], pd.DataFrame], tuple[str, ...]]:
    """The rows of the schedule and recipe that most have; those of the longest schedule beyond it; the rows
    of each recipe, the usual one first; and notes on rows of other schedules and on the recipe."""
    epochs = _known(rows, "epochs")
    usual, longest = _most(epochs), epochs.max()
    of_most = rows[epochs == usual]
    keys = list(zip(*(_known(of_most, name) for name in ("lr", "weight_decay")), strict=True))
    key, first = np.array(keys), _usual_recipe(keys)
    order = [first, *(recipe for recipe in dict.fromkeys(keys) if recipe != first)]
    recipes = {recipe: of_most[(key == recipe).all(axis=1)] for recipe in order}
    longer = rows[epochs == longest] if longest > usual else rows[:0]
    longer = longer if len(recipes) == 1 else _of_recipe(longer, first)
    others = len(rows) - len(of_most) - len(longer)
    said: tuple[str, ...] = ()
    if others:
        said += (f"Rows of other schedules than {usual:g} epochs were left out: {others}.",)
    if len(recipes) > 1:
        said += (RECIPE.format(count=len(recipes), lr=first[0], weight_decay=first[1]),)
    return recipes[first], longer, recipes, said


def _usual_recipe(keys: list[tuple[float, float]]) -> tuple[float, float]:
    """The recipe of most rows, whatever their order: of several the one nearest to the middle of the grid."""
    counts = Counter(keys)
    sides = [sorted({key[at] for key in counts}) for at in (0, 1)]

    def from_middle(key: tuple[float, float]) -> float:
        return sum(
            abs(side.index(value) - (len(side) - 1) / 2) for side, value in zip(sides, key, strict=True)
        )

    return min(counts, key=lambda key: (-counts[key], from_middle(key), key))


def _left_out(rows: pd.DataFrame, main: pd.DataFrame, where: str) -> tuple[str, ...]:
    """Name the types that have no training of the schedule and recipe that most rows have."""
    lost = [name for name in sorted(rows["type"].unique()) if name not in set(main["type"])]
    if not lost:
        return ()
    of = [f"{name} {main[name].iloc[0]:g}" for name in SCHEDULES if name in main and main[name].notna().any()]
    message = f"no training of {', '.join(lost)} with {', '.join(of)}, as most rows have it"
    if main["type"].nunique() < 2:
        hint = "types differ by more than their kind unless all have the same epochs, lr and weight_decay"
        raise NasError(message, where=where, hint=hint)
    return (f"There is {message}: left out.",)


def _one_network(main: pd.DataFrame) -> tuple[str, ...]:
    """A warning where contexts may be the seeds of one network: all have the same FLOPs and parameters."""
    costs = [
        name for name in ("flops", "params", "depth", "width") if name in main and main[name].notna().all()
    ]
    if not {"flops", "params"} & set(costs) or main["context"].nunique() < 2:
        return ()
    if (main.groupby("type")[costs].nunique() > 1).to_numpy().any():
        return ()
    return (ONE_NETWORK.format(costs=" and ".join(costs)),)


def _of_recipe(rows: pd.DataFrame, recipe: tuple[float, float]) -> pd.DataFrame:
    for name, value in zip(("lr", "weight_decay"), recipe, strict=True):
        rows = rows[_known(rows, name) == value]
    return rows


def _known(rows: pd.DataFrame, name: str) -> pd.Series[float]:
    """A column of numbers, 0 where it is known of no row. Trainings that did not end, of which it is not
    known, count with the others."""
    if name not in rows or rows[name].isna().all():
        return rows["error"].fillna(0) * 0
    return rows[name].fillna(_most(rows[name]))


def _most(values: pd.Series[float]) -> float:
    """The most frequent value; of several the lowest."""
    return float(values.mode().iloc[0])


def _epochs(rows: pd.DataFrame) -> int:
    known = rows["epochs"].dropna() if "epochs" in rows else rows["error"][:0]
    return int(known.max()) if len(known) else 0


def _blocks(rows: pd.DataFrame) -> Blocks:
    """The rows as paired contexts. What a context was to hold are the types of its run, where runs hold
    several, else all types."""
    run = rows.get("run", "0")
    several = "run" in rows and (rows.groupby("run")["type"].nunique() > 1).any()
    known = {name: rows.get(name, np.nan) for name in ("flops", "params", "depth", "width")}
    return blocks_of(
        rows.assign(
            **known,
            run=run if several else "0",
            norm=rows["norm"].astype(str) if "norm" in rows else "",
            error=rows["error"].where(rows["state"] == "complete"),
            failed=rows["state"] == "failed",
        )
    )
