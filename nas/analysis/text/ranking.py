"""The analysis of module types, as text for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.analysis.analyze import Analysis
from nas.analysis.claims.grades import Gate
from nas.analysis.comparison import Comparison, Contrast
from nas.analysis.factors.motifs import MotifEffect
from nas.analysis.paired.comparison import PairedComparison, PairedContrast
from nas.analysis.text.factors import factor_parts, factors_dict
from nas.formatting import FLOPS_NOTE, SCHEMA, WIDTH, count, interval, known, table_of, to_text
from nas.stats.estimate import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

AnyContrast = Contrast | PairedContrast
MOTIF_NOTE = (
    "Within networks of equal FLOPs (of one context where they are paired): below zero, more of the motif "
    "goes with lower error; p by permutation, after Holm. Motifs come together: none is shown to be a cause."
)
PAIRED_NOTE = (
    "Effects in percentage points of error, b less a; p is the larger of sign flips and bootstrap-t, after Holm "
    "over the contrasts of one estimand. The SD between contexts is beyond seed noise."
)
STRATA_NOTE = (
    "Effects in points where a property of the context is low and where it is high; p of an effect that does not "
    "change with it, after Holm over the properties."
)


def analysis_dict(analysis: Analysis) -> dict[str, Any]:
    """The analysis as JSON; what is not estimable is None."""
    return {
        "schema": SCHEMA,
        "estimand": analysis.estimand,
        "grade": analysis.grade,
        "contrasts": claims_list(analysis),
        "trials": analysis.trials,
        "failed": analysis.failed,
        "repeated": analysis.repeated,
        "networks": analysis.networks,
        "paired": analysis.paired and _paired_dict(analysis.paired),
        "comparisons": [_comparison_dict(comparison) for comparison in analysis.comparisons],
        "motifs": [_finite(asdict(motif)) for motif in analysis.motifs],
        "factors": analysis.factors and _finite(factors_dict(analysis.factors, analysis.top)),
        "notes": list(analysis.notes),
    }


def analysis_text(analysis: Analysis, width: int = WIDTH) -> str:
    """The estimand, the types, the contrasts with what may be said, the factors and the motifs."""
    repeated = f", {analysis.repeated} of a network seen before" if analysis.repeated else ""
    networks = count(analysis.networks, "distinct network")
    parts: list[RenderableType] = [
        f"Estimand. {analysis.estimand}",
        f"{count(analysis.trials, 'trial')}: {networks}, {analysis.failed} failed{repeated}.",
        FLOPS_NOTE,
    ]
    if analysis.paired:
        parts += ["", *paired_parts(analysis.paired), *_paired_statements(analysis.paired)]
    for comparison in analysis.comparisons:
        parts += ["", *comparison_parts(comparison), *_statements(comparison.contrasts)]
    if analysis.factors:
        parts += ["", *factor_parts(analysis.factors, analysis.top)]
    if analysis.motifs:
        parts += ["", *motif_parts(analysis.motifs)]
    return to_text(*parts, *("\n" + note for note in analysis.notes), width=width)


def ranking_text(analysis: Analysis, width: int = WIDTH) -> str:
    """The short form of `analysis_text`: the types of each sample and what may be said."""
    parts: list[RenderableType] = []
    if analysis.paired:
        parts += [*_paired_ranking(analysis.paired), *_paired_statements(analysis.paired), ""]
    for comparison in analysis.comparisons:
        parts += [*_ranking_parts(comparison), *_statements(comparison.contrasts), ""]
    return to_text(*parts, *analysis.notes, width=width)


def claims_list(analysis: Analysis) -> list[dict[str, Any]]:
    """Every contrast with its estimand, effect, interval, p, grade, claim and what is missing for more."""
    found: list[dict[str, Any]] = []
    if analysis.paired:
        found += [_claim(c, c.estimand, c.effect, c.p) for c in analysis.paired.contrasts]
    for comparison in analysis.comparisons:
        for c in comparison.contrasts:
            found.append(_claim(c, "equal FLOPs", c.equal_flops, c.p_equal_flops, sample=comparison.sample))
    return found


def _claim(
    c: AnyContrast, estimand: str, effect: Estimate, p: float, sample: str = "paired contexts"
) -> dict[str, Any]:
    return {
        "a": c.a,
        "b": c.b,
        "estimand": estimand,
        "effect": _finite(effect.value),
        "interval": _finite([effect.low, effect.high]),
        "p": _finite(p),
        "grade": c.grade,
        "claim": c.claim,
        "missing": [str(gate) for gate in c.refused],
        "sample": sample,
        "same_trainings": getattr(c, "same_trainings", False),
    }


def contrasts_frame(analysis: Analysis) -> pd.DataFrame:
    """One row per contrast and estimand: its sample, its figures (estimates as value, `_low` and `_high`), its
    grade, what may be said, and what refuses more."""
    import pandas as pd

    samples: list[tuple[str, Sequence[AnyContrast]]] = []
    if analysis.paired:
        samples.append(("paired contexts", analysis.paired.contrasts))
    samples += [(comparison.sample, comparison.contrasts) for comparison in analysis.comparisons]
    return pd.DataFrame([{"sample": name} | _row(c) for name, contrasts in samples for c in contrasts])


def _row(contrast: AnyContrast) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in _contrast_dict(contrast).items():
        if key == "failures":
            row["failures_a"], row["failures_b"] = value["failed"]
            row["trainings_a"], row["trainings_b"] = value["trainings"]
            row["p_failures"] = value["p"]
        elif isinstance(value, dict) and value.keys() >= {"value", "low", "high"}:
            row |= {key: value["value"], f"{key}_low": value["low"], f"{key}_high": value["high"]}
        elif isinstance(value, list) and key == "refused":
            row[key] = "; ".join(value)
        elif not isinstance(value, dict | list):
            row[key] = value
    return row


def paired_parts(paired: PairedComparison) -> list[RenderableType]:
    """The contrasts of paired contexts: effects, what came with them, where they hold, and with which recipe."""
    parts = _paired_ranking(paired)
    if any(c.contexts for c in paired.contrasts):
        parts += ["", _effect_table(paired.contrasts), "", _change_table(paired), PAIRED_NOTE]
        if any(c.heterogeneity.interactions for c in paired.contrasts):
            parts += ["", _strata_table(paired.contrasts), STRATA_NOTE]
    if any(c.tuned.best for c in paired.contrasts):
        parts += ["", *_tuned_parts(paired.contrasts)]
    return parts


def _paired_ranking(paired: PairedComparison) -> list[RenderableType]:
    seeds = count(paired.seeds, "training seed")
    title = f"Paired contexts: {count(paired.contexts, 'context')}, {paired.networks} networks, {seeds}"
    noise = "" if math.isnan(paired.seed_sd) else f", SD between seeds {100 * paired.seed_sd:.2f} points"
    parts: list[RenderableType] = [f"{title}{noise}. {_grades(paired.grades)}"]
    for name, order in paired.orders.items():
        own = [c for c in paired.contrasts if c.estimand == name]
        where = f"{own[0].where} ({name})"
        if order.groups:
            train = any(c.grade == "D" for c in own)
            left = f" Not in this order, as a contrast is unsupported: {', '.join(order.left_out)}."
            ordered = f"{_order(order.groups, where)}{' (among contexts where both train)' * train}."
            parts.append(ordered + left * bool(order.left_out))
        elif not order.left_out:
            parts.append(f"The contrasts {where} contradict each other, so there is no order of the types.")
    return parts


def _grades(counts: Mapping[str, int]) -> str:
    """`Grades: 3 B, 7 C.`"""
    if not counts:
        return "No contrast."
    return f"Grades: {', '.join(f'{number} {letter}' for letter, number in counts.items())}."


def _effect_table(contrasts: Sequence[PairedContrast]) -> Table:
    table = table_of(
        *("a -> b", "estimand", "contexts>", "effect", "p>", "p, equal>", "P(b better)>"),
        *("effect / seed SD>", "skewness>", "grade"),
    )
    for c in contrasts:
        table.add_row(
            *(_pair(c), c.estimand, str(c.contexts), interval(c.effect)),
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
        table.add_row(_pair(c), c.estimand, str(c.networks), *changes, *failures, spread)
    return table


def _strata_table(contrasts: Sequence[PairedContrast]) -> Table:
    """Effects where a property of contexts is low and where it is high."""
    table = table_of("a -> b", "estimand", "property", "low>", "high>", "p>")
    for c in contrasts:
        for found in c.heterogeneity.interactions:
            effects = {stratum.name.split()[0]: interval(stratum.effect) for stratum in found.strata}
            sides = (effects.get(side, "") for side in ("low", "high"))
            table.add_row(_pair(c), c.estimand, found.covariate, *sides, known(found.p, ".3f"))
    return table


def _tuned_parts(contrasts: Sequence[PairedContrast]) -> list[RenderableType]:
    """Each type with the recipe that suits it, and the effects with these."""
    table = table_of(
        *("a -> b", "estimand", "contexts>", "recipes>", "best lr, decay of a", "of b", "effect, tuned", "at the edge")
    )
    for c in contrasts:
        if c.tuned.best:
            best = (_recipe(c.tuned.best.get(name)) for name in (c.a, c.b))
            counts = (str(c.tuned.contexts), str(len(c.tuned.recipes)))
            edge = ", ".join(c.tuned.at_edge)
            table.add_row(_pair(c), c.estimand, *counts, *best, interval(c.tuned.effect), edge)
    return ["Each type with the recipe of a grid that suits it best", table]


def _recipe(found: tuple[float, float] | None) -> str:
    return "failed" if found is None else f"{found[0]:g}, {found[1]:g}"


def _order(groups: Sequence[Sequence[str]], where: str = "at equal FLOPs") -> str:
    """The groups as a line; `~` joins types that are not separated, which does not make them equal."""
    ties = [" ~ ".join(group) for group in groups]
    if sum(map(len, groups)) == len(set().union(*groups)):
        return f"Order of error {where}, '~' where not separated: {'  <  '.join(ties)}"
    return (
        f"Types not separated {where}, the lowest errors first: {';  '.join(ties)}. Two types that "
        "share no group are separated"
    )


def comparison_parts(comparison: Comparison) -> list[RenderableType]:
    """One sample: types, groups and contrasts."""
    parts = _ranking_parts(comparison)
    fitted = [c for c in comparison.contrasts if not math.isnan(c.raw.value)]
    if fitted:
        note = "Changes in percentage points, each with its own 95 % interval; p by permutation, after Holm."
        parts += [_contrast_table(fitted), note]
    return parts


def _ranking_parts(comparison: Comparison) -> list[RenderableType]:
    """The types of one sample with their errors, and their order."""
    title = f"{comparison.sample[0].upper()}{comparison.sample[1:]}: {comparison.networks} networks"
    types = table_of("module type", "networks>", "runs>", "failed>", "error %, raw", "error %, equal FLOPs")
    for row in sorted(
        comparison.types, key=lambda row: (math.isnan(row.equal_flops.value), row.equal_flops.value)
    ):
        figures = (interval(row.raw), interval(row.equal_flops))
        types.add_row(row.name, str(row.networks), str(row.runs), str(row.failed), *figures)
    parts: list[RenderableType] = [f"{title}. {_grades(comparison.grades)}", types]
    if comparison.groups:
        parts.append(_order(comparison.groups))
    return parts


def _contrast_table(contrasts: Sequence[Contrast]) -> Table:
    columns = ("change, raw", "p>", "change, equal FLOPs", "p>", "P(b better)>", "overlap>", "grade")
    table = table_of("a -> b", *columns)
    for c in contrasts:
        figures = (
            interval(c.raw),
            known(c.p_raw, ".3f"),
            interval(c.equal_flops),
            known(c.p_equal_flops, ".3f"),
        )
        table.add_row(_pair(c), *figures, known(c.superiority, ".2f"), f"{c.overlap:.0%}", c.grade)
    return table


def _paired_statements(paired: PairedComparison) -> list[str]:
    """What may be said under each estimand. A contrast of the same trainings under both is said once."""
    lines = []
    for name in paired.orders:
        own = [c for c in paired.contrasts if c.estimand == name]
        new = [c for c in own if not (c.same_trainings and name == "E1")]
        lines.append(f"{name}, {own[0].where}:")
        if len(new) < len(own):
            same = _listing([_pair(c) for c in own if c not in new], len(own))
            lines.append(f"  {same}: the trainings are those of E2, so E1 confirms nothing and is not counted.")
        lines += _statements(new) if new else []
    return lines


def _statements(contrasts: Sequence[AnyContrast]) -> list[str]:
    """What may be said of each contrast; then each gate that stops some, at its worst."""
    lines = [f"  {c.grade}  {c.claim}" for c in contrasts if c.grade != "X"]
    if silent := unsupported(contrasts):
        lines.append(f"  X  no ranking is supported: {silent}")
    return [*lines, *(f"  no better grade for {pairs}: {gate}" for pairs, gate in stopped(contrasts))]


def unsupported(contrasts: Sequence[AnyContrast]) -> str:
    """The contrasts of which nothing may be said; "" where there are none."""
    if not contrasts:
        return "one module type"
    return _listing([_pair(c) for c in contrasts if c.grade == "X"], len(contrasts))


def stopped(contrasts: Sequence[AnyContrast]) -> list[tuple[str, Gate]]:
    """Each gate that keeps contrasts from a better grade, at its worst, with these contrasts."""
    found: dict[str, list[tuple[Gate, str]]] = {}
    for c in contrasts:
        for gate in c.refused:
            found.setdefault(gate.name, []).append((gate, _pair(c)))
    return [
        (
            _listing([pair for _, pair in held], len(contrasts)),
            max((gate for gate, _ in held), key=lambda gate: gate.missing),
        )
        for held in found.values()
    ]


def _pair(contrast: AnyContrast) -> str:
    return f"{contrast.a} -> {contrast.b}"


def _listing(pairs: Sequence[str], among: int) -> str:
    return "all contrasts" if len(pairs) == among > 1 else ", ".join(pairs)


def motif_parts(motifs: Sequence[MotifEffect]) -> list[RenderableType]:
    table = table_of("motif", "least>", "most>", "rank correlation with error>", "p>")
    for motif in motifs:
        value, low, high = motif.correlation.value, motif.correlation.low, motif.correlation.high
        limits = "" if math.isnan(value) else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
        table.add_row(motif.name, f"{motif.least:.4g}", f"{motif.most:.4g}", limits, known(motif.p, ".3f"))
    return ["Motifs of the graphs, whatever their modules are called", table, MOTIF_NOTE]


def _paired_dict(paired: PairedComparison) -> dict[str, Any]:
    evidence = paired.evidence
    return {
        "contexts": paired.contexts,
        "networks": paired.networks,
        "seeds": paired.seeds,
        "seed_sd": _finite(paired.seed_sd),
        "grade": paired.grades,
        "orders": {name: _finite(asdict(order)) for name, order in paired.orders.items()},
        "epochs": evidence.epochs,
        "longer_epochs": evidence.longer_epochs,
        "smallest_effect": evidence.smallest_effect,
        "contrasts": [_contrast_dict(c) for c in paired.contrasts],
    }


def _contrast_dict(c: AnyContrast) -> dict[str, Any]:
    said = {"grade": c.grade, "claim": c.claim, "refused": [str(gate) for gate in c.refused]}
    return dict(_finite(asdict(c))) | said


def _comparison_dict(comparison: Comparison) -> dict[str, Any]:
    return {
        "sample": comparison.sample,
        "networks": comparison.networks,
        "grade": comparison.grades,
        "types": [_finite(asdict(row)) for row in comparison.types],
        "groups": [list(group) for group in comparison.groups],
        "contrasts": [_contrast_dict(c) for c in comparison.contrasts],
    }


def _finite(value: Any) -> Any:
    """With None for NaN, which JSON does not know, and lists for tuples."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
