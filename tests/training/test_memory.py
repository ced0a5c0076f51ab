"""Predicted memory against autograd's saved tensors, a hand count and the growth of a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from testing.paths import ROOT

from nas.codegen.build import build
from nas.data import Dataset
from nas.graph.cost import cost
from nas.graph.graph import trace
from nas.graph.ops import BatchNorm, Classifier, Conv, GlobalPool, MaxPool, Relu
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.training.memory import _last_uses, batch_memory, candidate_memory
from nas.training.recipe import WORKER_ENVIRONMENT, Recipe
from nas.zoo import zoo_entry

BENCHMARK = ROOT / "benchmarks" / "training_memory.py"
SPACES = ("residual_vs_fractal", "all_modules", "resnext_cardinality", "basic_vs_bottleneck")
ZOO = ("resnet20", "googlenet_aux", "alexnet", "preact_resnet110", "fcn8s")


def small(shape):
    """Return a graph of convolution, batch norm, ReLU, pooling and classifier."""

    def network(x):
        x = MaxPool()(Relu()(BatchNorm()(Conv(8)(x))))
        return Classifier(10)(GlobalPool()(x))

    return trace("small", [shape], network)


@pytest.mark.parametrize("batch", [1, 64])
def test_the_prediction_equals_a_hand_count(batch):
    image, maps = 3 * 16 * 16, 8 * 16 * 16
    # The peak is in the ReLU's backward step: the image, the outputs of convolution and ReLU, the
    # gradients of ReLU and batch norm, and those of the classifier's 90 weights.
    assert batch_memory(small((3, 16, 16)), batch) == 4 * (batch * (image + 4 * maps) + 90)


def kept_for_backward(graph, batch):
    """Return the predicted live bytes at the start of the backward pass, without the image."""
    count = len(graph.primitives)
    _, needed = _last_uses(graph)
    return batch * sum(
        op.backward_bytes(*shapes) + (0 if op.is_view or needed[i] < count else 4 * prod(shape))
        for i, (_, op, _, shapes, shape) in enumerate(graph.primitives)
    )


def saved_by_autograd(network, images):
    """Return the bytes of the storages that autograd saves, without weights, statistics and the image."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (*network.state_dict().values(), images)}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = tensor, storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network.train()(images)
    del output
    return sum(size for _, size in storages.values())


@pytest.mark.parametrize("name", [*SPACES, *ZOO])
def test_predicted_saved_tensors_are_those_of_autograd(name):
    shape, batch = ((3, 32, 32) if name in SPACES or "110" in name or "20" in name else (3, 64, 64)), 2
    genotype = load_space(name).with_input(shape, 10).sample(1) if name in SPACES else zoo_entry(name).build()
    graph = expand(genotype, shape, 10, auxiliary=bool(genotype.auxiliary))
    images = torch.randn(batch, *shape).to(memory_format=torch.channels_last)
    network = build(genotype, shape, 10).to(memory_format=torch.channels_last)
    assert kept_for_backward(graph, batch) == pytest.approx(saved_by_autograd(network, images), rel=0.06)


@pytest.mark.parametrize("name", SPACES)
def test_memory_grows_with_the_batch_and_falls_with_the_precision(name):
    graph = expand(load_space(name).sample(0))
    one, two = (batch_memory(graph, batch) for batch in (32, 64))
    assert one < two <= 2 * one
    assert batch_memory(graph, 64, half=True) < 0.7 * two


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_resumed_training_holds_its_checkpoint_on_the_host(device):
    genotype, recipe = zoo_entry("alexnet").build(), Recipe()
    images, labels = np.zeros((64, 3, 64, 64), np.uint8), np.zeros(64, np.int64)
    dataset = Dataset("none", ("one", "other"), images, labels, images, labels, lambda: NotImplemented)
    afresh, resumed = (
        candidate_memory(genotype, dataset, recipe, device, half=False, resumed=resumed)
        for resumed in (False, True)
    )
    weights = 4 * cost(expand(genotype, dataset.input_shape, dataset.num_classes)).params
    assert resumed - afresh == (2 * weights if device == "cpu" else 0)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports the peak")
@pytest.mark.parametrize(
    "case",
    [
        ["residual_vs_fractal:1", [3, 32, 32], 64, "float32", False],
        ["alexnet", [3, 64, 64], 16, "float32", True],
    ],
)
def test_a_fresh_process_grows_as_predicted(case):
    command = [sys.executable, str(BENCHMARK), "--case", json.dumps(case)]
    done = subprocess.run(command, env=os.environ | WORKER_ENVIRONMENT, capture_output=True, check=True)
    memory = json.loads(done.stdout)
    assert memory["predicted"] == pytest.approx(memory["measured"], rel=0.25)
