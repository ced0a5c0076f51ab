"""Paired contexts as text: the order of the types, effects, what came with them, and what may be said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.analysis.claims.grades import LEVEL
from nas.analysis.paired.comparison import PairedComparison
from nas.analysis.paired.contrast import PairedContrast
from nas.analysis.text.statements import grades_line, listing, order_line, pair_name, statements, unsupported
from nas.formatting import count, interval, known, table_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

PAIRED_NOTE = (
    "Effects in percentage points of error, b less a; p is the larger of sign flips and bootstrap-t, after "
    "Holm over the contrasts of one estimand. The seed SD is that of the two types; the SD between "
    "contexts is beyond seed noise."
)
STRATA_NOTE = (
    "Effects in points where a property of the context is low and where it is high; * where the effect "
    "changes with it (p < 0.05, after Holm over all properties and pairs)."
)
SKEW_NOTE = (
    "Intervals are approximate, as the differences have a skewness of up to {skewness:.1f}: they may cover "
    "about 90 % where they say 95 %, and p may be too small."
)
UNSEEN_NOTE = (
    "{contexts} contexts may hold none of what happens in fewer than {unseen:.0%} of the space: a type that "
    "seldom collapses looks better than it is."
)
"""The rule of three: what happens with probability 3 / n is missing from n draws in 5 % of the cases."""

MANY_CONTEXTS = 100
"""From this many contexts on the rule of three is not printed."""


def paired_parts(paired: PairedComparison) -> list[RenderableType]:
    """The contrasts of paired contexts: effects, what came with them, where they hold, and with which "
    "recipe."""
    parts = paired_ranking(paired)
    if any(c.contexts for c in paired.contrasts):
        parts += ["", _effect_table(paired.contrasts), "", _change_table(paired), PAIRED_NOTE]
        if skewed := [c for c in paired.contrasts if c.skewed]:
            parts.append(SKEW_NOTE.format(skewness=max(c.most_skewed for c in skewed)))
        fewest = min(c.contexts for c in paired.contrasts if c.contexts)
        if 3 < fewest < MANY_CONTEXTS:
            parts.append(UNSEEN_NOTE.format(contexts=fewest, unseen=3 / fewest))
        if any(c.heterogeneity.interactions for c in paired.contrasts):
            parts += ["", _strata_table(paired.contrasts), STRATA_NOTE]
    if any(c.tuned.best for c in paired.contrasts):
        parts += ["", *_tuned_parts(paired.contrasts)]
    return parts


def paired_ranking(paired: PairedComparison) -> list[RenderableType]:
    seeds = count(paired.seeds, "training seed")
    title = f"Paired contexts: {count(paired.contexts, 'context')}, {paired.networks} networks, {seeds}"
    parts: list[RenderableType] = [f"{title}{_seed_noise(paired)}. {grades_line(paired.grades)}"]
    for name, order in paired.orders.items():
        own = [c for c in paired.contrasts if c.estimand == name]
        where = f"{own[0].where} ({name})"
        if order.groups:
            train = any(c.grade == "D" for c in own)
            left = f" Not in this order, as a contrast is unsupported: {', '.join(order.left_out)}."
            ordered = f"{order_line(order.groups, where)}{' (among contexts where both train)' * train}."
            parts.append(ordered + left * bool(order.left_out))
        elif not order.left_out:
            parts.append(f"The contrasts {where} contradict each other, so there is no order of the types.")
    return parts


def _seed_noise(paired: PairedComparison) -> str:
    """Say how trainings of one network differ, from the type with the least of it to that with the most."""
    points = {name: 100 * sd for name, sd in paired.seed_sds.items() if not math.isnan(sd)}
    if not points:
        return ""
    least, most = min(points, key=points.__getitem__), max(points, key=points.__getitem__)
    return f", SD between seeds {points[least]:.2f} ({least}) to {points[most]:.2f} points ({most})"


def _effect_table(contrasts: Sequence[PairedContrast]) -> Table:
    table = table_of(
        *("a -> b", "estimand", "contexts>", "effect", "p>", "p, equal>", "P(b better)>"),
        *("effect / seed SD>", "skewness>", "grade"),
    )
    for c in contrasts:
        table.add_row(
            *(pair_name(c), c.estimand, str(c.contexts), interval(c.effect)),
            *(known(c.p, ".3f"), known(c.p_equivalent, ".3f"), known(c.superiority, ".2f")),
            *(known(c.in_seed_sd, ".1f"), known(c.skewness, ".1f"), c.grade),
        )
    return table


def _change_table(paired: PairedComparison) -> Table:
    table = table_of(
        *("a -> b", "estimand", "networks>", "FLOPs>", "params>", "failed, a>", "failed, b>"),
        "SD between contexts>",
    )
    for c in paired.contrasts:
        changes = (known(c.flops_change, "+.0%"), known(c.params_change, "+.0%"))
        failures = (f"{rate:.0%}" for rate in c.failures.rates)
        spread = known(100 * c.heterogeneity.sd, ".2f")
        table.add_row(pair_name(c), c.estimand, str(c.networks), *changes, *failures, spread)
    return table


def _strata_table(contrasts: Sequence[PairedContrast]) -> Table:
    """Effects where each property of the contexts is low and where it is high, one row per contrast."""
    names = dict.fromkeys(
        (found.covariate, stratum.name)
        for c in contrasts
        for found in c.heterogeneity.interactions
        for stratum in found.strata
    )
    table = table_of("a -> b", "estimand", *(f"{name}>" for _, name in names))
    for c in contrasts:
        effects = {
            (found.covariate, stratum.name): f"{100 * stratum.effect.value:+.2f}{'*' * (found.p < LEVEL)}"
            for found in c.heterogeneity.interactions
            for stratum in found.strata
        }
        table.add_row(pair_name(c), c.estimand, *(effects.get(name, "") for name in names))
    return table


def _tuned_parts(contrasts: Sequence[PairedContrast]) -> list[RenderableType]:
    """Each type with the recipe that suits it, and the effects with these."""
    table = table_of(
        *(
            "a -> b",
            "estimand",
            "contexts>",
            "recipes>",
            "best lr, decay of a",
            "of b",
            "effect, tuned",
            "at the edge",
        )
    )
    for c in contrasts:
        if c.tuned.best:
            best = (_recipe(c.tuned.best.get(name)) for name in (c.a, c.b))
            counts = (str(c.tuned.contexts), str(len(c.tuned.recipes)))
            edge = ", ".join(c.tuned.at_edge)
            table.add_row(pair_name(c), c.estimand, *counts, *best, interval(c.tuned.effect), edge)
    return ["Each type with the recipe of a grid that suits it best", table]


def _recipe(found: tuple[float, float] | None) -> str:
    return "failed" if found is None else f"{found[0]:g}, {found[1]:g}"


def paired_statements(paired: PairedComparison) -> list[str]:
    """Sentences under each estimand. A contrast of the same trainings under both is said once."""
    lines = []
    for name in paired.orders:
        own = [c for c in paired.contrasts if c.estimand == name]
        new = [c for c in own if not (c.same_trainings and name == "E1")]
        lines.append(f"{name}, {own[0].where}:")
        if len(new) < len(own):
            same = listing([pair_name(c) for c in own if c not in new], [pair_name(c) for c in own])
            lines.append(
                f"  {same}: the trainings are those of E2, so E1 confirms nothing and is not counted."
            )
        lines += statements(new) if new else []
    return lines or [f"  X  no ranking is supported: {unsupported(())}"]
