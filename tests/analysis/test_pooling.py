"""Runs that are pooled, runs that are evidence, and runs that are neither."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
from testing.configs import make_config
from testing.paired_trials import blocks

from nas.analysis.paired.recipes import is_grid
from nas.analysis.pooling import analyze
from nas.analysis.text.ranking import analysis_text
from nas.errors import NasError

RECIPE = {"epochs": 8, "cutout": 0, "lr": 0.2, "weight_decay": 5e-4, "batch_size": 128}


GRID = ({"weight_decay": 1e-3}, {"lr": 0.1}, {"lr": 0.1, "weight_decay": 1e-3})
"""With the recipe above, two learning rates with two weight decays."""


def run(frame, name="run", data="digits", data_fingerprint="f", **recipe):
    config = make_config({**RECIPE, **recipe}, data=data, data_fingerprint=data_fingerprint)
    return SimpleNamespace(name=name, config=config, study=frame)


def gates(analysis):
    return {gate.name: gate.passed for gate in analysis.paired.contrasts[0].gates}


def test_runs_that_agree_are_pooled_wherever_their_data_lay():
    other = blocks(contexts=8, rng=1)
    other["digest"] = "other-" + other["digest"]
    analysis = analyze([run(blocks(contexts=16)), run(other, data="elsewhere")])
    assert analysis.paired.contexts == 24


def test_a_longer_run_is_evidence_of_fidelity():
    short = blocks(contexts=24)
    noisy = short.assign(error=short["error"].sample(frac=1, random_state=0).to_numpy())
    assert not gates(analyze([run(short)]))["fidelity"]
    faithful = analyze([run(short), run(short[:60], epochs=30, cutout=8)])
    assert gates(faithful)["fidelity"]
    assert faithful.paired.contexts == 24
    assert faithful.paired.evidence.fidelity.value == pytest.approx(1)
    assert not gates(analyze([run(short), run(noisy, epochs=30)]))["fidelity"]
    assert not gates(analyze([run(short), run(short[:20], epochs=30)]))["fidelity"]


def first_contexts(frame, contexts=5):
    return frame[frame["design"].map(lambda design: design["context"] < contexts)]


def test_a_grid_of_recipes_opens_its_gate():
    frame = blocks()
    part = first_contexts(frame)
    others = [run(part, **recipe) for recipe in GRID]
    analysis = analyze([run(frame), *others])
    assert gates(analysis)["recipe grid"]
    assert analysis.paired.contexts == 24
    assert analysis.paired.evidence.tuned.contexts == 5
    begun = frame["design"].map(lambda design: design["context"] == 5 and design["type"] == "plain")
    more = pd.concat([part, frame[begun]])
    unfinished = [run(more, **recipe) for recipe in ({}, *GRID)]
    assert analyze(unfinished).paired.evidence.tuned.contexts == 5
    for fewer in (
        others[1:],
        others[:-1],
        [*others[:-1], run(first_contexts(frame, 4), lr=0.1, weight_decay=1e-3)],
    ):
        assert not gates(analyze([run(frame), *fewer]))["recipe grid"]


def test_an_effect_that_turns_round_where_each_type_has_its_recipe_is_no_cause():
    frame = blocks(effect=0.03)
    part = first_contexts(frame)
    plain = part["design"].map(lambda design: design["type"]) == "plain"
    suits = part.assign(error=part["error"] - 0.1 * plain)
    fails = part.assign(state="failed", error=None)
    others = [run(suits, lr=0.1), run(part, weight_decay=1e-3), run(fails, lr=0.1, weight_decay=1e-3)]
    analysis = analyze([run(frame), *others])
    tuned = analysis.paired.evidence.tuned
    assert tuned.best["plain"] == (0.1, 5e-4)
    assert len(tuned.recipes) == 4
    assert tuned.untuned["plain"] == pytest.approx(tuned.errors["plain"] + 0.1)
    assert tuned.effect("plain", "residual") > 0 > analysis.paired.contrasts[0].equal_flops.value
    found = gates(analysis)
    assert found["recipe grid"]
    assert not found["same sign with tuned recipes"]
    assert "best of 4 recipes, over 5 contexts" in analysis_text(analysis)


@pytest.mark.parametrize(
    ("recipes", "grid"),
    [
        ([(0.1, 1e-4), (0.1, 1e-3), (0.2, 1e-4), (0.2, 1e-3)], True),
        ([(0.1, 1e-4), (0.1, 1e-3), (0.1, 1e-2), (0.2, 1e-4)], False),
        ([(0.1, 1e-4), (0.2, 1e-3), (0.3, 1e-2), (0.4, 1e-1)], False),
        ([], False),
    ],
)
def test_a_grid_crosses_learning_rates_with_weight_decays(recipes, grid):
    assert is_grid(recipes) == grid


@pytest.mark.parametrize("changed", [{"data_fingerprint": "g"}, {"batch_size": 64}, {"epochs": 4}])
def test_runs_that_differ_are_refused_and_what_differs_is_named(changed):
    with pytest.raises(NasError) as caught:
        analyze([run(blocks()[:40], "one"), run(blocks()[:40], "two", **changed)])
    assert next(iter(changed)) in caught.value.hint
    assert "two" in caught.value.where


def test_contrasts_are_a_frame_with_flat_columns():
    frame = analyze([run(blocks())]).frame()
    (row,) = frame.to_dict("records")
    assert (row["sample"], row["a"], row["b"], row["grade"]) == ("paired blocks", "plain", "residual", "C")
    assert row["equal_flops_low"] < row["equal_flops"] < row["equal_flops_high"]
    assert "recipe grid" in row["refused"]
    assert not any(isinstance(value, dict | list) for value in row.values())
