"""The analysis of module types, as text for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.analysis.analyze import Analysis
from nas.analysis.claims.grades import Gate
from nas.analysis.comparison import Comparison, Contrast
from nas.analysis.factors.motifs import MotifEffect
from nas.analysis.paired.comparison import PairedComparison, PairedContrast
from nas.analysis.paired.recipes import Tuned
from nas.analysis.text.factors import factor_parts, factors_dict
from nas.formatting import FLOPS_NOTE, SCHEMA, WIDTH, count, interval, known, table_of, to_text

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
    "Effects in percentage points of error, b less a; p by sign flips, after Holm over the contrasts of each "
    "column. FLOPs and parameters change at the same shape. The SD between contexts is beyond seed noise."
)


def analysis_dict(analysis: Analysis) -> dict[str, Any]:
    """The analysis as JSON; what is not estimable is None."""
    return {
        "schema": SCHEMA,
        "estimand": analysis.estimand,
        "grade": analysis.grade,
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
        statements = _statements(analysis.paired.contrasts)
        parts += ["", *paired_parts(analysis.paired), *statements]
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
        parts += [*_paired_ranking(analysis.paired), *_statements(analysis.paired.contrasts), ""]
    for comparison in analysis.comparisons:
        parts += [*_ranking_parts(comparison), *_statements(comparison.contrasts), ""]
    return to_text(*parts, *analysis.notes, width=width)


def contrasts_frame(analysis: Analysis) -> pd.DataFrame:
    """One row a contrast: its sample, its figures (estimates as value, `_low` and `_high`), its
    grade, what may be said, and what refuses more."""
    import pandas as pd

    samples: list[tuple[str, Sequence[AnyContrast]]] = []
    if analysis.paired:
        samples.append(("paired blocks", analysis.paired.contrasts))
    samples += [(comparison.sample, comparison.contrasts) for comparison in analysis.comparisons]
    return pd.DataFrame([{"sample": name} | _row(c) for name, contrasts in samples for c in contrasts])


def _row(contrast: AnyContrast) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in _contrast_dict(contrast).items():
        if key == "failures":
            row["failures_a"], row["failures_b"] = value["failed"]
            row["trainings_a"], row["trainings_b"] = value["trainings"]
            row["p_failures"] = value["p"]
        elif isinstance(value, dict):
            row |= {key: value["value"], f"{key}_low": value["low"], f"{key}_high": value["high"]}
        elif key != "gates":
            row[key] = "; ".join(value) if isinstance(value, list) else value
    return row


def paired_parts(paired: PairedComparison) -> list[RenderableType]:
    """The contrasts of paired blocks, in two tables: effects, and what came with them."""
    parts = _paired_ranking(paired)
    if any(c.contexts for c in paired.contrasts):
        parts += [_effect_table(paired.contrasts), "", _change_table(paired.contrasts), PAIRED_NOTE]
    if paired.evidence.tuned.best:
        parts += ["", *_tuned_parts(paired.evidence.tuned)]
    return parts


def _paired_ranking(paired: PairedComparison) -> list[RenderableType]:
    seeds = count(paired.seeds, "training seed")
    title = f"Paired blocks: {count(paired.contexts, 'context')}, {paired.networks} networks, {seeds}"
    noise = "" if math.isnan(paired.seed_sd) else f", SD between seeds {100 * paired.seed_sd:.2f} points"
    parts: list[RenderableType] = [f"{title}{noise}. Grade {paired.grade}."]
    if paired.groups:
        train = any(sum(c.failures.failed) for c in paired.contrasts)
        parts.append(_order(paired.groups) + " (among contexts where all types train)" * train)
    return parts


def _effect_table(contrasts: Sequence[PairedContrast]) -> Table:
    table = table_of(
        *("a -> b", "contexts>", "E1, same shape", "p>", "E2, equal FLOPs", "p>", "P(b better)>"),
        *("effect / seed SD>", "grade"),
    )
    for c in contrasts:
        table.add_row(
            *(_pair(c), str(c.contexts)),
            *(interval(c.same_shape), known(c.p_same_shape, ".3f")),
            *(interval(c.equal_flops), known(c.p_equal_flops, ".3f")),
            *(known(c.superiority, ".2f"), known(c.in_seed_sd, ".1f"), c.grade),
        )
    return table


def _change_table(contrasts: Sequence[PairedContrast]) -> Table:
    table = table_of(
        *("a -> b", "networks>", "FLOPs>", "params>", "failed, a>", "failed, b>", "SD between contexts>")
    )
    for c in contrasts:
        changes = (known(c.flops_change, "+.0%"), known(c.params_change, "+.0%"))
        failures = (f"{c.failed_a:.0%}", f"{c.failed_b:.0%}")
        table.add_row(_pair(c), str(c.networks), *changes, *failures, known(100 * c.heterogeneity, ".2f"))
    return table


def _tuned_parts(tuned: Tuned) -> list[RenderableType]:
    """The types with the recipe that suits each."""
    table = table_of("type", "learning rate>", "weight decay>", "error %>", "with the study's recipe>")
    for kind, (rate, decay) in tuned.best.items():
        errors = (f"{100 * each[kind]:.2f}" for each in (tuned.errors, tuned.untuned))
        table.add_row(kind, f"{rate:g}", f"{decay:g}", *errors)
    contexts = count(tuned.contexts, "context")
    grid = f"Each type at equal FLOPs with the best of {len(tuned.recipes)} recipes, over {contexts}"
    return [grid, table]


def _order(groups: Sequence[Sequence[str]]) -> str:
    ties = [" = ".join(group) for group in groups]
    if sum(map(len, groups)) == len(set().union(*groups)):
        return f"Order of error at equal FLOPs, '=' where not separated: {'  <  '.join(ties)}"
    return (
        f"Types not separated at equal FLOPs, the lowest errors first: {';  '.join(ties)}. Two types that "
        "share no group are separated."
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
    parts: list[RenderableType] = [f"{title}. Grade {comparison.grade}.", types]
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
    return {
        "contexts": paired.contexts,
        "networks": paired.networks,
        "seeds": paired.seeds,
        "seed_sd": _finite(paired.seed_sd),
        "grade": paired.grade,
        "groups": [list(group) for group in paired.groups],
        "evidence": _finite(asdict(paired.evidence)) | {"recipe_contexts": paired.evidence.tuned.contexts},
        "contrasts": [_contrast_dict(c) for c in paired.contrasts],
    }


def _contrast_dict(c: AnyContrast) -> dict[str, Any]:
    said = {"grade": c.grade, "claim": c.claim, "refused": [str(gate) for gate in c.refused]}
    return dict(_finite(asdict(c))) | said


def _comparison_dict(comparison: Comparison) -> dict[str, Any]:
    return {
        "sample": comparison.sample,
        "networks": comparison.networks,
        "grade": comparison.grade,
        "types": [_finite(asdict(row)) for row in comparison.types],
        "groups": [list(group) for group in comparison.groups],
        "contrasts": [_contrast_dict(c) for c in comparison.contrasts],
    }


def _finite(value: Any) -> Any:
    """With None for NaN, which JSON does not know, and lists for tuples."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
