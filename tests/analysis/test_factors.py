"""Shares of the variance of error against shares that are known."""

import json
import sys
from itertools import product

import numpy as np
import pandas as pd
import pytest
from testing.paths import ROOT, SHARED

from nas.analysis.analyze import analyze
from nas.analysis.factors.encoding import encode, factor_names, settings
from nas.analysis.factors.factors import MIN_R2, Interaction, factors_of
from nas.analysis.factors.ped_anova import nearest_to_front
from nas.analysis.text.factors import factor_parts
from nas.analysis.text.ranking import analysis_dict
from nas.formatting import to_text
from nas.stats.estimate import Estimate
from nas.visualization.plots.effects import interaction_figure

TABLES = SHARED / "data" / "tables"
NAN = float("nan")


def trials(decisions, error, **columns):
    """Complete trials of networks that are distinct where nothing else is said."""
    count = len(decisions)
    known = {
        "error": np.asarray(error, float),
        "flops": 1000 + np.arange(count) % 7,
        "digest": [f"{at:032x}" for at in range(count)],
        "decisions": decisions,
        "design": [{}] * count,
        "uniform": True,
        "seed": np.arange(count),
    }
    return pd.DataFrame(known | columns)


def found(frame, seed=0):
    return factors_of(frame, np.random.default_rng(seed))


def text(factors):
    return to_text(*factor_parts(factors, 0.1))


def row(factors, name):
    return next(each for each in factors.rows if each.name == name)


def pair(factors, a, b):
    return next(each.share for each in factors.interactions if {each.a, each.b} == {a, b})


def flat(count=None, seed=0):
    """Decisions of three factors, all 4 x 3 x 2 combinations or `count` draws, and an error of main
    effects and one interaction, whose variances are 5/4, 2/3, 0 and 3/2 (in points)."""
    options = ("plain", "residual", "resnext", "fractal"), (1, 2, 3), (False, True)
    rows = list(product(*options))
    if count:
        rng = np.random.default_rng(seed)
        rows = [rows[at] for at in rng.integers(len(rows), size=count)]
    decisions = [dict(zip(("type", "depth", "bias"), each, strict=True)) for each in rows]
    kind = np.array([options[0].index(each[0]) for each in rows]) - 1.5
    depth = np.array([each[1] for each in rows]) - 2.0
    sign = np.sqrt(1.5) * np.sign(kind) * (2 * np.array([each[2] for each in rows]) - 1)
    return decisions, 0.3 + 0.01 * (kind + depth + sign)


VARIANCES = np.array([5 / 4, 2 / 3, 3 / 2])


def test_the_anova_of_a_whole_table_is_exact():
    factors = found(trials(*flat()))
    kind, depth, both = VARIANCES / VARIANCES.sum()
    assert factors.method == "anova"
    assert row(factors, "type").main.value == pytest.approx(kind)
    assert row(factors, "type").total.value == pytest.approx(kind + both)
    assert row(factors, "depth").main.value == pytest.approx(depth)
    assert row(factors, "depth").total.value == pytest.approx(depth)
    assert row(factors, "bias").main.value == pytest.approx(0)
    assert row(factors, "bias").total.value == pytest.approx(both)
    assert pair(factors, "type", "bias").value == pytest.approx(both)
    assert [each.name for each in factors.rows] == ["type", "bias", "depth"]
    assert factors.interactions[0].share.low == factors.interactions[0].share.value


def test_a_table_with_a_hole_is_still_a_table_and_half_of_it_is_not():
    frame = trials(*flat())
    assert found(frame.drop(index=5)).method == "anova"
    assert found(frame.drop(index=[5, 6])).method == "shapley"


def test_shares_of_a_sample_hold_the_true_ones_in_their_limits():
    decisions, error = flat(200)
    error = error + np.random.default_rng(1).normal(0, 0.005, len(error))
    factors = found(trials(decisions, error))
    kind, depth, both = VARIANCES / (VARIANCES.sum() + 0.25)
    assert factors.method == "shapley"
    assert factors.grade == "C"
    assert factors.surrogate_r2 == pytest.approx(kind + depth + both, abs=0.05)
    for share, truth in ((row(factors, "type").main, kind), (row(factors, "depth").main, depth)):
        assert 0 < share.low < truth < share.high < 1
    for share in (row(factors, "bias").total, pair(factors, "type", "bias")):
        assert both / 2 < share.low < share.value < both  # what a sample cannot show is not in it
    assert row(factors, "bias").main.low == 0


@pytest.mark.slow
def test_the_limits_of_main_shares_hold_the_truth_as_often_as_they_say():
    held = []
    for seed in range(40):
        decisions, error = flat(80, seed)
        error = error + np.random.default_rng(seed).normal(0, 0.005, 80)
        factors = found(trials(decisions, error), seed)
        for name, truth in zip(("type", "depth"), VARIANCES / (VARIANCES.sum() + 0.25), strict=False):
            share = row(factors, name).main
            held.append(share.low <= truth <= share.high)
    assert 0.88 <= np.mean(held) <= 0.99


def test_shares_of_noise_are_refused_with_the_gate():
    decisions, _ = flat(100)
    factors = found(trials(decisions, np.random.default_rng(0).normal(0.3, 0.01, 100)))
    assert factors.grade == "X"
    assert factors.surrogate_r2 < 0.1
    assert [gate.name for gate in factors.refused] == [f"surrogate R² {MIN_R2:g}"]
    assert np.isnan(factors.rows[0].main.low)
    shown = text(factors)
    assert "X  no share of the variance is supported" in shown
    assert "surrogate R² 0.5: it explains 0%" in shown
    assert "main, %" not in shown
    assert "to the front" in shown


def test_the_samples_of_a_search_only_describe_it():
    decisions, error = flat(200)
    factors = found(trials(decisions, error, uniform=np.arange(200) % 2 == 0))
    assert factors.grade == "D"
    assert [gate.name for gate in factors.refused] == ["uniform samples only"]


def test_few_networks_have_no_shares():
    factors = found(trials(*flat(19)))
    assert factors.grade == "X"
    assert factors.refused[0].missing == 1
    assert all(np.isnan(each.main.value) for each in factors.rows)
    assert "1 more run needed" in text(factors)


def test_repeats_of_a_network_do_not_help_the_surrogate_to_predict_it():
    """Fifteen networks of noise, each under many decisions: known by heart, not predicted."""
    decisions, _ = flat(300)
    network = np.random.default_rng(2).integers(30, size=300)
    error = np.random.default_rng(3).normal(0.3, 0.01, 30)[network]
    for each, number in zip(decisions, network, strict=True):
        each["noise"] = int(number) % 6
    factors = found(trials(decisions, error, digest=[f"{n:032x}" for n in network]))
    assert factors.networks == 30
    assert factors.surrogate_r2 < 0.1


def test_contexts_of_paired_blocks_count_once():
    decisions, error = flat(120)
    design = [{"design": "paired", "context": at // 8, "type": "a"} for at in range(120)]
    factors = found(trials(decisions, error, design=design))
    assert factors.networks == 120
    assert (factors.refused[0].name, factors.refused[0].missing) == ("20 networks", 5)


def staged(count, seed=0, stages=3):
    """Networks with a type and a norm a stage; residual has a shortcut too."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        chosen = {}
        for stage in range(1, stages + 1):
            kind = str(rng.choice(["plain", "residual"]))
            chosen[f"stage{stage}.type"] = kind
            chosen[f"stage{stage}.{kind}.norm"] = str(rng.choice(["after_conv", "pre_activation"]))
            chosen[f"stage{stage}.width"] = int(rng.choice([8 * stage, 16 * stage]))
            if kind == "residual":
                chosen[f"stage{stage}.residual.shortcut"] = str(rng.choice(["A", "B"]))
        rows.append(chosen)
    return rows


def pre(each, stage):
    return any(each.get(f"stage{stage}.{kind}.norm") == "pre_activation" for kind in ("plain", "residual"))


def residual(each, stage):
    return each[f"stage{stage}.type"] == "residual"


def test_conditional_decisions_of_one_name_are_one_factor():
    encoded = encode(staged(50))
    assert set(factor_names(encoded).values()) == {"type", "norm", "width", "shortcut"}
    places = settings(encoded)
    assert {setting.place for setting in places["norm"]} == {"stage1.", "stage2.", "stage3."}
    assert all((setting.level >= 0).all() for setting in places["norm"])
    assert any((setting.level < 0).any() for setting in places["shortcut"])


def test_widths_of_different_stages_count_by_rank():
    places = settings(encode(staged(50)))["width"]
    for stage, setting in enumerate(places, 1):
        widths = [each[f"stage{stage}.width"] for each in staged(50)]
        assert setting.level.tolist() == [int(width == 16 * stage) for width in widths]


def test_many_options_of_a_number_become_few_levels():
    (setting,) = settings(encode([{"width": 8 * at} for at in range(1, 41)]))["width"]
    assert setting.level.tolist() == sorted(setting.level.tolist())
    assert np.bincount(setting.level).tolist() == [8] * 5


@pytest.mark.parametrize(
    ("effect", "factor", "interaction"),
    [
        (lambda each: sum(residual(each, s) for s in (1, 2, 3)), "type", None),
        (lambda each: sum(pre(each, s) for s in (1, 2, 3)), "norm", None),
        (lambda each: residual(each, 3) - residual(each, 1), None, ("type", "stage")),
        (lambda each: sum((residual(each, s) == pre(each, s)) for s in (1, 2, 3)), None, ("type", "norm")),
    ],
)
def test_each_effect_goes_to_what_it_is_an_effect_of(effect, factor, interaction):
    decisions = staged(150)
    error = [0.3 + 0.01 * effect(each) for each in decisions]
    factors = found(trials(decisions, np.array(error) + np.random.default_rng(0).normal(0, 0.003, 150)))
    assert factors.grade == "C"
    assert np.isnan(row(factors, "stage").main.value)
    for each in factors.rows:
        share = np.nan_to_num(each.main.value)
        assert share > 0.8 if each.name == factor else share < 0.1
    for each in factors.interactions:
        expected = {each.a, each.b} == set(interaction or ())
        assert each.share.value > 0.7 if expected else each.share.value < 0.1


def test_the_noise_ceiling_is_what_seeds_leave():
    rng = np.random.default_rng(0)
    decisions, error = flat(150)
    errors = np.tile(error, 2) + rng.normal(0, 0.01, 300)
    digests = [f"{at:032x}" for at in range(150)] * 2
    frame = trials(decisions * 2, errors, seed=np.arange(300) // 150, digest=digests)
    truth = VARIANCES.sum() / (VARIANCES.sum() + 0.5)
    assert found(frame).noise_ceiling == pytest.approx(truth, abs=0.05)
    assert np.isnan(found(frame[:150]).noise_ceiling)
    reused = frame.assign(seed=0, error=[*frame["error"][:150], *frame["error"][:150]])
    assert np.isnan(found(reused).noise_ceiling)  # a result taken over is no repeat
    assert "the noise is unknown" in text(found(reused))


def test_the_front_is_widened_until_it_is_enough():
    error, flops = np.array([1.0, 2, 3, 4, 5, 6, 7]), np.array([1.0, 2, 3, 4, 5, 0.5, 7])
    assert np.flatnonzero(nearest_to_front(error, flops)).tolist() == [0, 1, 2, 3, 5]
    assert nearest_to_front(error[:3], flops[:3]).all()


def test_what_leads_to_the_front_is_not_what_leads_to_the_top():
    rng = np.random.default_rng(0)
    decisions = [{"width": int(rng.integers(2)), "type": str(rng.choice(["a", "b"]))} for _ in range(400)]
    kind = np.array([each["type"] == "b" for each in decisions])
    wide = np.array([each["width"] for each in decisions])
    error = 0.3 - 0.1 * wide - 0.02 * kind + rng.normal(0, 0.01, 400)
    factors = found(trials(decisions, error, flops=1000 * (1 + 3 * wide) + rng.integers(100, size=400)))
    assert row(factors, "width").top > 0.3
    assert row(factors, "width").front < 0.1


def test_the_same_trials_have_the_same_factors_and_their_json_has_no_nan():
    decisions, error = flat(60)
    frame = trials(decisions, error, state="complete", params=1, blocks=[("a",)] * 60)
    shown, again = (json.dumps(analysis_dict(analyze(frame)), allow_nan=False) for _ in range(2))
    assert shown == again
    shown = json.loads(shown)["factors"]
    assert set(shown) >= {
        "method",
        "rows",
        "interactions",
        "noise_ceiling",
        "surrogate_r2",
        "grade",
        "refused",
    }
    assert shown["noise_ceiling"] is None
    assert set(shown["rows"][0]) == {"name", "main", "total", "top", "front"}


@pytest.mark.parametrize("count", [0, 1, 30])
def test_without_a_decision_that_varies_there_are_no_factors(count):
    assert found(trials([{"type": "plain"}] * count, np.linspace(0.1, 0.2, count))) is None


def test_equal_errors_have_no_variance_to_share():
    decisions, _ = flat()
    factors = found(trials(decisions, np.full(len(decisions), 0.5)))
    assert factors.grade == "X"
    assert "nan" not in text(factors)


def test_blocks_alone_tell_type_and_depth():
    rng = np.random.default_rng(0)
    blocks = [tuple(map(str, rng.choice(["a", "b"], rng.integers(2, 5)))) for _ in range(150)]
    error = [0.3 + 0.05 * row.count("b") / len(row) + 0.02 * len(row) for row in blocks]
    factors = found(trials([{}] * 150, error, blocks=blocks).drop(columns="decisions"))
    assert {each.name for each in factors.rows} == {"type", "depth", "block"}
    assert row(factors, "type").main.value + row(factors, "depth").main.value > 0.9


@pytest.mark.slow
@pytest.mark.skipif(not TABLES.is_dir(), reason="the tables of shared/ are not here")
def test_nas_bench_macro_has_its_main_and_pairwise_shares():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import analysis_macro

    factors = analyze(analysis_macro.load(TABLES)).factors
    assert factors.method == "anova"
    assert factors.networks == 3969
    assert sum(each.main.value for each in factors.rows) == pytest.approx(0.694, abs=0.01)
    assert sum(each.share.value for each in factors.interactions) == pytest.approx(0.206, abs=0.01)


def test_interactions_are_drawn_of_the_factors_that_have_a_share():
    main = {"type": 0.77, "norm": 0.034, "stage": float("nan"), "stem.kernel": 0.0}
    pairs = (("type", "norm", 0.028), ("type", "stage", 0.01), ("stem.kernel", "type", 0.004))
    found = [Interaction(a, b, Estimate(share, share, share)) for a, b, share in pairs]
    (axes,) = interaction_figure(main, found, 12).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["type", "norm", "stage"]
    assert {text.get_text() for text in axes.texts} == {"77", "3.4", "2.8", "1.0"}
    (axes,) = interaction_figure({"type": 0.0}, [], 12).axes
    assert [text.get_text() for text in axes.texts] == ["0.0"]
