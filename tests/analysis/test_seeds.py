"""What trainings with further seeds say, against laws and simulations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.analysis.seeds import budget_correlation, front_shares, repeated, seed_difference, seed_interval
from nas.analysis.text.seeds import seeds_columns, seeds_dict, seeds_notes
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.study.trial import Proposal, Trial

by_seed = st.dictionaries(st.integers(0, 9), st.floats(0, 1), min_size=1, max_size=6)


def trainings(rows, epochs=2):
    """Trials of networks (one a row) with an error a seed (None: it diverged), all of other FLOPs."""
    space = load_space("residual_vs_fractal")
    found = []
    for row, errors in enumerate(rows):
        genotype = space.sample(row)
        for seed, error in enumerate(errors, start=1):
            found.append(
                Trial(
                    number=len(found),
                    proposal=Proposal(genotype, "reseed", design={"trial": row, "seed": seed}),
                    state="failed" if error is None else "complete",
                    reason="diverged" if error is None else "",
                    error=error,
                    cost=cost(expand(genotype, space.input_shape, space.num_classes)),
                    decisions={},
                    seed=seed,
                    epochs=epochs,
                )
            )
    return found


def test_interval_of_a_mean_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        covered = 0
        for _ in range(1000):
            found = seed_interval(rng.normal(0.1, 0.02, seeds).tolist())
            covered += found.low <= 0.1 <= found.high
        assert 930 <= covered <= 970


def test_one_seed_has_no_interval_and_none_has_no_error():
    one, none = seed_interval([0.25]), seed_interval([])
    assert one.value == 0.25
    assert np.isnan([one.low, one.high, none.value]).all()


@settings(max_examples=60, deadline=None)
@given(by_seed, by_seed)
def test_difference_changes_its_sign_with_the_order(a, b):
    there, back = seed_difference(a, b), seed_difference(b, a)
    forth = [there.value, there.low, there.high]
    assert forth == pytest.approx([-back.value, -back.high, -back.low], nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(by_seed)
def test_a_network_does_not_differ_from_itself(a):
    found = seed_difference(a, a)
    assert found.value == 0
    assert (found.low, found.high) == (0, 0) if len(a) > 1 else np.isnan(found.low)


def test_what_a_seed_does_to_both_cancels():
    luck = {1: 0.00, 2: 0.20, 3: 0.40}
    better = {seed: value + 0.30 + 0.001 * seed for seed, value in luck.items()}
    paired, apart = (
        seed_difference(luck, {seed + moved: v for seed, v in better.items()}) for moved in (0, 10)
    )
    assert paired.value == pytest.approx(apart.value)
    assert paired.low > 0 > apart.low


def test_independent_seeds_cover_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        a = dict(enumerate(rng.normal(0.1, 0.01, 4)))
        b = {seed + 10: v for seed, v in enumerate(rng.normal(0.15, 0.03, 6))}
        found = seed_difference(a, b)
        covered += found.low <= 0.05 <= found.high
    assert 930 <= covered <= 970


def shares(errors, flops):
    errors = np.asarray(errors, float)
    values = np.stack([errors, np.broadcast_to(np.array(flops, float)[:, None], errors.shape)], axis=2)
    return front_shares(values, np.random.default_rng(0))


def test_members_far_apart_stay_and_a_toss_up_comes_and_goes():
    sure = [[0.50, 0.51, 0.52], [0.30, 0.31, 0.29], [0.10, 0.11, 0.12]]
    assert shares(sure, [1, 2, 3]).tolist() == [1, 1, 1]
    noise = [0.05, -0.05, 0.02, -0.02]
    luck = [[0.3 + x for x in noise], [0.3 - x for x in noise]]
    first, second = shares(luck, [1, 2])
    assert first == 1  # the cheapest is always on the front
    assert 0.3 < second < 0.7


def test_shares_are_those_of_the_true_distribution():
    """Of two members 0.01 apart, with a mean of known spread, the better one by a normal's share."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(200):
        errors = np.array([[0.5] * 5, rng.normal(0.5, 0.05, 5)])
        found.append(shares(errors, [1, 2])[1])
    # Where nothing tells them apart, the share is uniform: neither bunched at 0 and 1 nor at a half.
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.08)


def test_without_two_seeds_shares_are_not_known():
    assert np.isnan(shares([[0.5], [0.3]], [1, 2])).all()
    assert np.isnan(shares([[0.5, 0.5], [0.3, np.nan]], [1, 2])).all()


def test_a_member_that_may_diverge_is_not_sure_of_its_place():
    assert shares([[0.5, 0.5, 0.5], [0.3, 0.3, np.nan]], [1, 2])[1] < 1


def test_every_objective_that_a_training_measures_is_resampled():
    """By the trainings of the search both are on the front; by the further ones the dearer one never is."""
    first, second = trainings([(0.5,), (0.3,)])
    cheap, dear = sorted((first, second), key=lambda trial: trial.cost.flops)

    def training(network, seed, balanced):
        row = {"epoch": 2, "val_balanced_error": balanced}
        return replace(network, number=seed, seed=seed, curve=(row,))

    members = [training(cheap, 0, 0.8), training(dear, 0, 0.7)]
    further = [training(cheap, seed, 0.8 + seed / 100) for seed in (1, 2, 3)]
    further += [training(dear, seed, 0.9 + seed / 100) for seed in (1, 2, 3)]
    names = ("balanced_error", "flops")
    (found,) = repeated(members, further, names)
    assert [member.front_share for member in found.members] == [1, 0]
    (found,) = repeated(members, [replace(trial, curve=()) for trial in further], names)
    assert np.isnan([member.front_share for member in found.members]).all()


def test_errors_are_gathered_by_network_budget_and_seed():
    known = [*trainings([(0.5, 0.6), (0.4, None)]), *trainings([(0.3, 0.3)], epochs=4)]
    members = trainings([(0.55,), (0.45,)])
    short, long = repeated(members, [*known, *trainings([(), (), (0.9,)])], ("error", "flops"))
    assert (short.epochs, short.seeds, long.epochs) == (2, 2, 4)
    assert [m.errors for m in short.members] == [(0.5, 0.6), (0.4,)]
    assert [m.failed for m in short.members] == [0, 1]
    assert [m.errors for m in long.members] == [(0.3, 0.3), ()]


def test_a_training_that_was_repeated_after_a_crash_counts_once():
    crashed, again = trainings([(None, 0.5)])
    both = [crashed, replace(again, seed=crashed.seed)]
    (found,) = repeated([again], both, ("error", "flops"))
    assert (found.members[0].errors, found.members[0].failed) == ((0.5,), 0)


def test_the_text_says_what_failed_what_is_missing_and_who_is_marked():
    members = trainings([(0.30,), (0.29,)])
    found = repeated(
        members, trainings([(0.30, 0.35, 0.32), (0.33, 0.30, None)]) + trainings([(), ()]), ("error", "flops")
    )
    columns = dict(seeds_columns(found))
    cells = columns["2 epochs, 3 seeds"]
    assert "(1 of 3 failed)" in cells[1]
    assert "failed" not in cells[0]
    assert sum("*" in cell for cell in columns["on front>"].values()) == sum(
        m["depends_on_seed"] for m in seeds_dict(found, 2)[0]["members"]
    )
    assert "points higher on average" in " ".join(seeds_notes(found, 2))
    assert seeds_notes([], 2) == []


def test_the_correlation_takes_means_over_seeds_where_both_budgets_have_them():
    rows = [(0.5, 0.52), (0.4, 0.41), (0.3, 0.28), (0.2, 0.22)]
    members = trainings([(row[0],) for row in rows])
    longer = [(0.45, 0.44), (0.35, 0.36), (0.25, 0.26), (0.15, 0.16)]
    both = repeated(members, trainings(rows) + trainings(longer, epochs=9), ("error", "flops"))
    rho = seeds_dict(both, 2)[1]["rank_correlation"]
    assert (rho["value"], rho["networks"], rho["means_over_seeds"]) == (1, 4, True)
    assert seeds_dict(both, 2)[0]["rank_correlation"] is None
    alone = repeated(members, trainings(longer, epochs=9), ("error", "flops"))
    assert not seeds_dict(alone, 2)[0]["rank_correlation"]["means_over_seeds"]
    assert "between 2 and 9 epochs: +1.00" in " ".join(seeds_notes(alone, 2))


def test_two_members_have_no_rank_correlation():
    assert np.isnan(budget_correlation([0.1, 0.2], [0.1, 0.2]).value)
