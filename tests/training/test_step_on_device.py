"""A training step as a GPU needs it: nothing read back, no copy between devices, every buffer in its place.

A CUDA graph can record only such a step. No GPU is needed to see it: on torch's meta device a tensor of
another device or a value read back raises an error, and a dispatch mode sees each operation on the CPU.
"""

from contextlib import nullcontext
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nas.codegen.build import build
from nas.data import Dataset
from nas.modules import MODULE_TYPES
from nas.modules.heads import PoolHead
from nas.modules.segmentation_heads import FcnHead
from nas.modules.stems import ConvStem
from nas.space.genotype import Genotype, Node
from nas.training.augment import Batches
from nas.training.loop import make_optimizer
from nas.training.recipe import Recipe
from nas.training.step import Step, train_epoch
from nas.zoo import zoo_entry

BATCH, CLASSES = 4, 3
PLAIN = Recipe(epochs=1, batch_size=BATCH, pad=1, precision="float32")
EVERYTHING = replace(
    PLAIN,
    **{"class_weights": "balanced", "sampling": "balanced", "color_jitter": 0.3, "rand_augment": 5},
    **{"cutout": 2, "mixup": 0.4, "ema": 0.9},
)
SETTINGS = {"fractal": [{"columns": 3, "drop_path": path} for path in ("local", "global", "mixed")]}
"""Settings of a module type that draw random numbers or take another way through the code."""
READ_BACK = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique_dim",
    "_unique2",
    "equal",
    "is_nonzero",
}


def chain(kind):
    """Return a network of one module type, with each of its SETTINGS, between two of which one strides."""
    settings = SETTINGS.get(kind, [{}])
    modules = [MODULE_TYPES[kind](8, stride=1 + i % 2, **fields) for i, fields in enumerate([{}, *settings])]
    before = ["stem", *(f"block{i}" for i in range(len(modules)))]
    nodes = tuple(Node(f"block{i}", module, (before[i],)) for i, module in enumerate(modules))
    return Genotype(ConvStem(8), nodes, PoolHead(dropout=0.2))


def noise(side=8, masks=False):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(3 * BATCH, 3, side, side), dtype=np.uint8)
    labels = np.arange(len(images)) % CLASSES
    if masks:
        labels = rng.integers(CLASSES, size=(len(images), side, side), dtype=np.uint8)
    return Dataset("noise", tuple("abc"), images, labels, images, labels, None)


CASES = {
    **{kind: lambda kind=kind: (chain(kind), noise(), PLAIN) for kind in MODULE_TYPES},
    "every field": lambda: (chain("fractal"), noise(), EVERYTHING),
    "auxiliary heads": lambda: (zoo_entry("googlenet_aux").build(), noise(32), PLAIN),
    "masks": lambda: (
        replace(chain("plain"), head=FcnHead(hidden=32, kernel=3)),
        noise(masks=True),
        replace(EVERYTHING, sampling="shuffled", mixup=0.0),
    ),
}


class MetaGenerator(torch.Generator):
    """Generator of the CPU, which torch takes for draws on the meta device too, that says it is on that."""

    device = torch.device("meta")


class MetaShares:
    """Stands in for the Beta distribution, which torch cannot sample on the meta device."""

    def sample(self, shape):
        return torch.empty(shape, device="meta")


def step_of(genotype, dataset, recipe):
    torch.manual_seed(0)
    network = build(genotype, dataset.input_shape, CLASSES)
    generator = torch.Generator().manual_seed(0)
    batches = Batches(dataset, recipe, torch.device("cpu"), generator)
    return Step(network, batches, make_optimizer(network, recipe), half=False)


def meta_step_of(genotype, dataset, recipe):
    """Return a step whose tensors are all on the meta device; it leaves out the update of the weights."""
    meta = torch.device("meta")
    batches = Batches(dataset, replace(recipe, sampling="shuffled"), meta, MetaGenerator())
    sources = dataset.train_images, dataset.train_labels
    batches.reader.sources = tuple(torch.tensor(source, device=meta) for source in sources)
    batches.shares = MetaShares()
    network = build(genotype, dataset.input_shape, CLASSES).to(meta)
    optimizer = make_optimizer(network, recipe)
    optimizer.step = lambda: None  # torch's fused update is not for the meta device
    return Step(network, batches, optimizer, half=False)


class NothingReadBack(TorchDispatchMode):
    """Raises an error where an operation reads a value back or copies between devices."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in READ_BACK, f"{function} reads a value back"
        devices = [value.device for value in args if isinstance(value, torch.Tensor)]
        asked = (kwargs or {}).get("device")
        copies = name in ("copy_", "_to_copy")
        assert not (copies and len({*devices, *([asked] if asked else [])}) > 1), (
            f"{function} changes devices"
        )
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", CASES)
class TestEveryStep:
    def test_runs_on_the_meta_device(self, case, monkeypatch):
        monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for meta
        step = meta_step_of(*CASES[case]())
        step()
        step()
        tensors = [step.loss, step.confusion.counts, *step.network.state_dict().values(), *step.kept.average]
        assert {tensor.device.type for tensor in tensors} == {"meta"}

    def test_reads_nothing_back(self, case):
        step = step_of(*CASES[case]())
        step.chosen.copy_(step.batches.order()[0])
        with NothingReadBack():
            step()
        assert step.loss.isfinite()

    def test_keeps_its_buffers_in_place(self, case):
        step = step_of(*CASES[case]())
        train_epoch(step, step, 0, lambda: None)  # momentum is made in the first step
        before = places(step)
        weights = next(step.network.parameters()).clone()
        train_epoch(step, step, 0, lambda: None)
        assert places(step) == before
        assert not torch.equal(weights, next(step.network.parameters()))


def places(step):
    """Return the address of each tensor that outlives a step."""
    momentum = [state["momentum_buffer"] for state in step.optimizer.state.values()]
    rates = [group["lr"] for group in step.optimizer.param_groups]
    own = [step.chosen, step.rate, step.share, step.loss, step.confusion.counts, *rates]
    kept = [*step.network.state_dict().values(), *step.kept.average, *momentum]
    assert len(momentum) == len(list(step.network.parameters()))
    return [tensor.data_ptr() for tensor in own + kept]


def test_a_value_read_back_is_seen():
    with NothingReadBack(), pytest.raises(AssertionError, match="reads a value back"):
        torch.ones(()).item()
    with NothingReadBack(), pytest.raises(AssertionError, match="reads a value back"):
        torch.ones(2).nonzero()
    with NothingReadBack(), pytest.raises(AssertionError, match="changes devices"):
        torch.ones(2).to("meta")


def test_every_field_of_the_augmentation_is_in_use():
    """A new field of the recipe that changes the step belongs in EVERYTHING."""
    no_step = {"epochs", "batch_size", "lr", "warm_up", "momentum", "weight_decay", "patience", "precision"}
    plain, everything = asdict(Recipe()), asdict(EVERYTHING)
    assert {name for name in plain if not everything[name]} - no_step == set()
