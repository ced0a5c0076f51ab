"""Workers of a search whose processes train each candidate together: figures, faults, refusals."""

from __future__ import annotations

from dataclasses import replace

import psutil
import pytest
from testing.small_spaces import TINY

from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig
from nas.controller.evaluators import Workers, make_evaluator, ray
from nas.controller.evaluators.cores import usable_cores
from nas.controller.loop import run_search
from nas.data import load_data
from nas.errors import NasError
from nas.schedulers import make_scheduler
from nas.searchers import make_searcher
from nas.space.load import parse_space
from nas.study.history import History
from nas.training.memory import candidate_memory
from nas.training.recipe import Recipe, staged
from nas.training.task import Task, ignore

SPACE = parse_space(TINY, "tiny.yaml")
RECIPE = Recipe(epochs=2, batch_size=15, lr=0.05, precision="float32", mixup=0.3)
RUNGS = (1, 2)
TWO = Workers(1, cpus_per_worker=2)


@pytest.fixture(scope="module")
def dataset():
    return load_data("digits?limit=150", seed=0)


@pytest.fixture(scope="module")
def ray_session():
    from nas.controller.evaluators.ray_cluster import end_ray, start_ray

    if usable_cores() < 2:
        pytest.skip("needs two cores")
    start_ray(workers=2)
    yield
    end_ray()


def members():
    """Return the processes that train candidates together, among those that this process has started."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "ray::Member" in "".join(child.cmdline())]


def searched(dataset, folder, workers, on_event=ignore, at_end=ignore):
    """Return the trials of a search that halves."""
    study = History()
    evaluator = make_evaluator(dataset, staged(RECIPE, RUNGS), workers)
    try:
        config = SearchConfig(SPACE, make_searcher("random", study.objectives), RECIPE, trials=3, seed=2)
        scheduler = make_scheduler(RUNGS, study, SPACE, folder=folder)
        run_search(config, study, evaluator, scheduler=scheduler, callbacks=Callbacks(on_event=on_event))
        at_end()
    finally:
        evaluator.close()
    return study.trials


@pytest.mark.slow
def test_a_search_with_two_processes_per_candidate_equals_one_with_one(ray_session, dataset, tmp_path):
    killed, stopped = [], []

    def kill(event):
        if event.kind == "epoch" and not killed:
            killed.append(members()[-1])
            killed[0].kill()

    def stop():
        stopped.extend(members())
        stopped[-1].suspend()

    alone = searched(dataset, tmp_path / "alone", Workers(0))
    together = searched(dataset, tmp_path / "together", TWO, kill, stop)
    assert (len(killed), len(stopped)) == (1, 2)
    assert not psutil.wait_procs(stopped, timeout=60)[
        1
    ]  # they end with their worker, also the one that hangs
    assert [trial.retries for trial in alone] == [0, 0, 0]
    assert sum(trial.retries for trial in together) == 1
    for trial, expected in zip(together, alone, strict=True):
        assert (trial.state, trial.digest) == (expected.state, expected.digest)
        assert len(trial.curve) == len(expected.curve)
        for row, other in zip(trial.curve, expected.curve, strict=True):
            assert row == pytest.approx(other, abs=1e-4)


def test_what_several_devices_cannot_do_is_refused_at_once(dataset):
    for settings, message in (
        ({"gpus_per_worker": 1.5}, "on a share of one GPU or on whole ones, not on 1.5"),
        ({"gpus_per_worker": 2, "count": 0}, "several GPUs per worker need Ray"),
    ):
        with pytest.raises(NasError, match=message):
            Workers(**settings)
    with pytest.raises(NasError, match="a batch has 15 images, fewer than the 16 devices"):
        make_evaluator(dataset, RECIPE, Workers(gpus_per_worker=16))


def test_each_of_several_devices_holds_its_part_of_a_batch(dataset, monkeypatch):
    """A network that does not fit on one GPU may fit on two."""
    needs = []
    monkeypatch.setattr(ray, "RayEvaluator", lambda *_, memory, **__: needs.append(memory))
    recipe = replace(RECIPE, batch_size=80)
    for gpus in (1, 2):
        make_evaluator(dataset, recipe, Workers(gpus_per_worker=gpus))
    task = Task(0, SPACE.sample(0), 0)
    one, two = (need(task, False) for need in needs)
    small = replace(recipe, batch_size=40)
    assert two == candidate_memory(task.genotype, dataset, small, "cuda", half=False) < one
