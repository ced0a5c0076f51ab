"""Training and evaluation of one network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.data import Dataset
from nas.data.dataset import Images, Labels
from nas.training.augment import Batches, Normalizer
from nas.training.checkpoint import NORM_PARTS, TrainingState
from nas.training.cuda_graph import CUDAGraphStep
from nas.training.device_data import gather
from nas.training.devices import ALONE, DeviceGroup
from nas.training.kept_weights import KeptWeights, best_epoch, out_of_patience
from nas.training.memory import release_memory
from nas.training.metrics import Confusion, Score, cross_entropy
from nas.training.onednn_workarounds import adapted_convolutions
from nas.training.precision import resolve_recipe
from nas.training.recipe import (
    WORKER_ENVIRONMENT,
    Recipe,
    check_batch,
    check_recipe,
    default_recipe,
    evaluation_batch,
)
from nas.training.step import Step, train_epoch

__all__ = ["WORKER_ENVIRONMENT", "Recipe", "Score", "TrainingResult", "default_recipe", "evaluate", "train"]

EXPLODED = 10
"""Ratio of the median loss to that of guessing above which a training has diverged."""


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a training.

    Attributes:
        error: Validation error after the last epoch, a fraction in [0, 1]; 1 - mIoU in segmentation. NaN
            where the training diverged. With a patience, of the best epoch, as are loss and weights.
        loss: Validation loss after the last epoch; the training loss of the epoch that diverged.
        diverged: Whether the loss exploded.
        curve: One row per whole epoch: epoch (from 1), train_loss, train_error, val_loss, val_error and
            val_balanced_error; in segmentation also val_miou and val_pixel_accuracy. Training figures are of
            the augmented batches. Validation is in float32 at the end of a cycle of the rate, else in the
            training's precision; it is of the averaged weights where the recipe averages them.
        state: Checkpoint of a training that stopped before its last epoch.
        class_errors: Validation error of each class; None for a class without validation images.
        epoch: Epoch, from 1, of which the network has the weights; 0 where the training diverged.
        figures: Validation figures of these weights, named as in the curve and in float32.
    """

    error: float
    loss: float
    diverged: bool
    curve: tuple[dict[str, float], ...]
    state: bytes | None = None
    class_errors: tuple[float | None, ...] = ()
    epoch: int = 0
    figures: dict[str, float] = field(default_factory=dict)


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
    group: DeviceGroup = ALONE,
) -> TrainingResult:
    """Train a network in place and score it on the validation images after every epoch.

    On one machine with one thread, equal weights and seeds give equal figures, also where the training is
    resumed. A training whose loss explodes ends with that epoch.

    Args:
        network: The network, with its initial weights.
        dataset: Training and validation images.
        recipe: Optimizer, schedule, augmentation and precision; see `resolve_recipe` for precision auto.
        seed: Seed of the batches, the augmentation and dropout.
        device: cpu, cuda or cuda:1.
        on_epoch: Called after each epoch with its row of the curve.
        on_batch: Called after each batch.
        checkpoint: File to resume from and to write after every epoch.
        resume: Checkpoint to resume from, as in `TrainingResult.state`.
        until: Epoch after which to stop; by default the last of the recipe.
        lap: Called at the end of each phase with its name: building, training, validation.
        group: Processes that train this network together, with equal arguments but `device`, `on_epoch` and
            `checkpoint`. Each resumes from its own copy of the checkpoint; the first writes the next ones.
    """
    check_recipe(recipe, dataset)
    check_batch(recipe, dataset, group.size)
    place = torch.device(device)
    recipe = resolve_recipe(recipe, device, checkpoint)
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator(place).manual_seed(seed)
    batches = Batches(dataset, recipe, place, generator, group)
    identity = {"seed": seed, "data": dataset.fingerprint, **asdict(recipe)}
    identity[NORM_PARTS] = group.norm_parts(network)
    kept = KeptWeights(network, recipe)
    state = TrainingState(network, make_optimizer(network, recipe), generator, identity, kept.tensors)
    half = recipe.precision == "bfloat16"
    adapted = adapted_convolutions(network, half_on_cpu=half and place.type == "cpu")
    whole = group.whole_batches(network, batches.size)
    with adapted, whole, torch.random.fork_rng([place] if place.type == "cuda" else []):
        torch.manual_seed(seed)  # for dropout, drop-path and mixup
        curve = state.unpack(resume) if resume else state.resume(checkpoint) if checkpoint else []
        step = Step(network, batches, state.optimizer, half, kept)
        run = CUDAGraphStep(step, generator) if place.type == "cuda" and group.size == 1 else step
        score = None
        lap("building")
        while len(curve) < (until or recipe.epochs) and not out_of_patience(curve, recipe):
            row, score, diverged = _train_and_validate(step, run, len(curve), device, on_batch, lap)
            if diverged:
                return TrainingResult(math.nan, row["train_loss"], True, tuple(curve))
            curve.append(row)
            if recipe.patience and best_epoch(curve, recipe.patience) == len(curve):
                kept.keep_best()
            if checkpoint and group.rank == 0:
                state.save(checkpoint, curve)
            if on_epoch:
                on_epoch(dict(row))
        network.zero_grad()
        release_memory(device)  # else serialising adds to the memory that training has left free
        ended = len(curve) == recipe.epochs or out_of_patience(curve, recipe)
        packed = None if ended else state.pack(curve)
        kept.settle()
        epoch = best_epoch(curve, recipe.patience)
        if score is None or epoch < len(curve):  # no epoch was left to train, or an earlier one is kept
            images, labels = batches.data.val_images, batches.data.val_labels
            score = evaluate(network, images, labels, dataset, device, group=group)
    errors, figures = score.class_errors, score.figures("val")
    return TrainingResult(score.error, score.loss, False, tuple(curve), packed, errors, epoch, figures)


def _train_and_validate(
    step: Step,
    run: Callable[[], None],
    epoch: int,
    device: str,
    on_batch: Callable[[], None],
    lap: Callable[[str], None],
) -> tuple[dict[str, float], Score, bool]:
    """Train and validate for one epoch, counted from 0; return its row, its score and whether its loss
    exploded."""
    batches = step.batches
    losses = train_epoch(step, run, epoch, on_batch)
    batches.group.average(step.kept.statistics)
    train_loss, typical = losses.mean().item(), losses.median().item()
    lap("training")
    images, labels = batches.data.val_images, batches.data.val_labels
    # The error that is recorded is in float32, as the exported network computes.
    half = step.half and epoch + 1 < batches.recipe.cycle(epoch)[1]
    with step.kept.averaged():
        score = evaluate(step.network, images, labels, batches.dataset, device, on_batch, half, batches.group)
    lap("validation")
    exploded = typical > EXPLODED * math.log(batches.dataset.num_classes)
    diverged = exploded or not math.isfinite(train_loss + score.loss)
    train_error = step.confusion.score(losses.sum()).error
    row = {"epoch": epoch + 1, "train_loss": train_loss, "train_error": train_error}
    row, diverged = batches.group.same((row | score.figures("val"), diverged))
    return row, score, diverged


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    images: Images | Tensor,
    labels: Labels | Tensor,
    dataset: Dataset,
    device: str = "cpu",
    on_batch: Callable[[], None] = lambda: None,
    half: bool = False,
    group: DeviceGroup = ALONE,
) -> Score:
    """Score a network on images, normalised by the mean and deviation of the training images.

    Args:
        network: The network, which is left in evaluation mode.
        images: uint8 of (n, channels, height, width).
        labels: Class indices of (n,), or masks of (n, height, width).
        dataset: The data set that the network was trained on.
        device: The device that holds the network.
        on_batch: Called after each batch.
        half: Whether to compute in bfloat16 rather than float32.
        group: Processes that take the batches in turn; each returns the score of all.
    """
    place = torch.device(device)
    network.eval()
    normalize = Normalizer(dataset, place)
    confusion, loss = Confusion(dataset, place), torch.zeros((), device=place)
    size = evaluation_batch(dataset, device)
    for start in range(group.rank * size, len(labels), group.size * size):
        chosen = slice(start, start + size)
        answers = gather(labels, chosen).to(place).long()
        inputs = normalize(gather(images, chosen).to(place).permute(0, 2, 3, 1))
        with torch.autocast(place.type, torch.bfloat16, enabled=half):
            scores = network(inputs)
        confusion.add(scores, answers)
        loss += cross_entropy(scores, answers, reduction="sum")
        on_batch()
    group.sum(loss, confusion.counts)
    return confusion.score(loss)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum; norms and biases do not decay.

    A parameter with an attribute `rate_share` gets that share of the learning rate.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in sorted(parameters, key=lambda parameter: parameter.ndim <= 1):
        key = getattr(parameter, "rate_share", 1.0), parameter.ndim > 1
        groups.setdefault(key, []).append(parameter)
    return torch.optim.SGD(
        [
            {"params": params, "weight_decay": recipe.weight_decay * decays, "share": share}
            for (share, decays), params in groups.items()
        ],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )
