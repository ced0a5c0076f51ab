"""What training a network takes of memory, told from its graph without building it.

Every tensor is alive for an interval of the steps of a batch: forward once through the
primitives, backward once in the other order, then the update. The peak is where most
bytes are alive at once.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING

from nas.graph.cost import cost
from nas.graph.graph import Graph
from nas.space.genotype import Genotype, expand
from nas.training.recipe import evaluation_batch

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe

FLOAT, HALF = 4, 2
"""Bytes of a number in single precision and in bfloat16."""
ALLOCATOR_OVERHEAD = {"cpu": 1.65, "cuda": 1.2}
"""Bytes resident for each byte of a feature map or gradient that is alive, as an allocator spreads
tensors that come and go. On CPU measured with glibc 2.36 (docs/performance.md); on GPU assumed of torch's
cache."""
LIBRARY = 110 << 20
"""Bytes that the first training of a process takes for kernels, threads and caches."""
RESERVE = 0.1
"""Share of a GPU that stays free."""
CHECKPOINT_COPIES = 4
"""Copies of the weights on the host when what is kept of a training is written."""


def candidate_memory(
    genotype: Genotype,
    dataset: Dataset,
    recipe: Recipe,
    device: str,
    *,
    half: bool,
    resumed: bool = False,
) -> int:
    """Bytes by which a process grows at most when `nas.training.candidate.train_candidate` trains a candidate
    in it; `half` says whether the forward pass is in bfloat16, `resumed` whether the training goes on from
    the checkpoint of a part before, which holds weights and momentum and is held meanwhile. What validation
    takes comes on top, as it does not fit into the gaps that training leaves."""
    graph = expand(genotype, dataset.input_shape, dataset.num_classes, auxiliary=bool(genotype.auxiliary))
    kind, batch = device.partition(":")[0], min(recipe.batch_size, len(dataset.train_labels))
    step = batch_memory(graph, batch, half=half, spread=ALLOCATOR_OVERHEAD[kind])
    validation = ALLOCATOR_OVERHEAD[kind] * evaluation_batch(dataset, device) * cost(graph).peak_memory
    weights = cost(graph).params * FLOAT
    training = 2 * weights + step + validation
    if kind == "cpu":
        training = max(training, CHECKPOINT_COPIES * weights) + (2 * weights if resumed else 0)
    return round(LIBRARY + data_memory(dataset, recipe) + training)


def gpu_memory() -> float:
    """Bytes that are free on the GPU of this process, less a tenth of all for what is not predicted."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return free - RESERVE * total


def physical_memory() -> float:
    """Bytes of the machine."""
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")


def release_memory(device: str) -> None:
    """Give back what a training has left free, so that other workers can have it."""
    if device != "cpu":
        import torch

        torch.cuda.empty_cache()
    else:
        with suppress(AttributeError, OSError):  # a C library other than glibc
            ctypes.CDLL(None).malloc_trim(0)


def data_memory(dataset: Dataset, recipe: Recipe) -> int:
    """Bytes of the images and masks, those to train on with their margins, as they lie on the device."""
    channels, height, width = dataset.input_shape
    planes = channels + (dataset.task == "segmentation")
    training = len(dataset.train_labels) * (height + 2 * recipe.pad) * (width + 2 * recipe.pad)
    return planes * (training + len(dataset.val_labels) * height * width)


@lru_cache(maxsize=512)
def batch_memory(graph: Graph, batch: int, *, half: bool = False, spread: float = 1.0) -> float:
    """Bytes alive at once, at most, in one step of training, beside weights and momentum: feature
    maps, what the backward pass needs again, and their gradients, each `spread` times its size, and the
    gradients of weights."""
    primitives, element = graph.primitives, HALF if half else FLOAT
    end = 2 * len(primitives)  # the update; the backward step of primitive n is end - 1 - n
    change = [0.0] * (end + 2)

    def alive(start: int, stop: int, size: float) -> None:
        change[start] += size
        change[stop + 1] -= size

    used, needed = _last_uses(graph)
    alive(0, end, spread * batch * FLOAT * sum(map(prod, graph.input_shapes)))
    for at, (_, op, _, shapes, shape) in enumerate(primitives):
        back, weights = end - 1 - at, op.params(*shapes)
        size = spread * batch * element * prod(shape)
        if not op.is_view:
            alive(at, needed[at], size)
            alive(end - 1 - used[at], back, size)  # its gradient
        alive(at, back, spread * batch * op.backward_bytes(*shapes) + (weights * HALF if half else 0))
        alive(back, end, weights * FLOAT)
    return max(accumulate(change))


def _last_uses(graph: Graph) -> tuple[list[int], list[int]]:
    """For the output of each primitive the last primitive that takes it, and the last step of
    the batch that needs it; what a view is used for counts for what it is a view of."""
    primitives = graph.primitives
    end, origin = 2 * len(primitives), list(range(len(primitives)))
    used, needed = list(origin), list(origin)
    for at, (_, op, inputs, _, _) in enumerate(primitives):
        sources = [origin[i] if i >= 0 else i for i in inputs]
        if op.is_view:
            origin[at] = sources[0]
        for source in sources:
            if source >= 0:
                used[source] = at
                needed[source] = max(needed[source], at)
        for kept in {"input": (sources[0],), "output": (at,), "": ()}[op.backward_keeps]:
            if kept >= 0:
                needed[kept] = max(needed[kept], end - 1 - at)
    return used, needed
