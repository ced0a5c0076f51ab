"""Memory that training a network takes, predicted from its graph without building it.

The steps of a batch are the primitives forward, the primitives backward in reverse order, and the update.
Every tensor is alive for an interval of these steps; the peak is the step with the most bytes alive.
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
"""Bytes of a number in float32 and in bfloat16."""
ALLOCATOR_OVERHEAD = {"cpu": 1.65, "cuda": 1.2}
"""Resident bytes per byte of live feature maps and gradients, because allocators fragment. The factor of a
CPU was measured with glibc 2.36 (docs/engineering/performance.md); that of a GPU is an assumption about
torch's cache."""
LIBRARY = 110 << 20
"""Bytes that the first training in a process takes for kernels, threads and caches."""
RESERVE = 0.1
"""Fraction of a GPU's memory that stays free."""
BATCH_COPIES = 4
"""Copies of the pixels of a batch while it is augmented."""
FLOAT_COPIES = 5
"""Copies of a batch in float32 while colours or geometry are changed, or images mixed."""
RESIDENT = 4 << 30
"""Bytes up to which a data set lies on a GPU; the batches of a larger one are copied there one by one."""
CHECKPOINT_COPIES = 4
"""Copies of the weights held on the host while a checkpoint is serialised."""


def candidate_memory(
    genotype: Genotype,
    dataset: Dataset,
    recipe: Recipe,
    device: str,
    *,
    half: bool,
    resumed: bool = False,
) -> int:
    """Return the most bytes by which a process grows while `train_candidate` trains a candidate in it.

    Args:
        genotype: The candidate.
        dataset: Images to train and validate on.
        recipe: Gives batch size and margin.
        device: cpu, cuda or cuda:1; the bytes are of host or device memory accordingly.
        half: Whether the forward pass is in bfloat16.
        resumed: Whether the training resumes from a checkpoint, whose weights and momentum stay in memory.
    """
    graph = expand(genotype, dataset.input_shape, dataset.num_classes, auxiliary=bool(genotype.auxiliary))
    kind, batch = device.partition(":")[0], min(recipe.batch_size, len(dataset.train_labels))
    step = batch_memory(graph, batch, half=half, spread=ALLOCATOR_OVERHEAD[kind])
    # Validation adds up, because its tensors do not fit into the gaps that training leaves.
    validation = ALLOCATOR_OVERHEAD[kind] * evaluation_batch(dataset, device) * cost(graph).peak_memory
    weights = cost(graph).params * FLOAT
    training = (3 if recipe.ema else 2) * weights + step + validation
    if kind == "cpu":
        training = max(training, CHECKPOINT_COPIES * weights) + (2 * weights if resumed else 0)
    return round(LIBRARY + data_memory(dataset, recipe, kind) + training)


def gpu_memory() -> float:
    """Return the free bytes of this process's GPU, less a reserve of a tenth of its memory."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return free - RESERVE * total


def physical_memory() -> float:
    """Return the bytes of memory of this machine."""
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")


def release_memory(device: str) -> None:
    """Return memory that a training has freed to the system, for other workers. `device` is cpu or a GPU."""
    if device != "cpu":
        import torch

        torch.cuda.empty_cache()
    else:
        with suppress(AttributeError, OSError):  # a C library other than glibc
            ctypes.CDLL(None).malloc_trim(0)


def data_memory(dataset: Dataset, recipe: Recipe, device: str) -> int:
    """Return the bytes of images and masks on the device.

    On a CPU these are the copies of a batch with margins, as the data set itself is mapped or shared; on a
    GPU the data set, too, if it is small enough to be resident.
    """
    channels, height, width = dataset.input_shape
    planes = channels + (dataset.task == "segmentation")
    side = (height + 2 * recipe.pad) * (width + 2 * recipe.pad)
    batch = min(recipe.batch_size, len(dataset.train_labels))
    batches = BATCH_COPIES * batch * planes * side
    if recipe.color_jitter or recipe.rand_augment or recipe.mixup:
        batches += FLOAT_COPIES * FLOAT * batch * channels * height * width
    count = len(dataset.train_labels) + len(dataset.val_labels)
    total = planes * count * height * width
    return batches + (total if device != "cpu" and total <= RESIDENT else 0)


@lru_cache(maxsize=512)
def batch_memory(graph: Graph, batch: int, *, half: bool = False, spread: float = 1.0) -> float:
    """Return the peak of live bytes in a training step, without weights and momentum.

    Counted are feature maps, tensors saved for the backward pass, their gradients and the weights' gradients.

    Args:
        graph: The network.
        batch: Images per batch.
        half: Whether the forward pass is in bfloat16.
        spread: Resident bytes per byte of all but the weights' gradients.
    """
    primitives, element = graph.primitives, HALF if half else FLOAT
    end = 2 * len(primitives)  # the update; the backward step of primitive n is end - 1 - n
    change = [0.0] * (end + 2)

    def alive(start: int, stop: int, size: float) -> None:
        change[start] += size
        change[stop + 1] -= size

    used, needed = _last_uses(graph)
    alive(0, end, spread * batch * FLOAT * sum(map(prod, graph.input_shapes)))
    for i, (_, op, _, shapes, shape) in enumerate(primitives):
        back, weights = end - 1 - i, op.params(*shapes)
        size = spread * batch * element * prod(shape)
        if not op.is_view:
            alive(i, needed[i], size)
            alive(end - 1 - used[i], back, size)  # its gradient
        alive(i, back, spread * batch * op.backward_bytes(*shapes) + (weights * HALF if half else 0))
        alive(back, end, weights * FLOAT)
    return max(accumulate(change))


def _last_uses(graph: Graph) -> tuple[list[int], list[int]]:
    """Return, per primitive's output, the last primitive that takes it and the last step that needs it.

    Uses of a view count as uses of the tensor that it is a view of.
    """
    primitives = graph.primitives
    end, origin = 2 * len(primitives), list(range(len(primitives)))
    used, needed = list(origin), list(origin)
    for i, (_, op, inputs, _, _) in enumerate(primitives):
        sources = [origin[source] if source >= 0 else source for source in inputs]
        if op.is_view:
            origin[i] = sources[0]
        for source in sources:
            if source >= 0:
                used[source] = i
                needed[source] = max(needed[source], i)
        for kept in {"input": (sources[0],), "output": (i,), "": ()}[op.backward_keeps]:
            if kept >= 0:
                needed[kept] = max(needed[kept], end - 1 - i)
    return used, needed
