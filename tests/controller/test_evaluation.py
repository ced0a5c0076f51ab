"""Outcomes of a training: complete, an exception, out of memory, divergence, interruption."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load

import nas.codegen.build
import nas.training.loop
from nas.codegen.build import build
from nas.controller.evaluators import Workers, make_evaluator
from nas.controller.evaluators.local import LocalEvaluator
from nas.data import Dataset
from nas.space.load import load_space
from nas.training.candidate import MESSAGE_LIMIT, out_of_memory, train_candidate
from nas.training.latency import MIN_RUNS
from nas.training.loop import default_recipe, evaluate
from nas.training.memory import candidate_memory
from nas.training.task import EpochRange, Result, Task


@pytest.fixture(scope="module")
def dataset():
    """Bright and dark images of 8 x 8, which are easy to tell apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 192)
    images = (rng.integers(0, 128, (192, 1, 8, 8)) + 127 * labels[:, None, None, None]).astype(np.uint8)
    split = (images[:128], labels[:128], images[128:], labels[128:])
    return Dataset("stripes", ("dark", "bright"), *split, load_test=lambda: None)


@pytest.fixture(scope="module")
def recipe(dataset):
    return replace(default_recipe(dataset, epochs=2), batch_size=32, precision="float32")


@pytest.fixture(scope="module")
def task():
    return Task(5, load_space("residual_vs_fractal").sample(1), seed=3)


def test_candidate_is_trained_and_its_weights_give_its_error(task, dataset, recipe):
    epochs = []
    result = train_candidate(task, dataset, recipe, "cpu", lambda *seen: epochs.append(seen))
    assert (result.number, result.state, result.reason, result.message) == (5, "complete", "", "")
    assert result.retries == 0
    assert result.duration > 0
    assert [row["epoch"] for row in result.curve] == [1, 2]
    assert epochs == [(5, row) for row in result.curve]
    network = build(task.genotype, dataset.input_shape, dataset.num_classes)
    network.load_state_dict(load(result.weights), strict=True)
    score = evaluate(network, dataset.val_images, dataset.val_labels, dataset)
    assert score.error == result.error == result.curve[-1]["val_error"]


def test_every_batch_is_reported(task, dataset, recipe):
    beats = 0

    def on_batch():
        nonlocal beats
        beats += 1

    train_candidate(task, dataset, recipe, on_batch=on_batch)
    assert beats == 2 * (128 // 32 + 1)  # training batches and one of validation, each epoch


def test_same_seed_gives_the_same_result_and_leaves_the_global_generator(task, dataset, recipe):
    before = torch.get_rng_state()
    first, second = (train_candidate(task, dataset, recipe) for _ in range(2))
    assert (first.curve, first.weights) == (second.curve, second.weights)
    assert torch.equal(before, torch.get_rng_state())
    other = train_candidate(replace(task, seed=4), dataset, recipe)
    assert other.weights != first.weights


def test_divergence_is_a_recorded_outcome(task, dataset, recipe):
    result = train_candidate(task, dataset, replace(recipe, lr=1e9))
    assert (result.state, result.reason, result.error, result.weights) == ("failed", "diverged", None, None)
    assert "the loss was" in result.message


def test_exception_is_a_recorded_outcome_with_its_traceback(task, dataset, recipe, monkeypatch):
    def broken(*_):
        raise ValueError("no such block" + "!" * 2 * MESSAGE_LIMIT)

    monkeypatch.setattr(nas.codegen.build, "build", broken)
    result = train_candidate(task, dataset, recipe)
    assert (result.state, result.reason, result.error) == ("failed", "exception", None)
    assert len(result.message) == MESSAGE_LIMIT
    monkeypatch.undo()
    wrong = replace(dataset, train_labels=dataset.train_labels + 100)
    result = train_candidate(task, wrong, recipe)
    assert result.reason == "exception"
    assert result.message.startswith("Traceback")
    assert "out of bounds" in result.message


def starve(monkeypatch, most, error=torch.OutOfMemoryError):
    """Let trainings with more than `most` images per batch run out of memory; return the sizes tried."""
    train, tried = nas.training.loop.train, []

    def starved(network, dataset, recipe, **options):
        tried.append(recipe.batch_size)
        if recipe.batch_size > most:
            raise error("no memory")
        return train(network, dataset, recipe, **options)

    monkeypatch.setattr(nas.training.loop, "train", starved)
    return tried


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_is_tried_once_more_with_half_the_batch(task, dataset, recipe, monkeypatch, error):
    tried = starve(monkeypatch, 16, error)
    result = train_candidate(task, dataset, recipe)
    assert tried == [32, 16]
    assert (result.state, result.retries) == ("complete", 1)
    assert result.message == "out of memory with batches of 32, tried again with 16"


def test_half_of_a_batch_that_holds_all_images_is_half_of_these(task, dataset, recipe, monkeypatch):
    images = len(dataset.train_labels)
    tried = starve(monkeypatch, images // 2)
    result = train_candidate(task, dataset, replace(recipe, batch_size=4 * images))
    assert tried == [4 * images, images // 2]
    assert result.message == f"out of memory with batches of {images}, tried again with {images // 2}"


def test_an_objective_changes_neither_images_nor_the_network_of_the_next(task, dataset, recipe):
    def clear(network, _):
        for parameter in network.parameters():
            parameter.data.zero_()
        return 0.0

    def weight(network, _):
        return sum(parameter.abs().sum().item() for parameter in network.parameters())

    def write(_, data):
        data.val_images[0] = 0
        return 0.0

    result = train_candidate(replace(task, measures={"clear": clear, "weight": weight}), dataset, recipe)
    assert result.measured["weight"] > 1
    before = dataset.val_images.copy()
    result = train_candidate(replace(task, measures={"write": write}), dataset, recipe)
    assert result.reason == "exception"
    assert "read-only" in result.message
    assert np.array_equal(dataset.val_images, before)


def test_out_of_memory_twice_is_a_failure(task, dataset, recipe, monkeypatch):
    tried = starve(monkeypatch, 8)
    result = train_candidate(task, dataset, recipe)
    assert tried == [32, 16]
    assert (result.state, result.reason, result.error, result.retries) == ("failed", "oom", None, 1)
    assert "no memory" in result.message


def test_out_of_memory_on_the_host_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("shapes do not match"))


def test_interruption_is_not_an_outcome(task, dataset, recipe):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_candidate(task, dataset, recipe, on_epoch=interrupt)


def test_local_evaluator_trains_when_waited_for(task):
    def trainer(task, dataset, recipe, device, on_epoch, on_batch):
        return Result(task.number, "complete", message=f"{dataset} {recipe} {device}", error=0.5)

    evaluator = LocalEvaluator("data", "recipe", trainer=trainer)
    assert evaluator.wait(0) == []
    evaluator.submit(task)
    assert evaluator.wait(0) == [Result(5, "complete", message="data recipe cpu", error=0.5)]
    evaluator.submit(task)
    evaluator.close()
    assert evaluator.wait(0) == []


def test_latency_is_measured_if_asked_for(task, dataset, recipe):
    plain = train_candidate(task, dataset, recipe)
    timed = train_candidate(replace(task, latency=True), dataset, recipe)
    assert plain.latency is None
    assert timed.weights == plain.weights
    found = timed.latency
    assert 0 < found.low <= found.seconds <= found.high < timed.duration
    assert (found.batch, found.threads, found.device) == (1, 1, "cpu")
    assert found.runs >= MIN_RUNS


def test_phases_fill_the_duration(task, dataset, recipe):
    result = train_candidate(task, dataset, recipe)
    assert set(result.times.phases) >= {"building", "training", "validation", "saving"}
    assert sum(result.times.phases.values()) == pytest.approx(result.duration, abs=0.05)
    assert result.times.end - result.times.start == result.duration


def test_a_network_larger_than_the_machine_is_refused_before_training(task, dataset, recipe):
    evaluator = LocalEvaluator(dataset, recipe, memory=lambda task, half: 1e18)
    evaluator.submit(task)
    (result,) = evaluator.wait()
    assert (result.state, result.reason, result.curve) == ("failed", "too_large", ())
    assert "931322574.62 GiB" in result.message


def test_a_training_that_could_not_resume_is_refused_before_it_begins(task, dataset, recipe, monkeypatch):
    need = [
        candidate_memory(task.genotype, dataset, recipe, "cpu", half=False, resumed=resumed)
        for resumed in (False, True)
    ]
    monkeypatch.setattr("nas.controller.evaluators.local.physical_memory", lambda: sum(need) / 2)
    evaluator = make_evaluator(dataset, recipe, Workers(0))
    evaluator.submit(task)
    evaluator.submit(replace(task, part=EpochRange(0, 1)))
    (whole,), (first,) = evaluator.wait(), evaluator.wait()
    assert whole.state == "complete"
    assert (first.state, first.reason, first.curve) == ("failed", "too_large", ())
