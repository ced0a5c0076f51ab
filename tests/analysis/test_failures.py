"""Trainings that fail: how often by type, and what they leave of an effect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from testing.paired_trials import blocks, full_evidence

from nas.analysis.analyze import analyze
from nas.analysis.text.ranking import analysis_dict, analysis_text


def contrast(frame, **changes):
    """The contrast of two types at equal FLOPs, with evidence that opens grade A."""
    found = analyze(frame, evidence=full_evidence(frame, **changes)).paired.contrasts
    return next(c for c in found if c.estimand == "E2")


def with_failures(frame, contexts, kind):
    """The trainings of a type failed in these contexts."""
    fails = (frame["module_types"] == kind) & frame["design"].map(lambda d: d["context"] in contexts)
    return frame.assign(
        state=frame["state"].mask(fails, "failed"), error=frame["error"].astype(object).mask(fails, None)
    )


def test_failures_are_counted_by_type_and_their_contexts_do_not_count():
    found = contrast(with_failures(blocks(contexts=24), {0, 1, 2}, "plain"))
    assert found.failures.rates == (pytest.approx(3 / 24), 0.0)
    assert found.contexts == 21


@pytest.mark.parametrize("share", [0.39, 0.67])
@pytest.mark.parametrize("seed", range(3))
def test_a_type_that_diverges_where_it_is_worst_is_not_called_better(share, seed):
    """The truth: residual raises the error by 0.71 points on average, and its worst contexts diverge."""
    contexts = 100
    harm = np.random.default_rng(seed).normal(0.0071, 0.0265, contexts)
    frame = blocks(contexts=contexts, effect=0.0, rng=seed)
    own = frame["design"].map(lambda d: harm[d["context"]] * (d["type"] == "residual"))
    worst = np.argsort(harm)[-int(share * contexts) :]
    found = contrast(with_failures(frame.assign(error=frame["error"] + own), set(worst), "residual"))
    assert found.effect.sign == -1  # among the contexts that are left it looks better
    assert found.separated
    assert found.grade == "D"
    assert found.claim.startswith(
        "among contexts where both train, residual had an error lower than that of plain by"
    )
    failed = 2 * len(worst)
    assert found.claim.endswith(f"(residual failed in {failed} of 200 trainings)")
    assert found.failures.p < 0.001
    assert found.failures.bound.sign == 1  # with a guess for each failed training it is worse
    assert [gate.name for gate in found.refused] == ["failures"]


def test_rows_that_are_missing_count_as_failures_do():
    frame = blocks(contexts=40)
    left = frame[(frame["module_types"] != "residual") | frame["design"].map(lambda d: d["context"] >= 10)]
    found = contrast(left)
    assert found.failures.absent == (0, 10)
    assert found.grade == "D"
    assert "residual is absent from 10 contexts" in found.claim


def test_what_the_budget_did_not_reach_in_the_last_context_is_no_loss():
    frame = blocks(contexts=24)
    cut = frame[(frame["design"].map(lambda d: d["context"]) < 23) | (frame["module_types"] == "plain")]
    whole, found = contrast(frame[frame["design"].map(lambda d: d["context"]) < 23]), contrast(cut)
    assert found.failures.absent == (0, 0)
    assert found.claim == whole.claim
    assert found.grade == whole.grade == "A"


@pytest.mark.parametrize("end", [10, 23])
def test_a_second_run_that_is_cut_adds_trainings_to_contexts_and_no_context(end):
    """Also where it is cut in the context that is the last of the first run."""
    frame = blocks(contexts=24).assign(run="a")
    contexts = frame["design"].map(lambda d: d["context"])
    again = frame.assign(run="b", seed=frame["seed"] + 10**6, error=frame["error"] + 1e-4)
    again = again[(contexts < end) | ((contexts == end) & (frame["module_types"] == "plain"))]
    whole, found = contrast(frame), contrast(pd.concat([frame, again], ignore_index=True))
    assert found.contexts == whole.contexts == 24
    assert found.failures.absent == (0, 0)
    pooled = analyze(pd.concat([frame, again], ignore_index=True)).paired
    assert pooled.contexts == 24


def test_few_failures_of_both_types_are_named_and_leave_the_grade():
    found = contrast(with_failures(with_failures(blocks(contexts=60), {1, 2}, "plain"), {3, 4}, "residual"))
    assert found.grade == "A"
    assert found.claim.startswith("replacing plain by residual lowers error by")
    assert found.claim.endswith("(plain failed in 4 of 120 trainings, residual failed in 4 of 120 trainings)")


def test_many_failures_of_both_types_need_a_sign_that_holds_with_a_guess_for_each():
    frame = with_failures(blocks(contexts=60), set(range(5)), "plain")
    found = contrast(with_failures(frame, set(range(5, 10)), "residual"))
    assert found.failures.p > 0.05
    assert found.grade == "D"
    assert [gate.name for gate in found.refused] == ["failures"]
    both = with_failures(
        with_failures(blocks(contexts=60), set(range(5)), "plain"), set(range(5)), "residual"
    )
    held = contrast(both)
    assert held.failures.bound.sign == -1  # in contexts where both failed neither is better
    assert held.grade == "A"


def test_a_worse_type_that_also_fails_more_may_be_called_worse():
    found = contrast(with_failures(blocks(contexts=60), set(range(12)), "plain"))
    assert found.failures.differ
    assert found.failures.bound.sign == found.effect.sign == -1
    assert found.grade == "A"
    assert found.claim.endswith("(plain failed in 24 of 120 trainings)")


def test_a_refused_contrast_names_its_failures_too():
    found = contrast(with_failures(blocks(contexts=24), set(range(20)), "plain"))
    assert found.grade == "X"
    assert found.claim == (
        "plain and residual: no ranking is supported at equal FLOPs (plain failed in 40 of 48 trainings)"
    )


def test_failures_are_told_in_the_report_and_as_json():
    frame = with_failures(blocks(contexts=60), set(range(30)), "residual")
    analysis = analyze(frame, evidence=full_evidence(frame))
    text = " ".join(analysis_text(analysis).split())
    assert "(among contexts where both train)" in text
    assert "residual failed in 60 of 120 trainings" in text
    _, found = analysis_dict(analysis)["paired"]["contrasts"]
    assert found["failures"]["failed"] == [0, 60]
    assert found["failures"]["trainings"] == [120, 120]
    _, row = analysis.frame().to_dict("records")
    assert (row["failures_a"], row["failures_b"], row["trainings_b"]) == (0, 60, 120)
