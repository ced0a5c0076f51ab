"""The analysis of module types, as text for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.analysis.comparison import Comparison, Contrast
from nas.analysis.factors.motifs import MotifEffect
from nas.analysis.paired.comparison import PairedComparison
from nas.analysis.text.factors import factor_parts, factors_dict
from nas.analysis.text.paired import paired_parts, paired_statements
from nas.analysis.text.statements import AnyContrast, grades_line, order_line, pair_name, statements
from nas.formatting import FLOPS_NOTE, SCHEMA, UNLIMITED, count, interval, known, table_of, to_text
from nas.stats.estimate import Estimate

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from nas.analysis.analyze import Analysis

MOTIF_NOTE = (
    "Within networks of equal FLOPs (of one context where they are paired): below zero, more of the motif "
    "goes with lower error; p by permutation, after Holm. Motifs come together: none is shown to be a cause."
)

MEANS_CONTRADICT = (
    "Errors of single types at equal FLOPs are not given: FLOPs change the error of some types more than "
    "that of others, so one fit of all networks puts two types in another order than their contrast, which "
    "compares the networks of the two alone."
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


def analysis_text(analysis: Analysis, width: int = UNLIMITED) -> str:
    """The estimand, the types, the contrasts with what may be said, the factors and the motifs."""
    repeated = f", {analysis.repeated} of a network seen before" if analysis.repeated else ""
    networks = count(analysis.networks, "distinct network")
    parts: list[RenderableType] = [
        f"Estimand. {analysis.estimand}",
        f"{count(analysis.trials, 'trial')}: {networks}, {analysis.failed} failed{repeated}.",
        *([] if analysis.of_table else [FLOPS_NOTE]),
    ]
    if analysis.paired:
        parts += ["", *paired_parts(analysis.paired), *paired_statements(analysis.paired)]
    for comparison in analysis.comparisons:
        parts += ["", *comparison_parts(comparison), *statements(comparison.contrasts)]
    if analysis.unpaired:
        parts += ["", grades_line(analysis.grade), *statements(analysis.unpaired)]
    if analysis.factors:
        parts += ["", *factor_parts(analysis.factors, analysis.top)]
    if analysis.motifs:
        parts += ["", *motif_parts(analysis.motifs)]
    return to_text(*parts, *("\n" + note for note in analysis.notes), width=width)


def claims_list(analysis: Analysis) -> list[dict[str, Any]]:
    """Every contrast with its estimand, effect, interval, p, grade, claim and what is missing for more."""
    found: list[dict[str, Any]] = []
    if analysis.paired:
        found += [_claim(c, c.estimand, c.effect, c.p) for c in analysis.paired.contrasts]
    for comparison in analysis.comparisons:
        for c in comparison.contrasts:
            found.append(_claim(c, "equal FLOPs", c.equal_flops, c.p_equal_flops, sample=comparison.sample))
    found += [_claim(c, "raw", c.effect, c.p, sample="networks of the table") for c in analysis.unpaired]
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
        "skewed": getattr(c, "skewed", False),
    }


def comparison_parts(comparison: Comparison) -> list[RenderableType]:
    """One sample: types, groups and contrasts."""
    parts = _ranking_parts(comparison)
    fitted = [c for c in comparison.contrasts if not math.isnan(c.raw.value)]
    if fitted:
        note = (
            "Changes in percentage points, each with its own 95 % interval. p after Holm: raw by "
            "permutation, at equal FLOPs and depth by a t-test that is robust to unequal spread."
        )
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
    parts: list[RenderableType] = [f"{title}. {grades_line(comparison.grades)}", types]
    if comparison.means_contradict:
        parts.append(MEANS_CONTRADICT)
    if comparison.groups:
        parts.append(order_line(comparison.groups))
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
        table.add_row(pair_name(c), *figures, known(c.superiority, ".2f"), f"{c.overlap:.0%}", c.grade)
    return table


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
        "seed_sds": _finite(paired.seed_sds),
        "grade": paired.grades,
        "orders": {name: _finite(asdict(order)) for name, order in paired.orders.items()},
        "epochs": evidence.epochs,
        "longer_epochs": evidence.longer_epochs,
        "smallest_effect": evidence.smallest_effect,
        "contrasts": [contrast_dict(c) for c in paired.contrasts],
    }


def contrast_dict(c: AnyContrast) -> dict[str, Any]:
    said = {"grade": c.grade, "claim": c.claim, "refused": [str(gate) for gate in c.refused]}
    return dict(_finite(asdict(c))) | said


def _comparison_dict(comparison: Comparison) -> dict[str, Any]:
    return {
        "sample": comparison.sample,
        "networks": comparison.networks,
        "grade": comparison.grades,
        "types": [_finite(asdict(row)) for row in comparison.types],
        "groups": [list(group) for group in comparison.groups],
        "contrasts": [contrast_dict(c) for c in comparison.contrasts],
    }


def _finite(value: Any) -> Any:
    """Replace NaN, which JSON does not know, by None, and tuples by lists."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
