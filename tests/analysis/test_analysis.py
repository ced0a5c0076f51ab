"""The analyzer on synthetic studies whose truth is known."""

import json
import warnings

import numpy as np
import optuna
import pandas as pd
import pytest
from testing.paths import ROOT, SHARED

from nas.analysis.analyze import analyze
from nas.analysis.claims.grades import Facts, gates, grade, refusals, sentence
from nas.analysis.factors.encoding import encode
from nas.analysis.factors.ped_anova import importance, lowest, top_quantile
from nas.analysis.text.ranking import analysis_dict, analysis_text
from nas.stats.estimate import Estimate

TABLES = SHARED / "data" / "tables"


def trials(count, effect=0.05, uniform=True, seed=0, slope=0.0, spread=1.0, blocks=1):
    """Networks of residual and fractal blocks; fractal is worse by `effect`, and error falls by
    `slope` with each factor of e in FLOPs, of which fractal has `spread` times as many."""
    rng = np.random.default_rng(seed)
    types = rng.choice(["fractal", "residual"], (count, blocks))
    share = (types == "fractal").mean(axis=1)
    flops = np.exp(rng.uniform(0, 3, count)) * 1e6 * spread**share
    error = 0.3 + effect * share - slope * np.log(flops / 1e6) + rng.normal(0, 0.01, count)
    return pd.DataFrame(
        {
            "number": range(count),
            "state": "complete",
            "error": error,
            "flops": flops.astype(int),
            "params": 1000,
            "digest": [f"{i:032x}" for i in range(count)],
            "blocks": [tuple(row) for row in types.tolist()],
            "module_types": ["+".join(dict.fromkeys(row)) for row in types.tolist()],
            "decisions": [{"type": row[0], "depth": int(rng.integers(3))} for row in types.tolist()],
            "uniform": uniform,
            "seed": range(count),
        }
    )


def contrast(frame, sample=0):
    (found,) = analyze(frame).comparisons[sample].contrasts
    return found


def test_an_effect_is_found_with_its_size():
    found = contrast(trials(200))
    assert (found.a, found.b) == ("fractal", "residual")
    for estimate in (found.raw, found.equal_flops):
        assert estimate.value == pytest.approx(-0.05, abs=0.006)
        assert estimate.low < -0.05 < estimate.high
    assert found.p_raw < 0.01
    assert found.superiority > 0.95
    assert analyze(trials(200)).comparisons[0].groups == (("residual",), ("fractal",))


def test_no_effect_is_printed_as_a_tie():
    analysis = analyze(trials(100, effect=0.0))
    assert analysis.comparisons[0].groups in ((("residual", "fractal"),), (("fractal", "residual"),))
    assert "not separated" in analysis.comparisons[0].contrasts[0].claim


def test_a_type_that_differs_in_flops_only_is_equal_at_equal_flops():
    found = contrast(trials(600, effect=0.0, slope=0.05, spread=2.0))
    assert found.raw.sign == 1  # residual has fewer FLOPs, so a higher error
    assert found.raw.value == pytest.approx(0.05 * np.log(2), abs=0.01)
    assert abs(found.equal_flops.value) < 0.2 * found.raw.value


def test_the_effect_of_mixed_networks_is_that_of_one_block():
    found = contrast(trials(300, blocks=4))
    assert found.raw.value == pytest.approx(-0.05 / 4, abs=0.0025)
    assert found.overlap > 0.95
    assert found.claim.endswith("per block that changes from one type to the other")
    assert "per block" not in contrast(trials(300)).claim


@pytest.mark.slow
def test_networks_of_one_type_are_not_extrapolated_from_mixtures():
    """The error saturates in the share of a type: a line through the mixtures misses the networks at its
    ends, and so no figure is given for these, and the effect of a block is the mean over the mixtures."""
    covered = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        types = rng.choice(["fractal", "residual"], (120, 8))
        share = (types == "fractal").mean(axis=1)
        mixed = (share > 0) & (share < 1)
        frame = trials(120, blocks=8, seed=seed).assign(
            blocks=[tuple(row) for row in types.tolist()],
            error=0.3 + 0.1 * (1 - np.exp(-4 * share)) + rng.normal(0, 0.005, 120),
        )[mixed]
        found = analyze(frame)
        assert all(np.isnan(row.raw.value) for row in found.comparisons[0].types)
        k = np.arange(8)  # blocks of fractal among the other seven
        weight = [1, 7, 21, 35, 35, 21, 7, 1]
        steps = 0.1 * (np.exp(-4 * k / 8) - np.exp(-4 * (k + 1) / 8))
        true = -float(np.average(steps, weights=weight))
        raw = found.comparisons[0].contrasts[0].raw
        covered.append(raw.low <= true <= raw.high)
    assert np.mean(covered) >= 0.85


@pytest.mark.parametrize(("uniform", "expected"), [(True, "C"), (False, "D")])
def test_uniform_samples_alone_support_association(uniform, expected):
    found = contrast(trials(200, uniform=uniform))
    assert found.grade == expected
    assert ("is associated with" in found.claim) == uniform
    assert ("among the networks the search visited" in found.claim) != uniform


def test_the_uniform_slice_of_a_search_is_analysed_apart():
    frame = trials(200).assign(uniform=[i % 5 == 0 for i in range(200)])
    analysis = analyze(frame)
    assert [c.sample for c in analysis.comparisons] == [
        "networks that the search visited",
        "uniform samples alone",
    ]
    assert [c.networks for c in analysis.comparisons] == [200, 40]
    assert [min(c.grades) for c in analysis.comparisons] == ["D", "C"]
    assert "describe what the search visited" in analysis.notes[0]


def test_a_short_search_says_how_many_uniform_runs_are_missing():
    frame = trials(24).assign(uniform=[i % 5 == 0 for i in range(24)])
    visited, slice_ = analyze(frame).comparisons
    assert min(visited.grades) == "D"
    assert set(slice_.grades) == {"X"}
    text = analysis_text(analyze(frame))
    assert "Grades: 1 X." in text


def test_a_uniform_slice_too_small_for_a_claim_is_refused_with_the_missing_runs():
    frame = trials(60).assign(uniform=[i % 5 == 0 for i in range(60)])
    slice_ = analyze(frame).comparisons[1]
    assert set(slice_.grades) == {"X"}
    assert slice_.groups == ()
    assert any("at least 8 more runs needed" in str(gate) for c in slice_.contrasts for gate in c.refused)


def test_runs_of_one_network_are_one_row_with_their_mean_error():
    frame = trials(40)
    again = frame[:10].assign(error=frame["error"][:10] + 0.02, number=range(40, 50), uniform=False)
    analysis = analyze(pd.concat([frame, again], ignore_index=True))
    assert analysis.repeated == 10
    (comparison,) = analysis.comparisons  # a network drawn uniformly stays so when it comes again
    assert comparison.networks == 40
    raw = {row.name: row.raw.value for row in comparison.types}
    mean = frame["error"].add(0.01 * (frame.index < 10))
    residual = frame["module_types"] == "residual"
    assert raw["residual"] == pytest.approx(mean[residual].mean())


def test_failures_are_counted_by_type_and_not_dropped():
    frame = trials(60)
    fails = frame.index[frame["module_types"] == "fractal"][:7]
    frame.loc[fails, ["state", "error"]] = ["failed", None]
    analysis = analyze(frame)
    failed = {row.name: (row.failed, row.runs - row.networks) for row in analysis.comparisons[0].types}
    assert failed == {"fractal": (7, 7), "residual": (0, 0)}
    assert analysis.failed == 7
    assert any("Failed runs" in note for note in analysis.notes)


def test_a_type_that_always_failed_is_listed_without_a_figure():
    frame = trials(60)
    frame.loc[frame["module_types"] == "fractal", ["state", "error"]] = ["failed", None]
    comparison = analyze(frame).comparisons[0]
    fractal = next(row for row in comparison.types if row.name == "fractal")
    assert fractal.networks == 0
    assert np.isnan(fractal.raw.value)
    assert set(comparison.grades) == {"X"}
    assert "5 networks of each type" in [gate.name for gate in comparison.contrasts[0].refused]


def degenerate():
    frame = trials(30)
    single = frame.assign(module_types="residual", blocks=[("residual",)] * 30)
    apart = frame.assign(flops=np.where(frame["module_types"] == "fractal", 9_000_000, 1_000_000))
    yield "single type", single
    yield "all failed", frame.assign(state="failed", error=np.nan)
    yield "one trial", frame[:1]
    yield "no trial", frame[:0]
    yield "no FLOPs overlap", apart
    yield "equal FLOPs", frame.assign(flops=1_000_000)
    yield "equal errors", frame.assign(error=0.5)
    yield "always half and half", frame.assign(blocks=[("residual", "fractal")] * 30)
    yield "one digest", frame.assign(digest="0" * 32)
    yield "three trials", frame[:3]
    yield "one seed", frame.assign(seed=0)


@pytest.mark.parametrize("name", [name for name, _ in degenerate()])
def test_what_cannot_be_told_is_said_without_a_warning(name):
    analysis = analyze(dict(degenerate())[name])
    text = analysis_text(analysis)
    json.dumps(analysis_dict(analysis), allow_nan=False)
    assert text.startswith("Estimand.")
    assert "nan" not in text
    if name not in ("equal FLOPs", "one seed", "equal errors"):
        assert set(analysis.grade) <= {"X"}


def test_types_without_common_flops_have_a_raw_figure_and_no_claim():
    frame = dict(degenerate())["no FLOPs overlap"]
    found = contrast(frame)
    assert np.isfinite(found.raw.value)
    assert np.isnan(found.equal_flops.value)
    assert found.claim == "fractal and residual: no ranking is supported"
    assert [gate.name for gate in found.refused] == ["common FLOPs"]


def test_the_analysis_of_the_same_trials_is_the_same():
    first, second = (analysis_dict(analyze(trials(50, blocks=3))) for _ in range(2))
    assert first == second


FACTS = {
    "networks": 40,
    "networks_a": 20,
    "networks_b": 20,
    "balanced": True,
    "seeds": 5,
    "overlap": 0.9,
    "raw": Estimate(-0.1, -0.2, -0.05),
    "equal_flops": Estimate(-0.1, -0.2, -0.05),
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "C"),
        ({"balanced": False}, "D"),
        ({"overlap": 0.79}, "D"),
        ({"seeds": 1}, "D"),
        ({"networks": 19}, "X"),
        ({"networks_b": 4}, "X"),
        ({"overlap": 0.0}, "X"),
        ({"raw": Estimate(0.1, 0.05, 0.2)}, "X"),
        ({"equal_flops": Estimate(float("nan"), float("nan"), float("nan"))}, "X"),
    ],
)
def test_each_gate_bounds_the_grade(changed, expected):
    checked = gates(Facts(**FACTS | changed))
    assert grade(checked) == expected
    assert refusals(checked, expected)


def test_sentences_keep_to_the_words_of_the_grade():
    effect = Estimate(0.02, 0.01, 0.03)
    claim = sentence("C", "a", "b", effect, 0.01)
    assert (
        claim
        == "a is associated with an error lower than that of b by 2.00 [1.00, 3.00] points at equal FLOPs"
    )
    assert sentence("D", "a", "b", effect, 0.01).startswith("among the networks the search visited, a had")
    assert "not separated" in sentence("C", "a", "b", effect, 0.05)
    assert sentence("X", "a", "b", effect, 0.01) == "a and b: no ranking is supported"


def conditional(count=120):
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        kind = str(rng.choice(["residual", "fractal"]))
        rows.append({"type": kind, f"{kind}.norm": int(rng.integers(3)), "depth": bool(rng.integers(2))})
    error = [0.1 * (row["type"] == "fractal") + 0.03 * row["depth"] for row in rows]
    return rows, np.array(error) + rng.normal(0, 0.02, count)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_importance_is_that_of_optunas_evaluator():
    decisions, error = conditional()
    study = optuna.create_study()
    options = {"type": ["residual", "fractal"], "depth": [False, True]}
    options |= {f"{kind}.norm": [0, 1, 2] for kind in options["type"]}
    spaces = {name: optuna.distributions.CategoricalDistribution(values) for name, values in options.items()}
    for row, value in zip(decisions, error, strict=True):
        known = {name: spaces[name] for name in row}
        study.add_trial(optuna.trial.create_trial(value=value, params=row, distributions=known))
    quantile = top_quantile(len(error))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
        expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert importance(encode(decisions), lowest(error)) == pytest.approx(expected, rel=1e-6)


def test_importance_needs_decisions_and_networks():
    decisions, error = conditional()
    found = importance(encode(decisions), lowest(error))
    assert sum(found.values()) == pytest.approx(1)
    assert next(iter(found)) == "type"
    assert importance(encode(decisions[:9]), lowest(error[:9])) == {}
    assert importance(encode([{"type": "a"}] * 20), lowest(error[:20])) == {}


@pytest.mark.slow
@pytest.mark.skipif(not TABLES.is_dir(), reason="the tables of shared/ are not here")
def test_nas_bench_macro_has_its_distinct_networks_and_no_sample_of_it_gets_a_c():
    """The types differ so much in FLOPs that no networks of equal FLOPs and depth tell them apart."""
    import sys

    sys.path.insert(0, str(ROOT / "benchmarks"))
    import analysis_macro

    frame = analysis_macro.load(TABLES)
    assert frame["digest"].nunique() == 3969
    assert min(analyze(analysis_macro.evolution_log(frame, 300, 0)).grade) == "D"
    balanced = analyze(analysis_macro.balanced(frame, 0))
    assert balanced.grade == {"D": 3}
    for contrast in balanced.comparisons[0].contrasts:
        failed = {gate.name for gate in contrast.gates if not gate.passed and "C" in gate.grades}
        assert failed == {"effective overlap 80%"}


def test_limits_stay_within_what_an_error_can_be():
    comparison = analyze(trials(20, effect=0.6)).comparisons[0]
    for row in comparison.types:
        assert row.raw.high <= 1
        assert row.equal_flops.low >= 0
    assert all(
        abs(limit) <= 1 for limit in (comparison.contrasts[0].raw.low, comparison.contrasts[0].raw.high)
    )


def test_nothing_is_said_of_a_type_of_which_no_network_is_made():
    """No network is nearly of one type alone, and the line through them ends beyond 100 %."""
    frame = trials(60, blocks=4)
    share = np.array([row.count("fractal") / 4 for row in frame["blocks"]])
    within = frame[(share > 0) & (share < 1)]
    error = 0.5 + 1.5 * (share[within.index] - 0.5)
    found = analyze(within.assign(error=error + np.random.default_rng(0).normal(0, 0.01, len(error))))
    fractal, residual = found.comparisons[0].types
    assert np.isnan([fractal.raw.value, residual.raw.value]).all()
    assert found.comparisons[0].contrasts[0].raw.value == pytest.approx(-1.5 / 4, abs=0.01)
    text = analysis_text(found)
    assert "not known" in text
    assert "nan" not in text


def test_what_was_refused_for_want_of_memory_counts_for_no_type():
    frame = trials(60).assign(reason="")
    lost = frame[:6].assign(number=range(60, 66), state="failed", error=np.nan, blocks=[("fractal",)] * 6)
    plain, refused, failed = (
        analyze(pd.concat([frame, lost.assign(reason=reason)][:parts], ignore_index=True))
        for reason, parts in (("", 1), ("too_large", 2), ("diverged", 2))
    )
    found = [each.comparisons[0].types for each in (plain, refused, failed)]
    runs = [{row.name: (row.runs, row.failed) for row in rows} for rows in found]
    assert runs[0] == runs[1]
    assert runs[2]["fractal"] == (runs[0]["fractal"][0] + 6, 6)
    assert any("refused" in note for note in refused.notes)


def test_a_balanced_sample_in_which_one_type_fails_more_often_is_described_alone():
    rng = np.random.default_rng(0)
    rows = [
        {
            "number": at,
            "state": "complete",
            "error": 0.3 - 0.05 * (at % 2) + rng.normal(0, 0.01),
            "flops": float(np.exp(rng.uniform(15, 17))),
            "digest": str(at),
            "module_types": ("plain", "residual")[at % 2],
            "uniform": True,
            "seed": at,
        }
        for at in range(120)
    ]
    frame = pd.DataFrame(rows)
    (before,) = analyze(frame).comparisons[0].contrasts
    assert before.grade == "C"
    fails = (frame["module_types"] == "residual") & (frame["number"] < 40)
    frame.loc[fails, ["state", "error"]] = ["failed", None]
    (found,) = analyze(frame).comparisons[0].contrasts
    assert found.grade == "D"
    assert found.claim.startswith("among networks that train, residual had an error lower than plain by")
    assert found.claim.endswith("(residual failed in 20 of 60 trainings)")
    assert [gate.name for gate in found.refused] == ["equal failure rates"]


def test_the_order_of_types_does_not_contradict_their_contrasts():
    """FLOPs lower the error of c alone; b is better than a by 1.5 points and has more FLOPs."""
    rng, frames = np.random.default_rng(3), []
    for kind, count, low, high, error, slope in (
        ("a", 60, 0, 2, 0.3, 0.0),
        ("b", 60, 0.6, 2.6, 0.285, 0.0),
        ("c", 120, 0, 2.6, 0.45, 0.1),
    ):
        log_flops = rng.uniform(low, high, count)
        types = {
            "digest": [f"{kind}{i}" for i in range(count)],
            "module_types": kind,
            "blocks": [(kind,) * 4] * count,
        }
        figures = {
            "error": error - slope * log_flops + rng.normal(0, 0.008, count),
            "flops": 1e6 * np.exp(log_flops),
        }
        frames.append(
            pd.DataFrame(types | figures | {"params": 1, "state": "complete", "uniform": True, "seed": 0})
        )
    analysis = analyze(pd.concat(frames, ignore_index=True))
    (comparison,) = analysis.comparisons
    a_to_b = comparison.contrasts[0]
    assert (a_to_b.a, a_to_b.b, a_to_b.equal_flops.sign) == ("a", "b", -1)
    assert not a_to_b.superiority < 0.5
    assert comparison.means_contradict
    assert all(np.isnan(row.equal_flops.value) for row in comparison.types)
    places = {name: at for at, group in enumerate(comparison.groups) for name in group}
    assert not comparison.groups or places["b"] < places["a"]
    assert "are not given: FLOPs change the error of some types more" in " ".join(
        analysis_text(analysis).split()
    )
