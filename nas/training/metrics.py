"""Losses and metrics of both tasks.

In classification scores are (n, classes) and labels (n,); in segmentation scores are
(n, classes, height, width) and labels (n, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data import Dataset
from nas.data.dataset import IGNORE

NO_CLASS = -1
"""Index that no label has, so that none is ignored."""


class Score(NamedTuple):
    """Metrics of a network on images.

    Attributes:
        error: Fraction of wrong answers; 1 - mIoU in segmentation.
        loss: Mean cross-entropy.
        pixel_accuracy: Fraction of right pixels; None in classification.
        class_errors: Fraction of wrong answers among the images of each class, for masks among its pixels;
            None for a class without any.
    """

    error: float
    loss: float
    pixel_accuracy: float | None = None
    class_errors: tuple[float | None, ...] = ()

    @property
    def balanced_error(self) -> float:
        """Return the mean of the errors of the classes: 1 - balanced accuracy."""
        errors = [error for error in self.class_errors if error is not None]
        return sum(errors) / len(errors) if errors else math.nan

    def figures(self, prefix: str) -> dict[str, float]:
        """Return the metrics by name, such as `val_error` for prefix val; mIoU too in segmentation."""
        figures = {
            f"{prefix}_loss": self.loss,
            f"{prefix}_error": self.error,
            f"{prefix}_balanced_error": self.balanced_error,
        }
        if self.pixel_accuracy is not None:
            figures |= {f"{prefix}_miou": 1 - self.error, f"{prefix}_pixel_accuracy": self.pixel_accuracy}
        return figures


class Confusion:
    """Confusion matrix, counted on the device over many batches without waiting for it."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.task, self.classes = dataset.task, dataset.num_classes
        # The last row counts ignored pixels: filtering them would wait for the device.
        self.counts = torch.zeros((self.classes + 1) * self.classes, dtype=torch.int64, device=device)

    def add(self, scores: Tensor, labels: Tensor) -> None:
        """Count the answers of a batch."""
        cells = (labels.clamp(max=self.classes) * self.classes + scores.argmax(1)).flatten()
        self.counts.scatter_add_(0, cells, torch.ones_like(cells))

    def score(self, total_loss: Tensor) -> Score:
        """Return the metrics of all answers so far; waits for the device.

        mIoU is the mean of intersection over union, over the classes that occur as label or answer, with the
        pixels of all images pooled (Long et al., 2015).

        Args:
            total_loss: Sum of the cross-entropy over all answers that are not ignored.
        """
        matrix = self.counts.view(-1, self.classes)[:-1].cpu()
        total, right = max(1, int(matrix.sum())), matrix.diagonal()
        loss, accuracy = total_loss.item() / total, int(right.sum()) / total
        per_class = zip(matrix.sum(1).tolist(), right.tolist(), strict=True)
        errors = tuple((n - hits) / n if n else None for n, hits in per_class)
        if self.task == "classification":
            return Score((total - int(right.sum())) / total, loss, class_errors=errors)
        union = matrix.sum(0) + matrix.sum(1) - right
        overlap = right[union > 0].double() / union[union > 0]
        return Score(1 - overlap.mean().item(), loss, accuracy, errors)


class Mix(NamedTuple):
    """Images mixed in pairs.

    Attributes:
        others: Label of the second image of each pair, (n,).
        share: Share of the first image, (n,).
    """

    others: Tensor
    share: Tensor


def cross_entropy(
    scores: Tensor,
    labels: Tensor,
    *,
    smoothing: float = 0.0,
    reduction: str = "mean",
    weights: Tensor | None = None,
    mix: Mix | None = None,
) -> Tensor:
    """Return the mean or sum over all labels that are not ignored; 0 if all are.

    Args:
        scores: Scores of the classes.
        labels: Class indices, or masks.
        smoothing: Label smoothing, from 0 to 1.
        reduction: mean or sum.
        weights: Weight of each class: the smoothed loss of a label counts by the weight of its class, and the
            mean is the weighted one. `torch.nn.CrossEntropyLoss` weighs the share of each class that a label
            is spread over instead, so that a class that is rare enough is the best answer to all labels.
        mix: Labels of images that were mixed in pairs, and the shares of both; in classification only.
    """
    scores = scores.float()
    if mix is not None:
        return _mixed(scores, labels, mix, smoothing, weights)
    if weights is None:
        if labels.ndim == 1:
            return _losses(scores, labels, smoothing, reduction)
        loss = _losses(scores, labels, smoothing, "sum")
    else:
        loss = _weighted(scores, labels, smoothing, weights).sum()
    if reduction == "sum":
        return loss
    total = label_weight(labels, weights)
    return loss / (total.clamp(min=1) if weights is None else torch.where(total > 0, total, 1.0))


def _losses(scores: Tensor, labels: Tensor, smoothing: float, reduction: str = "none") -> Tensor:
    """Return the losses, 0 for ignored pixels; of whole images no class is ignored."""
    ignored = IGNORE if labels.ndim > 1 else NO_CLASS
    return F.cross_entropy(
        scores, labels, ignore_index=ignored, reduction=reduction, label_smoothing=smoothing
    )


def _weighted(scores: Tensor, labels: Tensor, smoothing: float, weights: Tensor) -> Tensor:
    """Return the loss of each label, times the weight of its class."""
    return _losses(scores, labels, smoothing) * weights[labels.clamp(max=len(weights) - 1)]


def label_weight(labels: Tensor, weights: Tensor | None = None, mix: Mix | None = None) -> Tensor:
    """Return the sum of weights that the mean of `cross_entropy` divides by: of the labels that are not
    ignored."""
    if labels.ndim > 1:
        if weights is None:
            return (labels != IGNORE).sum()
        return torch.where(labels == IGNORE, 0.0, weights[labels.clamp(max=len(weights) - 1)]).sum()
    if weights is None:
        return torch.ones_like(labels).sum()
    if mix is None:
        return weights[labels].sum()
    return torch.lerp(weights[mix.others], weights[labels], mix.share).sum()


def _mixed(scores: Tensor, labels: Tensor, mix: Mix, smoothing: float, weights: Tensor | None) -> Tensor:
    """Return the mean of share * loss(labels) + (1 - share) * loss(others) (Zhang et al., 2018)."""
    if weights is None:
        first, second = (_losses(scores, answers, smoothing) for answers in (labels, mix.others))
        return torch.lerp(second, first, mix.share).mean()
    first, second = (_weighted(scores, answers, smoothing, weights) for answers in (labels, mix.others))
    return torch.lerp(second, first, mix.share).sum() / label_weight(labels, weights, mix)


def training_losses(
    network: nn.Module,
    output: Tensor | tuple[Tensor, Sequence[Tensor]],
    criterion: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scores, their loss and the loss to minimise, of a network's output in training mode.

    The loss to minimise adds the losses of auxiliary heads, weighted by `network.aux_weights` (Szegedy et
    al., 2015).

    Args:
        network: The network.
        output: Its scores, or (scores, [scores per auxiliary head]).
        criterion: Gives the loss of scores.
    """
    scores, auxiliary = output if isinstance(output, tuple) else (output, ())
    loss = criterion(scores)
    total = loss
    for weight, other in zip(getattr(network, "aux_weights", ()), auxiliary, strict=True):
        total = total + weight * criterion(other)
    return scores, loss, total
