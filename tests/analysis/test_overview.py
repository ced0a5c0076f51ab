"""What a report shows, from data whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from testing.paired_trials import SEED_SD, blocks

from nas.analysis.coverage import coverage, failures, timing
from nas.analysis.paired.blocks import read_blocks
from nas.analysis.profiles import from_blocks, from_networks, profiles
from nas.analysis.reliability import fidelities, repeats, seed_intervals
from nas.analysis.table import distinct_networks, sample_of
from nas.analysis.trajectory import trajectories


def trials(count=200, rng=0, uniform=True):
    """Random networks of two types, of which b has an error lower by 0.05 at equal FLOPs."""
    rng = np.random.default_rng(rng)
    flops = np.exp(rng.uniform(np.log(1e6), np.log(1e8), count))
    kind = rng.choice(["a", "b"], count)
    error = 0.9 - 0.03 * np.log(flops) - 0.05 * (kind == "b") + rng.normal(0, 0.005, count)
    return pd.DataFrame(
        {
            "number": range(count),
            "state": "complete",
            "reason": "",
            "error": error,
            "flops": flops,
            "digest": [str(at) for at in range(count)],
            "blocks": [(each,) * 3 for each in kind],
            "design": [{}] * count,
            "uniform": uniform,
            "seed": range(count),
            "epochs": 2,
        }
    )


def test_a_profile_recovers_an_effect_that_holds_at_all_flops():
    found = profiles(from_networks(distinct_networks(trials(400))), "flops")
    gaps = [a.value - b.value for a, b in zip(found["a"].effects, found["b"].effects, strict=True)]
    assert len(gaps) == 5
    assert gaps == pytest.approx([0.05] * 5, abs=0.02)


def test_a_profile_of_blocks_is_the_deviation_from_the_mean_of_the_context():
    found = from_blocks(read_blocks(blocks(contexts=24, effect=0.02)))
    by_depth = profiles(found, "depth")
    assert found.value.reshape(24, 2).sum(axis=1) == pytest.approx(np.zeros(24))
    assert by_depth["residual"].x.tolist() == pytest.approx([2, 3])
    assert by_depth["residual"].networks.tolist() == [12, 12]
    for effect in by_depth["residual"].effects:
        assert effect.low < -0.01 < effect.high


def test_repeats_know_the_noise_between_seeds():
    frame = blocks(contexts=60).assign(source=0)
    found = repeats(frame)
    assert found.seed_sd == pytest.approx(SEED_SD, rel=0.15)
    assert found.correlation.value > 0.9
    assert len(found.first) == 60 * 4
    intervals = seed_intervals(frame)
    widths = [each.high - each.low for each in intervals.values()]
    assert np.ptp(widths) == pytest.approx(0)  # one SD, pooled over the networks of the design
    assert widths[0] == pytest.approx(2 * 1.97 * found.seed_sd / 2**0.5, rel=0.01)
    assert repeats(frame.drop_duplicates("digest")) is None


def test_what_the_search_chose_is_not_held_against_trainings_of_its_choice():
    """A network is judged by further seeds alone: the search took it for its lucky first one."""
    search = trials(20).assign(source=0)
    again = pd.concat([search[:2].assign(source=1, seed=100 + k, error=0.5 + 0.01 * k) for k in range(3)])
    together = pd.concat([search, again])
    assert len(repeats(together).first) == 2
    assert [each.value for each in seed_intervals(together).values()] == pytest.approx([0.51] * 2)


def test_fidelity_is_the_agreement_of_a_short_schedule_with_each_longer_one():
    short = trials(40)
    long = short.assign(epochs=10, error=short["error"] / 2)[:30]
    other = short.assign(epochs=20, error=-short["error"])[:25]
    first, second = fidelities(short, pd.concat([long, other]))
    assert (first.epochs, first.longer, len(first.short), first.agreement.rho.value) == (
        2,
        10,
        30,
        pytest.approx(1),
    )
    assert (second.longer, second.agreement.rho.value) == (20, pytest.approx(-1))
    assert fidelities(short, short[:0]) == ()
    assert fidelities(short, short.assign(epochs=1)) == ()


@pytest.mark.slow
def test_a_search_that_is_no_better_than_chance_stays_within_the_band_of_uniform_draws():
    steered = [trials(60, rng=k, uniform=False) for k in range(1, 11)]
    paths, baseline = trajectories([*steered, trials(200)])
    assert len(paths) == 10
    for path in paths:
        assert (np.diff(path.best) <= 0).all()
        assert (np.diff(path.volume) >= -1e-12).all()
        assert path.volume[-1] <= 1
    best = np.stack([path.best for path in paths])
    inside = (baseline.low.best[:60] <= best) & (best <= baseline.high.best[:60])
    assert inside.mean() > 0.8
    expected = np.mean([trials(200)["error"].sample(10, random_state=k).min() for k in range(300)])
    assert baseline.mean.best[9] == pytest.approx(expected, abs=0.01)
    better = steered[0].assign(error=steered[0]["error"] - 0.2)
    (found,), baseline = trajectories([better, trials(200)])
    assert (found.best < baseline.low.best[:60]).all()


def test_failed_trials_count_as_trials():
    frame = trials(10, uniform=False)
    frame.loc[0, ["state", "error"]] = "failed", np.nan
    (path,), baseline = trajectories([frame])
    assert np.isnan(path.best[0])
    assert path.volume[0] == 0
    assert len(path.best) == 10
    assert baseline is None


def test_workers_are_told_by_what_overlaps():
    """Two workers: one trains for 3 s at a time, the other for 5; a result that was reused took
    no time; then the run stood still, and one of them did one more."""
    ends = [3, 6, 9, 5, 10, 105, 4]
    durations = [3, 3, 3, 5, 5, 5, 0]
    found = timing(np.array(ends, float) + 1e9, np.array(durations, float))
    assert len(found.busy) == 2
    assert found.trained == pytest.approx(24)
    assert found.elapsed == pytest.approx(15)
    assert sorted(found.busy) == pytest.approx([9, 15])
    assert len(timing(np.empty(0), np.empty(0)).busy) == 0


def test_coverage_and_failures_count_each_type_that_a_network_holds():
    frame = trials(30)
    frame.at[0, "blocks"] = ("a", "b")
    frame.loc[1:2, "state"], frame.loc[1:2, "reason"] = "failed", "oom"
    found = coverage(distinct_networks(frame), ("a", "b"))
    assert found.counts.sum() == 28 + 1
    counted = failures(frame)
    assert counted["a"][""] + counted["b"][""] == 31
    assert counted["a"].get("oom", 0) + counted["b"].get("oom", 0) == 2


def test_the_sample_is_that_of_uniform_draws_where_there_are_enough():
    frame = trials(60, uniform=False)
    frame.loc[:29, "uniform"] = True
    networks = distinct_networks(frame)
    assert len(sample_of(networks)[0]) == 30
    frame.loc[10:29, "uniform"] = False
    sample, words = sample_of(distinct_networks(frame))
    assert len(sample) == 60
    assert "describe the search" in words
