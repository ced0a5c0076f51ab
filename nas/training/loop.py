"""Training and evaluation of one network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.data import Dataset
from nas.data.dataset import Images, Labels
from nas.training.augment import Batches, Normalizer
from nas.training.checkpoint import TrainingState
from nas.training.cuda_graph import CUDAGraphStep
from nas.training.memory import release_memory
from nas.training.metrics import Confusion, Score, cross_entropy, training_losses
from nas.training.onednn_workarounds import adapted_convolutions
from nas.training.recipe import WORKER_ENVIRONMENT, Recipe, default_recipe, evaluation_batch

__all__ = ["WORKER_ENVIRONMENT", "Recipe", "Score", "TrainingResult", "default_recipe", "evaluate", "train"]

WARM_UP = 0.3
"""Share of the training in which the rate rises."""
EXPLODED = 10
"""A median loss this many times that of guessing is a divergence."""
CPU_INFO = Path("/proc/cpuinfo")
CPU_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
"""Flags of a CPU that multiplies in bfloat16; others convert each number first, which is slower."""


@dataclass(frozen=True)
class TrainingResult:
    """error and loss are of the validation images after the last epoch. Where a training
    diverged, error is NaN and loss that of the training images in the epoch that did.
    curve: a row for each whole epoch, with epoch (from 1), train_loss, train_error, val_loss,
    val_error; those of training are of the epoch's batches, as augmented; those of validation are in
    single precision at the end of a cycle of the rate, and in that of the training before. In
    segmentation an error is 1 - mIoU, and a row has val_miou and val_pixel_accuracy too. state: a
    checkpoint, where the training stopped before its last epoch."""

    error: float
    loss: float
    diverged: bool
    curve: tuple[dict[str, float], ...]
    state: bytes | None = None


def train(
    network: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    on_batch: Callable[[], None] = lambda: None,
    checkpoint: Path | None = None,
    resume: bytes | None = None,
    until: int | None = None,
    lap: Callable[[str], None] = lambda _: None,
) -> TrainingResult:
    """Train a network in place and score it on the validation images after every epoch.

    On one machine with one thread, equal weights and seeds give equal figures, also where
    the training is resumed from `checkpoint`, which is written after every epoch. With `until` it stops
    after so many epochs of the recipe's and gives its state, from which `resume` goes on. A
    training whose loss explodes ends with that epoch. `lap` is told the name of each phase
    when it ends: building, training, validation.
    """
    place = torch.device(device)
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator(place).manual_seed(seed)
    batches = Batches(dataset, recipe, place, generator)
    optimizer = make_optimizer(network, recipe)
    identity = {"seed": seed, "data": dataset.fingerprint, **asdict(recipe)}
    state = TrainingState(network, optimizer, generator, identity)
    half = precision_of(recipe, place.type) == "bfloat16"
    adapted = adapted_convolutions(network, half_on_cpu=half and place.type == "cpu")
    with adapted, torch.random.fork_rng([place] if place.type == "cuda" else []):
        torch.manual_seed(seed)  # for dropout and drop-path
        curve = state.unpack(resume) if resume else state.resume(checkpoint) if checkpoint else []
        step = Step(network, batches, optimizer, half)
        run = CUDAGraphStep(step, generator) if place.type == "cuda" else step
        lap("building")
        for epoch in range(len(curve), until or recipe.epochs):
            losses = train_epoch(step, run, epoch, on_batch)
            train_loss, typical = losses.mean().item(), losses.median().item()
            lap("training")
            data = batches.data
            # The error that is kept is of single precision, as is that of the exported network.
            coarse = half and epoch + 1 < recipe.cycle(epoch)[1]
            score = evaluate(network, data.val_images, data.val_labels, dataset, device, on_batch, coarse)
            lap("validation")
            exploded = typical > EXPLODED * math.log(dataset.num_classes)
            if exploded or not math.isfinite(train_loss + score.loss):
                return TrainingResult(math.nan, train_loss, True, tuple(curve))
            train_error = step.confusion.score(losses.sum()).error
            row = {"epoch": epoch + 1, "train_loss": train_loss, "train_error": train_error}
            curve.append(row | score.figures("val"))
            if checkpoint:
                state.save(checkpoint, curve)
            if on_epoch:
                on_epoch(dict(curve[-1]))
        network.zero_grad()
        release_memory(device)  # or what saving takes would come on top of what training has left free
        kept = state.pack(curve) if len(curve) < recipe.epochs else None
    return TrainingResult(curve[-1]["val_error"], curve[-1]["val_loss"], False, tuple(curve), kept)


class Step:
    """One step of training, a function of buffers that stay in their place, so that a GPU can
    replay it as it was recorded. `chosen` (images of the batch) and `rate` are to be filled before;
    `loss`, less that of auxiliary heads, and the answers in `confusion` are there after."""

    def __init__(
        self, network: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, half: bool
    ) -> None:
        self.network, self.batches, self.optimizer, self.half = network, batches, optimizer, half
        self.chosen = torch.zeros(batches.size, dtype=torch.int64, device=batches.device)
        self.rate, self.loss = (torch.zeros((), device=batches.device) for _ in range(2))
        self.confusion = Confusion(batches.dataset, batches.device)
        for group in optimizer.param_groups:
            group["lr"] = self.rate

    def __call__(self) -> None:
        inputs, labels = self.batches.augment_batch(self.chosen)
        # Each weight is used once a step, so that to keep its copy in bfloat16 saves nothing.
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.half, cache_enabled=False):
            output = self.network(inputs)
        smoothing = self.batches.recipe.label_smoothing
        scores, loss, total = training_losses(self.network, output, labels, smoothing)
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.loss.copy_(loss.detach())
        self.confusion.add(scores.detach(), labels)


def train_epoch(step: Step, run: Callable[[], None], epoch: int, on_batch: Callable[[], None]) -> Tensor:
    """One pass over the training images; `epoch` counts from 0. Returns the loss of each step. `run`
    takes the step; nothing in between waits for the device."""
    batches, recipe = step.batches, step.batches.recipe
    step.network.train()
    step.confusion.counts.zero_()
    start, end = recipe.cycle(epoch)
    progress = [(epoch - start + at / len(batches)) / (end - start) for at in range(len(batches))]
    rates = torch.tensor([recipe.lr * one_cycle(share) for share in progress], device=batches.device)
    losses = torch.empty_like(rates)
    for at, chosen in enumerate(batches.order()):
        step.chosen.copy_(chosen)
        step.rate.copy_(rates[at])
        run()
        losses[at] = step.loss
        on_batch()
    return losses


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    images: Images | Tensor,
    labels: Labels | Tensor,
    dataset: Dataset,
    device: str = "cpu",
    on_batch: Callable[[], None] = lambda: None,
    half: bool = False,
) -> Score:
    """Figures on images as uint8 (n, channels, height, width), normalised by the figures of the training
    images; the network is run in single precision, or in bfloat16 where `half`."""
    place = torch.device(device)
    images, labels = (
        each if isinstance(each, Tensor) else torch.tensor(each, device=place) for each in (images, labels)
    )
    network.eval()
    normalize = Normalizer(dataset, place)
    confusion, loss = Confusion(dataset, place), torch.zeros((), device=place)
    size = evaluation_batch(dataset, device)
    for start in range(0, len(labels), size):
        chosen = slice(start, start + size)
        answers = labels[chosen].long()
        inputs = normalize(images[chosen].permute(0, 2, 3, 1))
        with torch.autocast(place.type, torch.bfloat16, enabled=half):
            scores = network(inputs)
        confusion.add(scores, answers)
        loss += cross_entropy(scores, answers, reduction="sum")
        on_batch()
    return confusion.score(loss)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; norms and biases do not decay."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )


def one_cycle(progress: float) -> float:
    """The rate as a share of its peak: it rises from a tenth in a line, then falls to zero
    along a cosine (Smith and Topin, 2018). `progress` runs from 0 to 1."""
    if progress < WARM_UP:
        return 0.1 + 0.9 * progress / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))


def precision_of(recipe: Recipe, device: str) -> str:
    """Return the precision of a recipe's forward pass on a device (cpu or cuda): float32 or bfloat16."""
    return hardware_precision(device) if recipe.precision == "auto" else recipe.precision


def hardware_precision(device: str) -> str:
    """Return the precision that "auto" stands for on this machine: bfloat16 or float32.

    A GPU computes in bfloat16 from compute capability 8.0, a CPU where it has instructions that multiply
    in it. `device` is cpu or cuda. The answer depends on nothing else, so equal machines train alike.
    """
    if device == "cuda":
        native = torch.cuda.get_device_capability() >= (8, 0)
    else:
        native = device == "cpu" and not CPU_BFLOAT16.isdisjoint(_cpu_flags())
    return "bfloat16" if native else "float32"


def _cpu_flags() -> set[str]:
    """Return the instruction sets that Linux lists for the first core; none on other systems."""
    try:
        with CPU_INFO.open() as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(flags.partition(":")[2].split())
