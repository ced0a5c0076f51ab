"""Networks that were trained several times, copies of results, and the numbers of trials."""

from __future__ import annotations

import pytest
from testing.trials import a_trial

from nas.errors import NasError, StorageError
from nas.space.candidate import under
from nas.study.history import History
from nas.study.trial import StoredGenotype


@pytest.fixture
def history():
    """Network 1 was trained twice, network 2 once and copied once."""
    history = History(("error", "flops"))
    history.record(a_trial(0, seed=1, error=0.2))
    history.record(a_trial(1, seed=2, error=0.3))
    history.record(a_trial(2, seed=1, error=0.4))
    history.record(a_trial(3, seed=2, error=0.3, duplicate_of=1))
    return history


def test_means_are_over_trainings_and_not_over_copies(history):
    first, second, again, copy = history.trials
    assert [trial.number for trial in history.trainings(first)] == [0, 2]
    assert [trial.number for trial in history.trainings(copy)] == [1]
    assert history.means(again) == pytest.approx((0.3, first.flops))
    assert history.means(second, ("flops",)) == (second.flops,)
    assert [trial.number for trial in history.networks] == [0, 1]


def test_a_copy_counts_as_the_network_where_the_training_is_of_another_study():
    history = History()
    history.record(a_trial(5, duplicate_of=2))
    assert [trial.number for trial in history.networks] == [5]
    assert [trial.number for trial in history.front()] == [5]


def test_a_complete_trial_stands_for_its_network_before_a_failed_one():
    history = History()
    history.record(a_trial(0, seed=1, reason="oom"))
    assert history.by_digest(a_trial(0, seed=1).digest).number == 0
    history.record(a_trial(1, seed=1))
    history.record(a_trial(2, seed=1))
    assert history.by_digest(a_trial(0, seed=1).digest).number == 1


def test_the_lowest_free_number_is_given(history):
    def next_number(below):
        with history.reserve_number(below) as number:
            return number

    assert next_number(5) == 4
    assert next_number(4) is None
    history.mark_running(4, "d4")
    assert next_number(6) == 5
    history.mark_running(5, "d5")
    history.discard(4)
    assert next_number(9) == 4
    history.discard(77)
    assert history.pending == {5: "d5"}


def test_children_rungs_and_what_was_seen(history):
    assert history.children(0) == 0
    stopped = a_trial(7, seed=9, state="stopped", rung_order=(3,))
    history.mark_running(7, stopped.digest, stopped.genotype)
    assert history.running == {7: stopped.genotype}
    assert history.seen(stopped.digest)
    history.pause(stopped)
    assert history.paused == {7: stopped}
    assert (history.rung_result_count, len(history.rung_results)) == (3, 1)
    history.record(a_trial(7, seed=9))
    assert (history.paused, history.running, history.pending) == ({}, {}, {})
    history.pause(stopped)  # recorded already
    assert history.paused == {}


def test_the_frame_has_each_figure_in_its_column(history):
    frame = history.frame()
    assert list(frame["number"]) == [0, 1, 2, 3]
    assert list(frame["flops"]) == [trial.flops for trial in history.trials]
    assert list(frame["proposer"]) == ["random"] * 4
    assert list(frame["duplicate_of"].fillna(-1)) == [-1, -1, -1, 1]
    assert "genotype" not in history.frame(without=["genotype"])
    assert list(frame["module_types"]) == ["+".join(trial.module_types) for trial in history.trials]


def test_the_frame_has_a_column_for_an_objective_of_ones_own():
    own = "python:mine:sharpness"
    history = History(("error", own))
    history.record(a_trial(0, measured={own: 0.25}))
    history.record(a_trial(1, reason="diverged"))
    assert history.frame()[own].tolist() == pytest.approx([0.25, float("nan")], nan_ok=True)
    assert history.means(history.trials[0]) == (0.5, 0.25)


def test_a_number_is_recorded_once(history):
    with pytest.raises(NasError, match="trial 2: is recorded already"):
        history.record(a_trial(2))
    assert len(history.trials) == 4


def test_a_paused_trial_that_is_discarded_is_forgotten():
    history = History()
    paused = a_trial(0, state="stopped", epochs=1)
    history.mark_running(0, paused.digest, paused.genotype)
    history.pause(paused)
    assert list(history.paused) == [0]
    history.discard(0)
    assert not history.paused
    with history.reserve_number(9) as number:
        assert number == 0


def test_a_network_that_its_module_types_no_longer_make_is_refused():
    """As after the file of a plug-in was changed: weights and error are those of another network."""
    genotype, other = (a_trial(0, seed=seed).genotype for seed in (1, 2))
    types = tuple(dict.fromkeys(genotype.module_types))
    stored = StoredGenotype(other.digest, types, genotype.to_json(), "trial 3")
    with pytest.raises(StorageError, match="trial 3: its module types make another network"):
        assert stored.genotype


def test_networks_that_are_stored_are_equal_where_the_networks_are():
    def stored(genotype, **recipe):
        text, digest = genotype.to_json(), under(genotype, recipe).digest
        return StoredGenotype(digest, tuple(dict.fromkeys(genotype.module_types)), text, "", recipe)

    one, two = (a_trial(0, seed=seed).genotype for seed in (1, 2))
    assert stored(one) == stored(one) == one
    assert stored(one) != stored(two)
    assert stored(one) != two
    assert stored(one) != stored(one, lr=0.1)
