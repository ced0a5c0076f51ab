"""Paired blocks whose truth is known: what is found, what is refused, and what may be said."""

from __future__ import annotations

import json

import numpy as np
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


def with_failures(frame, contexts, kind):
    """The trainings of a type failed in these contexts."""
    fails = (frame["module_types"] == kind) & frame["design"].map(lambda d: d["context"] in contexts)
    return frame.assign(
        state=frame["state"].mask(fails, "failed"), error=frame["error"].astype(object).mask(fails, None)
    )


@pytest.mark.parametrize("share", [0.39, 0.67])
@pytest.mark.parametrize("seed", range(4))
def test_a_type_that_diverges_where_it_is_worst_is_not_called_better(share, seed):
    """The truth: residual raises the error by 0.71 points on average, and its worst contexts diverge."""
    contexts = 100
    harm = np.random.default_rng(seed).normal(0.0071, 0.0265, contexts)
    frame = blocks(contexts=contexts, effect=0.0, rng=seed)
    own = frame["design"].map(lambda d: harm[d["context"]] * (d["type"] == "residual"))
    worst = np.argsort(harm)[-int(share * contexts) :]
    found = contrast(
        with_failures(frame.assign(error=frame["error"] + own), set(worst), "residual"), evidence=FULL
    )
    assert found.equal_flops.sign == -1  # among the contexts that are left it looks better
    assert found.p_equal_flops < 0.05
    assert found.grade == "D"
    assert found.claim.startswith(
        "among contexts where both train, residual had an error lower than plain by"
    )
    failed = 4 * len(worst)
    assert found.claim.endswith(f"(residual failed in {failed} of 400 trainings)")
    assert found.failures.p < 0.001
    assert found.failures.bound.sign == 1  # with a guess for each failed training it is worse
    assert "equal failure rates" in {gate.name for gate in found.refused}


def test_few_failures_of_both_types_are_named_and_leave_the_grade():
    frame = with_failures(with_failures(blocks(contexts=60), {1, 2}, "plain"), {3, 4}, "residual")
    found = contrast(frame, evidence=FULL)
    assert found.grade == "A"
    assert found.claim.startswith("replacing plain by residual lowers error by")
    assert found.claim.endswith(
        "in this space and recipe (plain failed in 8 of 240 trainings, residual failed in 8 of 240 trainings)"
    )


def test_many_failures_of_both_types_need_a_sign_that_holds_with_a_guess_for_each():
    frame = with_failures(blocks(contexts=60), set(range(5)), "plain")
    found = contrast(with_failures(frame, set(range(5, 10)), "residual"), evidence=FULL)
    assert found.failures.p > 0.05
    assert found.grade == "D"
    assert [gate.name for gate in found.refused] == ["at most 5% failed, or a sign that holds"]
    both = with_failures(
        with_failures(blocks(contexts=60), set(range(5)), "plain"), set(range(5)), "residual"
    )
    held = contrast(both, evidence=FULL)
    assert held.failures.bound.sign == -1  # in contexts where both failed neither is better
    assert held.grade == "A"


def test_a_refused_contrast_names_its_failures_too():
    found = contrast(with_failures(blocks(contexts=24), set(range(20)), "plain"))
    assert found.grade == "X"
    assert found.claim == "plain and residual: no ranking is supported (plain failed in 80 of 96 trainings)"


def test_a_training_in_both_arms_fails_once():
    frame = blocks(contexts=24)
    shared = frame[[design["arms"] == ["same_shape"] for design in frame["design"]]]
    shared = shared.assign(
        design=[design | {"arms": ["same_shape", "equal_flops"]} for design in shared["design"]]
    )
    found = contrast(with_failures(shared, {0, 1}, "plain"))
    assert (found.failures.failed, found.failures.trainings) == ((4, 0), (48, 48))
    assert "plain failed in 4 of 48 trainings" in found.claim


def test_failures_are_told_in_the_report_and_as_json():
    analysis = analyze(with_failures(blocks(contexts=60), set(range(30)), "residual"), evidence=FULL)
    text = " ".join(analysis_text(analysis).split())
    assert "(among contexts where all types train)" in text
    assert "residual failed in 120 of 240 trainings" in text
    assert "50% of the other" in text
    (found,) = analysis_dict(analysis)["paired"]["contrasts"]
    assert found["failures"]["failed"] == [0, 120]
    assert found["failures"]["trainings"] == [240, 240]
    (row,) = analysis.frame().to_dict("records")
    assert (row["failures_a"], row["failures_b"], row["trainings_b"]) == (0, 120, 240)
