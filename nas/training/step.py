"""One training step, on buffers that stay in place, and an epoch of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from nas.training.augment import Batches
from nas.training.imbalance import class_weights
from nas.training.kept_weights import KeptWeights, blend
from nas.training.metrics import Confusion, Mix, cross_entropy, label_weight, training_losses
from nas.training.recipe import Recipe


class Step:
    """One training step on buffers that stay in place, so that a GPU can replay it as a CUDA graph.

    Fill `chosen` (indices of the batch's images), `rate` and `share` (of the new weights in their average)
    before each call. Afterwards `loss` holds the loss without auxiliary heads, and `confusion` has counted
    the answers. In a group, both are of the rows of this process: its part of the mean loss, and its answers.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: Batches,
        optimizer: torch.optim.Optimizer,
        half: bool,
        kept: KeptWeights | None = None,
    ) -> None:
        self.network, self.batches, self.optimizer, self.half = network, batches, optimizer, half
        self.group, self.parallel = batches.group, batches.group.parallel(network)
        self.kept = kept or KeptWeights(network, batches.recipe)
        self.chosen = torch.zeros(batches.rows_read, dtype=torch.int64, device=batches.device)
        self.rate, self.share, self.loss = (torch.zeros((), device=batches.device) for _ in range(3))
        self.weights = class_weights(batches.recipe, batches.dataset, batches.device)
        self.confusion = Confusion(batches.dataset, batches.device)
        for group in optimizer.param_groups:
            group["lr"] = self.rate if group.get("share", 1) == 1 else self.rate.clone()

    def __call__(self) -> None:
        inputs, labels = self.batches.augment_batch(self.chosen)
        inputs, mix = self.batches.mix(inputs, labels)
        labels = labels[: len(inputs)]  # in a group, the others are of images that these are mixed with
        # Each weight is used once per step, so caching its bfloat16 copy saves nothing.
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.half, cache_enabled=False):
            output = self.parallel(inputs)
        smoothing = self.batches.recipe.label_smoothing
        criterion = partial(cross_entropy, labels=labels, smoothing=smoothing, weights=self.weights, mix=mix)
        scores, loss, total = training_losses(self.network, output, criterion)
        if self.group.size > 1:
            share = self._share(labels, mix)
            loss, total = loss * share, total * (share * self.group.size)  # gradients are averaged
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            if group.get("share", 1) != 1:
                group["lr"].copy_(self.rate * group["share"])
        self.optimizer.step()
        self.kept.update(self.share)
        self.loss.copy_(loss.detach())
        self.confusion.add(scores.detach(), labels)

    def _share(self, labels: Tensor, mix: Mix | None) -> Tensor | float:
        """Return the share of this process's rows in the mean loss of the batch."""
        if self.weights is None and labels.ndim == 1:
            return len(labels) / self.batches.size
        own = label_weight(labels, self.weights, mix).float()
        whole = own.clone()
        self.group.sum(whole)
        return torch.where(whole > 0, own / whole, 0.0)


def train_epoch(step: Step, run: Callable[[], None], epoch: int, on_batch: Callable[[], None]) -> Tensor:
    """Train for one epoch, on each training image once unless classes are balanced; return the loss of each
    step.

    Nothing between the steps waits for the device.

    Args:
        step: The buffers of the step.
        run: Takes the step: `step` itself or its CUDA graph.
        epoch: Epoch, counted from 0.
        on_batch: Called after each step.
    """
    batches, recipe = step.batches, step.batches.recipe
    step.network.train()
    step.confusion.counts.zero_()
    start, end = recipe.cycle(epoch)
    progress = [(epoch - start + i / len(batches)) / (end - start) for i in range(len(batches))]
    rates = [recipe.lr * one_cycle(done, recipe.warm_up) for done in progress]
    shares = [blend(epoch * len(batches) + i, recipe.ema) for i in range(len(batches))]
    settings = torch.tensor([rates, shares], device=batches.device)
    losses = torch.empty_like(settings[0])
    for i, chosen in enumerate(batches.reader.staging(batches.order())):
        step.chosen.copy_(chosen)
        step.rate.copy_(settings[0, i])
        step.share.copy_(settings[1, i])
        run()
        losses[i] = step.loss
        on_batch()
    step.group.sum(losses, step.confusion.counts)
    return losses


def one_cycle(progress: float, warm_up: float = Recipe.warm_up) -> float:
    """Return the learning rate as a share of its peak (one-cycle policy, Smith and Topin, 2018).

    It rises linearly from a tenth, then falls to zero along a cosine.

    Args:
        progress: Share of the training that is done, from 0 to 1.
        warm_up: Share of the training in which the rate rises, below 1.
    """
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warm_up) / (1 - warm_up))
