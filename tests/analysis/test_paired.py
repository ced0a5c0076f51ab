"""Paired contexts whose truth is known: what is found, what is refused, and what may be said."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from testing.paired_trials import (
    CONTEXT_SD,
    SEED_SD,
    USUAL,
    blocks,
    full_evidence,
    grid_of,
    network_means,
)

from nas.analysis.analyze import analyze
from nas.analysis.paired.evidence import Evidence
from nas.analysis.pooling import analyze as analyze_table
from nas.analysis.text.claims import claim_lines
from nas.analysis.text.ranking import analysis_dict, analysis_text
from nas.stats import power

TYPES = ("fractal", "plain", "residual")


def paired(frame, **changes):
    """The comparison of a frame with evidence that opens grade A, but for these changes."""
    return analyze(frame, evidence=full_evidence(frame, **changes)).paired


def contrast(frame, estimand="E2", **changes):
    """The contrast of two types under one estimand."""
    (found,) = (c for c in paired(frame, **changes).contrasts if c.estimand == estimand)
    return found


def failed_gates(found):
    return {gate.name for gate in found.gates if not gate.passed}


def test_an_effect_is_found_with_its_size_and_its_words():
    frame = blocks()
    found = contrast(frame)
    assert found.grade == "A"
    assert found.effect.low < -0.02 < found.effect.high
    assert found.p < 0.001
    assert found.superiority > 0.9
    assert found.flops_change == pytest.approx(0)
    assert contrast(frame, "E1").flops_change == pytest.approx(1)
    assert found.params_change == pytest.approx(1)
    assert found.claim.startswith("replacing plain by residual lowers error by")
    assert "points at equal FLOPs in this space and recipe" in found.claim
    assert found.refused == []
    assert set(paired(frame).seed_sds) == {"plain", "residual"}
    assert all(sd == pytest.approx(SEED_SD, rel=0.3) for sd in paired(frame).seed_sds.values())
    assert found.heterogeneity.sd == pytest.approx(CONTEXT_SD, rel=0.5)


def test_types_that_are_one_network_in_a_context_do_not_differ_there():
    """As plain and fractal with one column are: one training stands for both, and neither is absent."""
    frame = blocks(seeds=1)
    context = pd.Series([design["context"] for design in frame["design"]])
    plain = frame["module_types"] == "plain"
    for name in ("error", "digest", "flops", "params"):
        values = frame[name].to_numpy(object)
        values[~plain & (context < 8)] = values[plain & (context < 8)]
        frame[name] = values.tolist()
    found = contrast(frame)
    differ = frame[context >= 8]
    errors = differ[[("equal_flops" in design["arms"]) for design in differ["design"]]]
    means = errors.groupby("module_types")["error"].mean()
    assert found.contexts == 24
    assert found.effect.value == pytest.approx((means["residual"] - means["plain"]) * 16 / 24)
    assert "absent" not in found.claim


def test_seed_noise_is_told_by_type_and_counts_in_its_own_contrasts():
    frame = blocks(types=TYPES)
    luck = np.random.default_rng(1).normal(0, 10 * SEED_SD, len(frame))
    frame["error"] += luck * (frame["module_types"] == "fractal")
    found = paired(frame)
    noise = found.seed_sds
    assert noise["fractal"] > 5 * max(noise["plain"], noise["residual"])
    quiet, loud = (
        next(c for c in found.contrasts if (c.a, c.b, c.estimand) == (*pair, "E2"))
        for pair in (("plain", "residual"), ("fractal", "residual"))
    )
    assert quiet.effect.value / quiet.in_seed_sd == pytest.approx(noise["plain"], rel=0.5)
    assert loud.effect.value / loud.in_seed_sd > 3 * noise["plain"]
    assert "(fractal). " in analysis_text(analyze(frame))


def test_a_type_that_differs_in_flops_only_has_an_effect_at_the_same_shape_alone():
    frame = blocks(effect=0.0, raw=0.03)
    shape, matched = contrast(frame, "E1"), contrast(frame, "E2")
    assert shape.effect.sign == -1
    assert shape.grade == "A"
    assert "at the same shape, with 100% more FLOPs" in shape.claim
    assert matched.effect.sign == 0
    assert matched.grade == "C"
    assert not matched.separated
    assert "plain and residual are practically equal at equal FLOPs" in matched.claim
    assert "Holm p < 0.05" in failed_gates(matched)


def test_estimands_of_opposite_signs_are_two_valid_sentences():
    frame = blocks(contexts=30, effect=0.02, raw=-0.03)
    found = paired(frame)
    assert {c.estimand: (c.effect.sign, c.grade) for c in found.contrasts} == {
        "E1": (1, "A"),
        "E2": (-1, "A"),
    }
    assert found.orders["E1"].groups == (("plain",), ("residual",))
    assert found.orders["E2"].groups == (("residual",), ("plain",))
    assert analyze(frame, evidence=full_evidence(frame)).grade == {"A": 2}


def in_both_arms(frame):
    """The same networks at the same shape and at equal FLOPs."""
    rows = frame[[design["arms"] == ["equal_flops"] for design in frame["design"]]]
    return rows.assign(design=[{**d, "arms": ["same_shape", "equal_flops"]} for d in rows["design"]])


def test_the_same_trainings_confirm_nothing_and_count_once():
    frame = in_both_arms(blocks())
    first, second = paired(frame).contrasts
    assert first.same_trainings
    assert second.same_trainings
    assert (first.effect, first.p) == (second.effect, second.p)
    analysis = analyze(frame, evidence=full_evidence(frame))
    assert analysis.grade == {"A": 1}
    assert "the trainings are those of E2, so E1 confirms nothing" in " ".join(
        analysis_text(analysis).split()
    )


def test_types_that_are_not_separated_share_a_group():
    order = paired(blocks(types=TYPES, contexts=30)).orders["E2"]
    assert order.groups[0] == ("residual",)
    assert set(order.groups[1]) == {"fractal", "plain"}


def test_an_unsupported_contrast_makes_no_tie():
    frame = blocks(types=TYPES, contexts=24)
    kept = (frame["module_types"] != "fractal") | frame["design"].map(lambda d: d["context"] < 10)
    found = paired(frame[kept])
    assert {(c.a, c.b): c.grade for c in found.contrasts if c.estimand == "E2"} == {
        ("fractal", "plain"): "X",
        ("fractal", "residual"): "X",
        ("plain", "residual"): "A",
    }
    assert found.orders["E2"].groups == (("residual",), ("plain",))
    assert found.orders["E2"].left_out == ("fractal",)


def test_a_type_under_a_second_name_is_equivalent_to_itself():
    frame = blocks(effect=0.0, contexts=40)
    found = contrast(frame)
    assert abs(found.effect.value) < 0.003
    assert found.equivalent
    assert not found.separated
    assert "practically equal at equal FLOPs" in found.claim
    assert not contrast(frame, smallest_effect=0.0005).equivalent
    copied = frame.copy()
    plain = copied["module_types"] == "plain"
    copied.loc[~plain, "error"] = copied.loc[plain, "error"].to_numpy()
    same = contrast(copied)
    assert (same.effect.value, same.effect.low, same.effect.high) == (0, 0, 0)
    assert same.p == 1
    assert same.equivalent


def test_a_context_is_its_networks_in_however_many_runs():
    frame = blocks(contexts=10, effect=0.05)
    again = [
        frame.assign(run=run, error=frame["error"] + 0.001 * run, seed=frame["seed"] + 7 * run)
        for run in range(4)
    ]
    pooled = pd.concat(again, ignore_index=True)
    found = paired(pooled)
    assert found.contexts == 10
    assert found.seeds == 8
    (matched,) = (c for c in found.contrasts if c.estimand == "E2")
    assert matched.contexts == 10
    assert matched.grade == "X"


def test_two_contexts_of_the_same_two_networks_are_one():
    frame = blocks(contexts=21)
    twins = (
        frame["digest"]
        .str.replace("20-", "19-", n=1)
        .where(frame["design"].map(lambda d: d["context"] == 20), frame["digest"])
    )
    assert contrast(frame).contexts == 21
    assert contrast(frame.assign(digest=twins)).contexts == 20


def test_trainings_that_are_in_two_runs_count_once():
    frame = blocks(contexts=24)
    twice = paired(pd.concat([frame.assign(run=0), frame.assign(run=1)], ignore_index=True))
    assert twice.contexts == 24
    assert twice.seeds == 2
    other = blocks(contexts=10, rng=1)
    other = other.assign(run=1, digest="other-" + other["digest"])
    assert paired(pd.concat([frame.assign(run=0), other], ignore_index=True)).contexts == 34


def test_one_seed_in_many_contexts_is_enough():
    assert contrast(blocks(contexts=24, seeds=1)).grade == "A"


def test_the_order_of_types_needs_twenty_contexts():
    found = contrast(blocks(contexts=19))
    assert found.grade == "X"
    assert [str(gate) for gate in found.refused] == [
        "20 contexts: 19 distinct contexts have both types; at least 4 more runs needed"
    ]


def test_a_plan_is_for_the_declared_effect():
    frame = blocks(effect=0.0, contexts=20)
    found = contrast(frame, smallest_effect=0.002)
    (gate,) = (gate for gate in found.refused if gate.name.startswith("Holm"))
    d = frame[[design["arms"] == ["equal_flops"] for design in frame["design"]]]
    means = (
        d.groupby([d["design"].map(lambda each: each["context"]), "module_types"])["error"].mean().unstack()
    )
    sd = (means["residual"] - means["plain"]).std()
    needed = power.needed(0.002, sd, two_tests=True)
    assert f"{needed} contexts find an effect of 0.20 points in 4 of 5 studies" in gate.detail
    assert gate.missing == (needed - 20) * 4


def test_an_effect_that_turns_round_with_depth_is_said_to_be_an_average():
    frame = blocks(contexts=40, effect=0.01)
    deep = frame["blocks"].map(len) == 3
    frame.loc[deep & (frame["module_types"] == "residual"), "error"] += 0.015
    found = contrast(frame)
    (depth,) = (each for each in found.heterogeneity.interactions if each.covariate == "depth")
    assert depth.p < 0.01
    assert {s.name: s.effect.sign for s in depth.strata} == {"low depth": -1, "high depth": 1}
    assert "on average over contexts" in found.claim
    assert "the effect changes with depth" in found.claim
    assert "low depth" in analysis_text(analyze(frame))


def test_an_effect_that_is_alike_everywhere_is_not_called_an_average():
    assert "on average" not in contrast(blocks(contexts=40, seeds=1)).claim


def table_of_equal_effects(seed):
    """Five types in 40 contexts, whose effects are alike in all of them."""
    rng, rows = np.random.default_rng(seed), []
    effects = dict(
        zip(("plain", "residual", "bottleneck", "resnext", "fractal"), rng.normal(0, 0.02, 5), strict=True)
    )
    for context in range(40):
        usual, size = rng.normal(0.4, 0.05), np.exp(rng.uniform(12, 15))
        for kind, effect in effects.items():
            for flops in (size, 1e9):
                row = {"type": kind, "context": context, "seed": 0, "epochs": 12, "lr": 0.1, "flops": flops}
                row |= {"weight_decay": 5e-4, "budget": 1e9, "params": flops, "digest": f"{row}"}
                rows.append(row | {"error": usual + effect + rng.normal(0, 0.01)})
    return pd.DataFrame(rows)


def test_an_effect_seldom_seems_to_change_among_many_contrasts():
    """All tests of an estimand are adjusted together: 20 contrasts had such a sentence in 16 of 25 tables."""
    claims = [analyze_table(table_of_equal_effects(seed)).frame()["claim"] for seed in range(6)]
    assert sum(any("changes with" in claim for claim in found) for found in claims) <= 1


@pytest.mark.parametrize(
    ("shift", "grade"), [(0.0, "B"), (0.008, "B"), (0.025, "C")], ids=["same", "smaller", "reversed"]
)
def test_the_effect_at_a_longer_schedule_decides_about_grade_b(shift, grade):
    """The networks rank alike at both schedules in all three cases."""
    frame = blocks(contexts=30)
    residual = frame["module_types"] == "residual"
    longer = network_means(frame.assign(error=frame["error"] - 0.1 + shift * residual))
    found = contrast(frame, falls={}, longer=longer, longer_epochs=120)
    assert found.grade == grade
    assert found.change.contexts == 30
    assert found.change.change.low - 1e-9 <= shift <= found.change.change.high + 1e-9
    assert ("at 60 epochs, in this space and recipe" in found.claim) == (grade == "B")


def test_eight_contexts_at_least_are_trained_longer():
    frame = blocks(contexts=30)
    few = frame[frame["design"].map(lambda d: d["context"] < 7)]
    found = contrast(frame, falls={}, longer=network_means(few), longer_epochs=120)
    assert found.grade == "C"
    assert [str(gate) for gate in found.refused] == [
        "fidelity: 7 of 8 contexts were also trained longer; at least 2 more runs needed"
    ]


@pytest.mark.parametrize(("fall", "grade"), [(0.004, "A"), (0.006, "C"), (None, "C")])
def test_learning_curves_decide_whether_training_had_ended(fall, grade):
    falls = {} if fall is None else {"plain": fall, "residual": 0.0}
    assert contrast(blocks(), falls=falls).grade == grade


def test_a_curve_falls_by_what_the_last_tenth_of_it_says():
    from nas.analysis.paired.evidence import last_falls

    frame = blocks(contexts=2)
    curve = [{"val_error": 0.5 - 0.01 * epoch} for epoch in range(20)]
    falls = last_falls(frame.assign(curve=[curve] * len(frame)))
    assert falls == {"plain": pytest.approx(0.02), "residual": pytest.approx(0.02)}


def recipes(frame, better):
    """The grid, in which one type is better by so much with another recipe."""
    found = grid_of(frame)
    for (kind, recipe), by in better.items():
        found[recipe] = {d: e - by * (f"-{kind}-" in d) for d, e in found[recipe].items()}
    return found


def test_an_effect_that_turns_round_where_each_type_has_its_recipe_is_no_cause():
    frame = blocks(effect=0.01)
    wide = {(rate, decay): USUAL for rate in (0.05, 0.8) for decay in (1e-5, 1e-4, 5e-4, 1e-3, 1e-2)}
    grid = grid_of(frame)
    errors = network_means(frame)
    grid |= {recipe: {d: e + 0.03 for d, e in errors.items()} for recipe in wide}
    grid |= {
        (rate, decay): {d: e + 0.03 for d, e in errors.items()}
        for rate in (0.1, 0.2, 0.4)
        for decay in (1e-5, 1e-2)
    }
    grid[0.1, 5e-4] = {d: e - 0.03 * ("-plain-" in d) for d, e in errors.items()}
    found = contrast(frame, recipes=grid)
    assert found.tuned.best["plain"] == (0.1, 5e-4)
    assert found.tuned.at_edge == ()
    assert found.tuned.effect.sign == 1
    assert failed_gates(found) == {"recipe grid"}
    assert found.grade == "C"


def test_an_optimum_at_the_edge_of_the_grid_is_not_tuned():
    frame = blocks()
    found = contrast(frame, recipes=recipes(frame, {("plain", (0.1, 5e-4)): 0.05}))
    assert found.tuned.at_edge == ("plain",)
    assert "not tuned: the best recipe of plain is at the edge" in str(found.refused[0])


def test_a_grid_of_two_by_two_is_no_grid():
    frame = blocks()
    small = {r: e for r, e in grid_of(frame).items() if r[0] > 0.1 and r[1] > 1e-4}
    found = contrast(frame, recipes=small)
    assert found.tuned.contexts == 0
    assert found.grade == "C"


def test_a_type_that_fails_with_every_recipe_opens_no_gate():
    frame = blocks()
    grid = {
        r: {d: np.nan if "-plain-" in d else e for d, e in errors.items()}
        for r, errors in grid_of(frame).items()
    }
    found = contrast(frame, recipes=grid)
    assert failed_gates(found) == {"recipe grid"}
    assert "failed with every recipe" in str(found.refused[0])


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_an_unfinished_study_claims_nothing_and_shows_no_nan(rows):
    analysis = analyze(blocks()[:rows])
    assert set(analysis.grade) <= {"X"}
    text = "\n".join((analysis_text(analysis), *claim_lines(analysis)))
    assert "nan" not in text
    assert "no ranking is supported" in text
    assert any(line.startswith("X  N") for line in claim_lines(analysis))
    json.dumps(analysis_dict(analysis), allow_nan=False)


def test_the_report_has_both_estimands():
    frame = blocks(types=TYPES)
    analysis = analyze(frame, evidence=full_evidence(frame))
    text = " ".join(analysis_text(analysis).split())
    assert text.startswith("Estimand. Mean change of validation error when module type a is replaced")
    for part in (
        "E1, at the same shape:",
        "E2, at equal FLOPs:",
        "SD between contexts",
        "replacing plain by",
    ):
        assert part in text
    assert "The validation images are taken as fixed" in text
    found = analysis_dict(analysis)
    assert found["grade"] == analysis.grade
    assert {row["estimand"] for row in found["contrasts"]} == {"E1", "E2"}
    assert len(found["contrasts"]) == 6
    assert found["contrasts"][0].keys() >= {
        "a",
        "b",
        "estimand",
        "effect",
        "interval",
        "p",
        "grade",
        "claim",
        "missing",
    }


def test_without_evidence_the_grade_is_c_and_what_is_missing_is_said():
    found = analyze(blocks(), evidence=Evidence(epochs=8)).paired.contrasts[1]
    assert found.grade == "C"
    assert {gate.name for gate in found.refused} == {"recipe grid", "fidelity"}
    assert "is associated with" in found.claim
