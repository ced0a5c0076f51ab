"""Error against each decision, on networks whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from nas.analysis.factors.decisions import decision_effects


def trials(count=300, seed=0, chosen=False):
    """Wide networks are better by 5 points, sum joins by 1; `chosen` ties the join to the width."""
    rng = np.random.default_rng(seed)
    width = rng.choice([8, 16, 32], count)
    join = rng.choice(["add", "concat"], count)
    if chosen:
        join = np.where(rng.random(count) < 0.9, np.where(width == 32, "add", "concat"), join)
    error = 0.3 - 0.05 * (width == 32) - 0.01 * (join == "add") + rng.normal(0, 0.01, count)
    return pd.DataFrame(
        {
            "state": "complete",
            "error": error,
            "flops": 1e6,
            "digest": [str(at) for at in range(count)],
            "blocks": [("plain",)] * count,
            "design": [{}] * count,
            "uniform": True,
            "seed": range(count),
            "decisions": [{"width": int(w), "join": str(j)} for w, j in zip(width, join, strict=True)],
        }
    )


def test_options_have_their_mean_error_and_the_best_networks_take_the_best():
    width, join = decision_effects(trials())
    assert [effect.path for effect in (width, join)] == ["width", "join"]
    assert [option.value for option in width.options] == [8, 16, 32]
    assert sum(option.networks for option in width.options) == 300
    wide = width.options[-1]
    assert wide.error.value == pytest.approx(0.245, abs=0.003)
    assert wide.error.low < 0.245 < wide.error.high
    assert wide.best > 0.99
    assert (width.range.value, width.range.low) == (32, 32)
    assert np.isnan(join.range.value)
    assert sum(option.best for option in join.options) == pytest.approx(1)


def test_partial_dependence_holds_other_decisions_constant():
    width, join = decision_effects(trials(chosen=True))
    add, concat = join.options
    assert concat.error.value - add.error.value > 0.04  # joins differ in width too
    assert concat.partial.value - add.partial.value == pytest.approx(0.01, abs=0.005)
    assert add.partial.low < add.partial.value < add.partial.high
    narrow, wide = width.options[0], width.options[-1]
    assert wide.partial.value - narrow.partial.value == pytest.approx(-0.05, abs=0.005)


def test_a_decision_that_comes_up_in_part_of_the_networks_is_described_over_these():
    frame = trials()
    frame["decisions"] = [row if row["join"] == "add" else {"join": "concat"} for row in frame["decisions"]]
    effects = {effect.path: effect for effect in decision_effects(frame)}
    assert (
        sum(option.networks for option in effects["width"].options)
        == (frame["decisions"].map(len) == 2).sum()
    )
    assert effects["width"].options[-1].partial.value == pytest.approx(0.24, abs=0.005)


def test_what_opens_a_decision_has_a_partial_dependence_too():
    frame = trials()
    frame["decisions"] = [
        {"type": row["join"]} | ({"add.width": row["width"]} if row["join"] == "add" else {})
        for row in frame["decisions"]
    ]
    effects = {effect.path: effect for effect in decision_effects(frame)}
    for option in effects["type"].options:
        assert option.partial.value == pytest.approx(option.error.value, abs=1e-6)


def test_few_networks_have_no_partial_dependence_and_no_decisions_no_effect():
    width, *_ = decision_effects(trials(20))
    assert all(np.isnan(option.partial.value) for option in width.options)
    assert not any(np.isnan(option.error.value) for option in width.options)
    frame = trials(20)
    assert decision_effects(frame.drop(columns="decisions")) == ()
    assert decision_effects(frame.assign(decisions=[{"width": 8}] * 20)) == ()
    assert decision_effects(frame.assign(state="failed")) == ()
