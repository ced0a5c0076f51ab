"""Paired blocks whose truth is known: what is found, what is refused, and what may be said."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from testing.paired_trials import CONTEXT_SD, SEED_SD, blocks

from nas.analysis.analyze import analyze
from nas.analysis.claims.grades import grade, refusals
from nas.analysis.claims.paired_gates import Evidence, PairedFacts, paired_gates
from nas.analysis.paired.recipes import Tuned
from nas.analysis.text.ranking import analysis_dict, analysis_text, ranking_text
from nas.stats import power
from nas.stats.estimate import Estimate

FULL = Evidence(epochs=60, full_epochs=60, tuned=Tuned(5))


def contrast(frame, **options):
    (found,) = analyze(frame, **options).paired.contrasts
    return found


def test_an_effect_is_found_with_its_size_and_its_words():
    found = contrast(blocks(), evidence=FULL)
    assert found.grade == "A"
    assert found.equal_flops.low < -0.02 < found.equal_flops.high
    assert found.p_equal_flops < 0.001
    assert found.superiority > 0.9
    assert found.flops_change == pytest.approx(1.0)
    assert found.params_change == pytest.approx(1.0)
    assert found.claim.startswith("replacing plain by residual lowers error by")
    assert found.claim.endswith("in this space and recipe")
    assert found.refused == []
    assert analyze(blocks()).paired.seed_sd == pytest.approx(SEED_SD, rel=0.3)
    assert found.heterogeneity == pytest.approx(CONTEXT_SD, rel=0.5)


def test_a_type_that_differs_in_flops_only_has_an_effect_at_the_same_shape_alone():
    found = contrast(blocks(effect=0.0, raw=0.03), evidence=FULL)
    assert found.same_shape.sign == -1
    assert found.p_same_shape < 0.001
    assert found.equal_flops.sign == 0
    assert found.grade == "C"
    assert "not separated" in found.claim
    assert any(gate.name.startswith("Holm p") for gate in found.refused)


def test_types_that_are_not_separated_share_a_group():
    paired = analyze(blocks(types=("fractal", "plain", "residual"), contexts=30), evidence=FULL).paired
    assert paired.groups[0] == ("residual",)
    assert set(paired.groups[1]) == {"fractal", "plain"}


@pytest.mark.parametrize(
    ("evidence", "expected", "missing"),
    [
        (FULL, "A", set()),
        (Evidence(8, 60, Estimate(0.8, 0.6, 0.9), 24, Tuned(5)), "B", {"full schedule"}),
        (Evidence(8, 60, Estimate(0.8, 0.4, 0.9), 24, Tuned(5)), "C", {"fidelity"}),
        (Evidence(8, 60, Estimate(0.8, 0.6, 0.9), 23, Tuned(5)), "C", {"fidelity"}),
        (Evidence(60, 60, tuned=Tuned(4)), "C", {"recipe grid"}),
        (None, "C", {"fidelity", "recipe grid"}),
    ],
)
def test_recipe_and_schedule_bound_the_grade(evidence, expected, missing):
    found = contrast(blocks(), evidence=evidence)
    assert found.grade == expected
    assert {gate.name for gate in found.refused} == missing
    assert all(gate.missing for gate in found.refused if gate.name != "fidelity" or "24" not in str(gate))
    assert ("at 8 epochs" in found.claim) == (expected == "B")
    assert ("is associated with" in found.claim) == (expected == "C")


FACTS = {
    "contexts": 24,
    "seeds": 2,
    "same_shape": Estimate(-0.03, -0.05, -0.01),
    "equal_flops": Estimate(-0.03, -0.05, -0.01),
    "p": 0.001,
    "sd": 0.02,
    "seed_sd": 0.01,
    "tests": 3,
    "reversed": (),
}


@pytest.mark.parametrize(
    ("changed", "expected", "gate"),
    [
        ({}, "A", None),
        ({"contexts": 19}, "X", "20 contexts"),
        ({"seeds": 1}, "X", "two seeds"),
        ({"same_shape": Estimate(0.03, 0.01, 0.05)}, "X", "agreement"),
        ({"same_shape": Estimate(0.03, -0.01, 0.05)}, "C", "same sign in E1 and E2"),
        ({"p": 0.05}, "C", "Holm p < 0.05"),
        ({"p": float("nan")}, "C", "Holm p < 0.05"),
        ({"sd": 0.08}, "C", "effect > 2 SE"),
        ({"seed_sd": 0.05}, "C", "effect > seed SD / √k"),
        ({"reversed": ("low depth",)}, "C", "no stratum reversed"),
    ],
)
def test_each_gate_bounds_the_grade(changed, expected, gate):
    checked = paired_gates(PairedFacts(**FACTS | changed), FULL)
    assert grade(checked) == expected
    assert [found.name for found in refusals(checked, expected)] == ([gate] if gate else [])


def test_the_runs_that_are_missing_are_counted():
    checked = paired_gates(PairedFacts(**FACTS | {"contexts": 15}), FULL)
    assert checked[0].missing == 5 * 2 * 2 * 2
    weak = PairedFacts(**FACTS | {"p": 0.3, "equal_flops": Estimate(-0.005, -0.01, 0.001)})
    holm = next(gate for gate in paired_gates(weak, FULL) if gate.name.startswith("Holm"))
    assert holm.missing == (power.needed(0.005, 0.02, 3) - 24) * 8


def test_an_effect_that_turns_round_in_a_stratum_is_no_cause():
    frame = blocks(contexts=60)
    deep = frame["blocks"].map(len) == 3
    frame.loc[deep & (frame["module_types"] == "residual"), "error"] += 0.03
    found = contrast(frame.assign(blocks=frame["blocks"]), evidence=FULL)
    assert found.grade != "A"
    assert any(gate.name == "no stratum reversed" for gate in found.gates if not gate.passed)


def test_failures_are_counted_by_type_and_their_contexts_do_not_count():
    frame = blocks(contexts=24)
    fails = (frame["module_types"] == "plain") & frame["design"].map(lambda d: d["context"] < 3)
    frame.loc[fails, ["state", "error"]] = ["failed", None]
    found = contrast(frame)
    assert (found.failed_a, found.failed_b) == (pytest.approx(3 / 24), 0.0)
    assert found.contexts == 21


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_an_unfinished_study_claims_nothing_and_shows_no_nan(rows):
    analysis = analyze(blocks()[:rows])
    assert analysis.grade == "X"
    text = analysis_text(analysis) + ranking_text(analysis)
    assert "nan" not in text
    assert "no ranking is supported" in text
    json.dumps(analysis_dict(analysis), allow_nan=False)


def test_trainings_that_are_in_two_runs_count_once():
    frame = blocks(contexts=24)
    twice = pd.concat([frame.assign(run=0), frame.assign(run=1)], ignore_index=True)
    assert analyze(twice).paired.contexts == 24
    other = blocks(contexts=10, rng=1)
    other = other.assign(run=1, digest="other-" + other["digest"])
    assert analyze(pd.concat([frame.assign(run=0), other])).paired.contexts == 34


def test_the_report_has_both_tables():
    analysis = analyze(blocks(types=("fractal", "plain", "residual")), evidence=FULL)
    text = analysis_text(analysis)
    assert text.startswith("Estimand. Mean change of validation error when module type a is replaced")
    for part in ("E1, same shape", "E2, equal FLOPs", "SD between contexts", "Grade A", "replacing plain by"):
        assert part in text
    found = analysis_dict(analysis)["paired"]
    assert found["grade"] == "A"
    assert len(found["contrasts"]) == 3


def test_permuted_labels_are_rarely_called_a_difference():
    positives = 0
    for repeat in range(20):
        frame = blocks(effect=0.0, types=("fractal", "plain", "residual"), contexts=20, rng=repeat)
        positives += any(c.p_equal_flops < 0.05 for c in analyze(frame).paired.contrasts)
    assert positives <= 4
