"""Runs that are pooled, runs that are evidence, and runs that are neither."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
from testing.configs import make_config
from testing.paired_trials import blocks
from testing.trials import a_trial

from nas.analysis.pooling import analyze
from nas.analysis.table import trial_table
from nas.analysis.text.ranking import analysis_text
from nas.errors import NasError
from nas.space.load import load_space, parse_space
from nas.study.history import History
from nas.study.trial import Proposal

SPACE = load_space("five_types")
USUAL = {"lr": 0.2, "weight_decay": 5e-4}
RECIPE = {"epochs": 8, "cutout": 0, "lr": 0.2, "weight_decay": 5e-4, "batch_size": 128}


GRID = [
    {"lr": lr, "weight_decay": decay}
    for lr in (0.1, 0.2, 0.4)
    for decay in (1e-4, 5e-4, 1e-3)
    if (lr, decay) != (0.2, 5e-4)
]
"""With the recipe above, a 3x3 grid."""


def run(frame, name="run", data="digits", data_fingerprint="f", searcher="paired", space=SPACE, **recipe):
    settings = {"data": data, "data_fingerprint": data_fingerprint, "searcher": searcher}
    config = make_config({**RECIPE, **recipe}, **settings)
    return SimpleNamespace(name=name, config=config, study=frame, space=space)


def gates(analysis):
    return {gate.name: gate.passed for gate in analysis.paired.contrasts[0].gates}


def test_runs_that_agree_are_pooled_wherever_their_data_lay():
    other = blocks(contexts=8, rng=1)
    other["digest"] = "other-" + other["digest"]
    analysis = analyze([run(blocks(contexts=16)), run(other, data="elsewhere")])
    assert analysis.paired.contexts == 24


def crossed(frame, worse):
    """The frame under every recipe of the grid, as a design that takes the recipe as a factor records it.
    `worse` says by how much a type errs more off the recipe of the study."""
    frames = [frame.assign(network_digest=frame["digest"], own_recipe=[{**USUAL}] * len(frame))]
    for recipe in GRID:
        digest = frame["digest"] + f"-{recipe['lr']}-{recipe['weight_decay']}"
        error = frame["error"] + frame["module_types"].map(worse)
        frames.append(
            frame.assign(
                digest=digest,
                network_digest=frame["digest"],
                own_recipe=[recipe] * len(frame),
                error=error,
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_a_design_that_takes_the_recipe_as_a_factor_brings_its_grid():
    """Pairs are of one recipe: how much worse a type is under others moves no effect, and 9 recipes of a
    context are no further contexts or seeds."""
    alone = analyze(run(blocks()))
    one = analyze(run(crossed(blocks(), {"plain": 0.01, "residual": 0.05})))
    assert one.trials == 9 * alone.trials
    assert one.networks == alone.networks
    assert (one.paired.contexts, one.paired.seeds) == (alone.paired.contexts, alone.paired.seeds)
    for a, b in zip(alone.paired.contrasts, one.paired.contrasts, strict=True):
        assert (a.effect, a.p) == (b.effect, b.p)
    assert not gates(alone)["recipe grid"]
    assert gates(one)["recipe grid"]
    tuned = one.paired.contrasts[0].tuned
    assert (tuned.contexts, len(tuned.recipes)) == (24, 9)
    assert tuned.best == {"plain": (0.2, 5e-4), "residual": (0.2, 5e-4)}


def test_a_crossed_run_and_one_under_a_recipe_of_its_grid_are_pooled():
    other = blocks(contexts=8, rng=1)
    other["digest"] = "other-" + other["digest"]
    pooled = analyze([run(other), run(crossed(blocks(), {"plain": 0.01, "residual": 0.01}))])
    assert pooled.paired.contexts == 32
    assert gates(pooled)["recipe grid"]


def test_searches_that_tried_other_recipes_are_not_pooled():
    varied = parse_space(SPACE.to_yaml() + "recipe: {lr: [0.2, 0.1]}\n", "varied")
    one, two = run(blocks()[:40], "one", searcher="random"), blocks()[40:80]
    analyze([one, run(two, "two", searcher="random")])
    tried = two.assign(own_recipe=[{"lr": 0.1}] * len(two))
    with pytest.raises(NasError, match="differs from one") as caught:
        analyze([one, run(tried, "two", searcher="random", space=varied)])
    assert "searched recipe" in caught.value.hint


def test_uniform_samples_are_those_of_recipes_drawn_uniformly():
    """A searcher that found a good recipe for a network has chosen that training by results."""
    drawn = blocks(contexts=40).assign(design=[{}] * 320)
    drawn = drawn.assign(network_digest=drawn["digest"])
    steered = drawn.assign(digest=drawn["digest"] + "-tuned", uniform=False, error=drawn["error"] / 2)
    visited, uniform = analyze(run(pd.concat([drawn, steered]), searcher="random")).comparisons
    (alone,) = analyze(run(drawn, searcher="random")).comparisons
    assert (visited.networks, uniform.networks) == (alone.networks, alone.networks)
    assert visited.sample == "networks that the search visited"
    assert [t.raw.value for t in uniform.types] == [t.raw.value for t in alone.types]
    assert visited.types[0].raw.value == pytest.approx(0.75 * alone.types[0].raw.value)
    assert {c.grade for c in visited.contrasts} == {"D"}


def by_type(recipe):
    """A history of six trials of a space whose recipe has one field."""
    text = "name: s\nvary: network\nmodules: [plain, residual]\nstages: [{depth: 2, width: [4, 6, 8]}]\n"
    space, history = parse_space(f"{text}recipe: {{{recipe}}}\n", "s"), History()
    for number in range(6):
        genotype = space.sample(number)
        trial = a_trial(number, proposal=Proposal(genotype, "random"), decisions=space.decisions(genotype))
        history.record(trial)
    return history


def test_module_types_with_recipes_of_their_own_are_not_ranked():
    """Error falls with the rate that one type has: a difference of types would be one of recipes."""
    assert not trial_table(by_type("lr: [0.05, 0.2]"))["recipe_by_type"].any()
    assert trial_table(by_type("lr: {by: type, plain: 0.2, residual: 0.1}"))["recipe_by_type"].all()
    frame = blocks(contexts=40).assign(design=[{}] * 320)
    assert analyze(run(frame, searcher="random")).grade == {"D": 1}
    refused = analyze(run(frame.assign(recipe_by_type=True), searcher="random"))
    assert refused.grade == {"X": 1}
    assert "recipes of their own" in analysis_text(refused)


def first_contexts(frame, contexts=5):
    return frame[frame["design"].map(lambda design: design["context"] < contexts)]


def test_a_longer_run_is_evidence_of_fidelity():
    short = blocks(contexts=24)
    reversed_ = short.assign(error=short["error"] + 0.05 * (short["module_types"] == "residual"))
    assert not gates(analyze([run(short)]))["fidelity"]
    faithful = analyze([run(short), run(first_contexts(short, 8), epochs=30, cutout=8)])
    assert gates(faithful)["fidelity"]
    assert faithful.paired.contexts == 24
    assert faithful.paired.contrasts[0].change.contexts == 8
    assert faithful.paired.evidence.longer_epochs == 30
    assert not gates(analyze([run(short), run(reversed_, epochs=30)]))["fidelity"]
    assert not gates(analyze([run(short), run(first_contexts(short, 7), epochs=30)]))["fidelity"]


def test_a_grid_of_recipes_opens_its_gate():
    frame = blocks()
    part = first_contexts(frame)
    worse = part.assign(error=part["error"] + 0.01)
    others = [run(worse, **recipe) for recipe in GRID]
    analysis = analyze([run(frame), *others])
    assert gates(analysis)["recipe grid"]
    assert analysis.paired.contexts == 24
    tuned = analysis.paired.contrasts[0].tuned
    assert tuned.contexts == 5
    assert tuned.best == {"plain": (0.2, 5e-4), "residual": (0.2, 5e-4)}
    assert "Each type with the recipe of a grid" in analysis_text(analysis)
    for fewer in (others[1:], others[:-1], [*others[:-1], run(first_contexts(worse, 4), **GRID[-1])]):
        assert not gates(analyze([run(frame), *fewer]))["recipe grid"]


def test_a_smallest_effect_is_declared_as_a_fraction():
    frame = blocks(effect=0.0, contexts=40)
    assert analyze(run(frame)).paired.contrasts[1].equivalent
    assert not analyze(run(frame), smallest_effect=0.0005).paired.contrasts[1].equivalent
    with pytest.raises(NasError, match="not a smallest effect"):
        analyze(run(frame), smallest_effect=5)


@pytest.mark.parametrize("changed", [{"data_fingerprint": "g"}, {"batch_size": 64}, {"epochs": 4}])
def test_runs_that_differ_are_refused_and_what_differs_is_named(changed):
    with pytest.raises(NasError) as caught:
        analyze([run(blocks()[:40], "one"), run(blocks()[:40], "two", **changed)])
    assert next(iter(changed)) in caught.value.hint
    assert "two" in caught.value.where


def test_contrasts_are_a_frame_with_flat_columns():
    frame = analyze([run(blocks())]).frame()
    _, row = frame.to_dict("records")
    assert (row["sample"], row["a"], row["b"], row["estimand"]) == (
        "paired contexts",
        "plain",
        "residual",
        "E2",
    )
    assert row["grade"] == "C"
    assert row["effect_low"] < row["effect"] < row["effect_high"]
    assert "recipe grid" in row["refused"]
    assert not any(isinstance(value, dict | list) for value in row.values())


def test_runs_with_rungs_and_without_are_not_pooled():
    """Each cycle of the rate between rungs begins with its peak, so equal epochs give other errors."""
    halved = run(blocks(contexts=8, rng=1), name="halved")
    halved.config = halved.config.model_copy(update={"fidelity": (1, 8)})
    with pytest.raises(NasError, match="differs from run") as caught:
        analyze([run(blocks(contexts=16)), halved])
    assert "fidelity" in caught.value.hint
