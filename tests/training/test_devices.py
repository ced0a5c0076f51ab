"""One training on several devices: two processes train as one does with the same batches."""

import multiprocessing
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from nas.data import Dataset
from nas.errors import NasError
from nas.training import loop
from nas.training.devices import ALONE, DeviceGroup
from nas.training.recipe import Recipe

STEPS = 20
PLAIN = Recipe(epochs=2, batch_size=7, lr=0.05, pad=1, precision="float32")  # slices of 3 and 4 images
EVERYTHING = replace(
    PLAIN,
    **{"class_weights": "balanced", "sampling": "balanced", "color_jitter": 0.3, "rand_augment": 5},
    **{"cutout": 2, "mixup": 0.4, "ema": 0.9, "patience": 5},
)


class Network(nn.Module):
    """A network with dropout, drop-path of whole batches and a parameter that it does not use."""

    def __init__(self, norm: bool, maps: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.drop, self.head = nn.Dropout(0.3), nn.Conv2d(8, 3, 1)
        self.unused, self.maps = nn.Parameter(torch.ones(3)), maps

    def forward(self, x):
        x = self.drop(self.norm(self.conv(x)).relu())
        if self.training:
            x = x * (0.5 + torch.rand(1, device=x.device))
        x = self.head(x)
        return x if self.maps else x.mean((2, 3))


def images(masks=False):
    rng = np.random.default_rng(0)
    count = STEPS // PLAIN.epochs * PLAIN.batch_size
    labels = np.minimum(rng.integers(5, size=count), 2)
    if masks:
        labels = rng.choice([0, 1, 2, 2, 255], size=(count, 6, 6)).astype(np.uint8)
    pixels = rng.integers(256, size=(count, 3, 6, 6), dtype=np.uint8)
    return Dataset("noise", tuple("abc"), pixels, labels, pixels[:40], labels[:40], None)


CASES = {
    "no batch norm": (False, False, PLAIN),
    "batch norm": (True, False, PLAIN),
    "every field": (True, False, EVERYTHING),
    "masks": (True, True, replace(EVERYTHING, sampling="shuffled", mixup=0.0)),
}


def trained(case, group=ALONE, **settings):
    """Return the curve and the weights of a training."""
    norm, masks, recipe = CASES[case]
    torch.manual_seed(1)
    network = Network(norm, masks)
    result = loop.train(network, images(masks), recipe, seed=3, group=group, **settings)
    return result.curve, network.state_dict()


def same(found, expected):
    """Whether two trainings have equal figures."""
    assert len(found[0]) == len(expected[0])
    for row, other in zip(found[0], expected[0], strict=True):
        assert row == pytest.approx(other, abs=1e-4)
    for name, value in expected[1].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=1e-4)
    return True


def part(rank, folder):
    """Train as one of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    group, local = DeviceGroup(rank, 2, sync_batch_norm=True), DeviceGroup(rank, 2)
    results = {case: trained(case, group) for case in CASES}
    results["local"] = trained("batch norm", local)
    for name, how in (("whole", group), ("local", local)):
        # Each process has a copy, as on nodes of a cluster.
        trained("every field", how, until=1, checkpoint=folder / f"{name}-{rank}")
    dist.barrier()
    if rank == 1:
        shutil.copy(folder / "whole-0", folder / "whole-1")
    dist.barrier()
    results["resumed"] = trained("every field", group, checkpoint=folder / f"whole-{rank}")
    (folder / f"results{rank}").write_bytes(pickle.dumps(results))
    dist.destroy_process_group()
    # DistributedDataParallel keeps the group's threads, with which an ordinary exit races: 1 in 15 aborted.
    os._exit(0)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What two processes trained, and the folder of their checkpoints."""
    folder, spawn = tmp_path_factory.mktemp("devices"), multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=part, args=(rank, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    return [pickle.loads((folder / f"results{rank}").read_bytes()) for rank in range(2)], folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(case, both):
    expected = trained(case)
    assert [same(results[case], expected) for results in both[0]] == [True, True]


@pytest.mark.slow
def test_local_batch_norms_see_their_rows_and_end_alike(both):
    (first, weights), (second, others) = (results["local"] for results in both[0])
    assert first == second
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    with pytest.raises(AssertionError):
        same((first, weights), trained("batch norm"))


@pytest.mark.slow
def test_a_resumed_group_trains_as_one_that_was_not_stopped(both):
    expected = both[0][0]["every field"]
    assert [same(results["resumed"], expected) for results in both[0]] == [True, True]


@pytest.mark.slow
def test_synchronised_norms_continue_on_another_number_of_devices(both, tmp_path):
    # The checkpoint of two processes after the first epoch, continued by one.
    shutil.copy(both[1] / "whole-0.previous", tmp_path / "checkpoint")
    assert same(trained("every field", checkpoint=tmp_path / "checkpoint"), trained("every field"))


@pytest.mark.slow
def test_local_norms_do_not_continue_on_another_number_of_devices(both):
    with pytest.raises(NasError, match="statistics on 2 devices, and now on 1") as error:
        trained("every field", checkpoint=both[1] / "local-0")
    assert "continue on 2" in str(error.value.hint)


def test_rows_are_shared_evenly():
    rows = [DeviceGroup(rank, 3).rows(8) for rank in range(3)]
    assert [i for some in rows for i in some] == list(range(8))
    assert [len(some) for some in rows] == [2, 3, 3]
