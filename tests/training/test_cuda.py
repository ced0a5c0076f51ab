"""The training step as a CUDA graph, and the MPS daemon that lets processes share a GPU.

Tests that need a GPU are skipped without one; test_training checks that a step's buffers stay in place.
"""

import logging
import os
import stat
from dataclasses import replace

import pytest
import torch
from torch import nn

from nas.controller.evaluators import mps
from nas.data import load_data
from nas.training import cuda_graph as cuda
from nas.training.augment import Batches
from nas.training.cuda_graph import WARM_UP, CUDAGraphStep
from nas.training.loop import make_optimizer, train
from nas.training.recipe import Recipe
from nas.training.step import Step, train_epoch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class TestWithoutGpu:
    """Every call runs the step once, recorded or not. Streams that do nothing and a graph that runs the step
    stand in for the GPU."""

    @pytest.fixture
    def steps(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "Stream", lambda _: None)
        monkeypatch.setattr(cuda, "run_on_side_stream", lambda _, step: step())
        return []

    def run_steps(self, steps, monkeypatch, *, syncs="", fails=""):
        def look(step):
            step()
            return syncs

        def record(self):
            if fails:
                self._note(fails)
            else:
                self.graph = type("Graph", (), {"replay": lambda _: steps.append("replayed")})()

        monkeypatch.setattr(cuda, "find_sync", look)
        monkeypatch.setattr(CUDAGraphStep, "_record", record)
        run = CUDAGraphStep(lambda: steps.append("eager"), torch.Generator())
        for _ in range(WARM_UP + 4):
            run()
        return run

    def test_a_step_is_replayed_after_the_warm_up(self, steps, monkeypatch):
        assert not self.run_steps(steps, monkeypatch).reason
        assert steps == ["eager"] * WARM_UP + ["replayed"] * 4

    @pytest.mark.parametrize("why", ["syncs", "fails"])
    def test_a_step_that_cannot_be_recorded_runs_eagerly(self, steps, monkeypatch, caplog, why):
        caplog.set_level(logging.WARNING)
        assert self.run_steps(steps, monkeypatch, **{why: "the reason"}).reason == "the reason"
        assert steps == ["eager"] * (WARM_UP + 4)
        assert [record.getMessage() for record in caplog.records] == [
            "training without a CUDA graph: the reason"
        ]


class Network(nn.Module):
    """Small network with dropout; `wait` makes every step wait for the device."""

    def __init__(self, wait=False):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(16, 10)
        self.wait = wait

    def forward(self, x):
        x = self.body(x).mean((2, 3))
        return self.head(x) + (x.sum().item() * 0 if self.wait else 0)


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
class TestOnGpu:
    RECIPE = Recipe(epochs=2, batch_size=16, pad=1, precision="float32")

    @pytest.fixture(scope="class")
    def digits(self):
        return load_data("digits?limit=300")

    def make(self, digits, wait=False, **fields):
        recipe = replace(self.RECIPE, **fields)
        device = torch.device("cuda")
        generator = torch.Generator(device).manual_seed(0)
        batches = Batches(digits, recipe, device, generator)
        network = Network(wait).to(device, memory_format=torch.channels_last)
        step = Step(network, batches, make_optimizer(network, recipe), half=False)
        return step, CUDAGraphStep(step, generator)

    def test_replayed_steps_match_eager_ones(self, digits):
        (eager, _), (step, run) = self.make(digits), self.make(digits)
        torch.manual_seed(1)
        expected = train_epoch(eager, eager, 0, lambda: None)
        torch.manual_seed(1)
        losses = train_epoch(step, run, 0, lambda: None)
        assert run.graph is not None
        torch.testing.assert_close(losses, expected, rtol=0.05, atol=0.02)
        assert step.confusion.counts.sum() == eager.confusion.counts.sum()

    def test_a_step_with_every_field_of_the_recipe_is_recorded(self, digits):
        fields = {"class_weights": "balanced", "sampling": "balanced", "ema": 0.9}
        fields |= {"flip": True, "color_jitter": 0.3, "rand_augment": 5, "cutout": 2, "mixup": 0.4}
        step, run = self.make(digits, **fields)
        losses = train_epoch(step, run, 0, lambda: None)
        assert run.graph is not None, run.reason
        assert losses.isfinite().all()
        assert len(set(losses.tolist())) == len(losses)

    def test_every_replay_draws_new_random_numbers(self, digits):
        generator, seen = torch.Generator("cuda").manual_seed(0), torch.zeros(2, device="cuda")

        def step():
            seen[0] = torch.rand((), generator=generator, device="cuda")
            seen[1] = torch.rand((), device="cuda")

        run = CUDAGraphStep(step, generator)
        drawn = []
        for _ in range(WARM_UP + 5):
            run()
            drawn.append(tuple(seen.tolist()))
        assert run.graph is not None
        assert len(set(drawn)) == len(drawn)

    def test_an_epoch_does_not_wait_for_the_device(self, digits):
        step, run = self.make(digits)
        train_epoch(step, run, 0, lambda: None)
        order = step.batches.order()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for chosen in order:
                step.chosen.copy_(chosen)
                run()
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def test_a_step_that_waits_is_not_recorded(self, digits):
        step, run = self.make(digits, wait=True)
        train_epoch(step, run, 0, lambda: None)
        assert run.graph is None
        assert "synchronizing" in run.reason

    def test_training_continues_after_a_failed_recording(self, digits, monkeypatch):
        monkeypatch.setattr(cuda, "find_sync", lambda step: step() or "")
        step, run = self.make(digits, wait=True)
        losses = train_epoch(step, run, 0, lambda: None)
        assert run.graph is None
        assert run.reason
        assert losses.isfinite().all()

    def test_equal_seeds_give_nearly_equal_figures(self, digits):
        one, two = (train(Network(), digits, self.RECIPE, seed=0, device="cuda") for _ in range(2))
        assert one.loss == pytest.approx(two.loss, rel=0.05)


class TestMps:
    """A script stands in for the daemon's control program, which comes only with NVIDIA's driver."""

    @pytest.fixture
    def control(self, tmp_path, monkeypatch):
        monkeypatch.setattr(mps, "DEFAULT", tmp_path / "none")
        monkeypatch.delenv(mps.PIPES, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        program, calls = tmp_path / mps.CONTROL, tmp_path / "calls"

        def write(status):
            program.write_text(
                f'#!/bin/sh\necho "$*: ${mps.PIPES}" >> {calls}\n'
                f"[ $# -gt 0 ] || cat >> {calls}\nexit {status}\n"
            )
            program.chmod(program.stat().st_mode | stat.S_IEXEC)
            return calls

        return write

    def test_the_daemon_is_started_and_stopped(self, control):
        calls = control(0)
        environment = mps.start_mps()
        place = environment[mps.PIPES]
        assert os.path.isdir(place)
        mps.stop_mps(environment)
        assert calls.read_text().splitlines() == [f"-d: {place}", f": {place}", "quit"]
        assert not os.path.exists(place)

    def test_workers_run_without_a_daemon_that_fails_to_start(self, control, caplog):
        control(1)
        assert mps.start_mps() == {}
        assert "MPS does not start" in caplog.text

    def test_a_running_daemon_is_left_alone(self, control, monkeypatch, tmp_path):
        calls = control(0)
        monkeypatch.setenv(mps.PIPES, str(tmp_path))
        assert mps.start_mps() == {}
        mps.stop_mps({})
        assert not calls.exists()
