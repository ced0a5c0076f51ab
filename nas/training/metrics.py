"""Losses and figures of both tasks: scores are (n, classes), labels (n,) in classification,
(n, classes, height, width) and (n, height, width) in segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data import Dataset
from nas.data.dataset import IGNORE


class Score(NamedTuple):
    """error: fraction of wrong answers, in segmentation 1 - mIoU; loss: mean cross-entropy;
    pixel_accuracy: fraction of right pixels, of segmentation alone."""

    error: float
    loss: float
    pixel_accuracy: float | None = None

    def figures(self, prefix: str) -> dict[str, float]:
        """By name, as in `val_error`; mIoU and pixel accuracy where there are masks."""
        found = {f"{prefix}_loss": self.loss, f"{prefix}_error": self.error}
        if self.pixel_accuracy is not None:
            found |= {f"{prefix}_miou": 1 - self.error, f"{prefix}_pixel_accuracy": self.pixel_accuracy}
        return found


class Confusion:
    """How often each class was given each answer, counted on the device over many batches."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.task, self.classes = dataset.task, dataset.num_classes
        # The last row is of pixels that are ignored: to sort them out would wait for the device.
        self.counts = torch.zeros((self.classes + 1) * self.classes, dtype=torch.int64, device=device)

    def add(self, scores: Tensor, labels: Tensor) -> None:
        cells = (labels.clamp(max=self.classes) * self.classes + scores.argmax(1)).flatten()
        self.counts.scatter_add_(0, cells, torch.ones_like(cells))

    def score(self, total_loss: Tensor) -> Score:
        """`total_loss` is the sum over all answers that count. Waits for the device.

        mIoU is the mean over the classes that occur, as label or answer, of intersection
        over union, with the pixels of all images taken together (Long et al., 2015).
        """
        matrix = self.counts.view(-1, self.classes)[:-1].cpu()
        total, right = max(1, int(matrix.sum())), matrix.diagonal()
        loss, accuracy = total_loss.item() / total, int(right.sum()) / total
        if self.task == "classification":
            return Score((total - int(right.sum())) / total, loss)
        union = matrix.sum(0) + matrix.sum(1) - right
        overlap = right[union > 0].double() / union[union > 0]
        return Score(1 - overlap.mean().item(), loss, accuracy)


def cross_entropy(
    scores: Tensor, labels: Tensor, *, smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Mean or sum over all answers that count; 0 where none does."""
    scores = scores.float()
    if labels.ndim == 1:
        return F.cross_entropy(scores, labels, reduction=reduction, label_smoothing=smoothing)
    loss = F.cross_entropy(scores, labels, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing)
    return loss if reduction == "sum" else loss / (labels != IGNORE).sum().clamp(min=1)


def training_losses(
    network: nn.Module,
    output: Tensor | tuple[Tensor, Sequence[Tensor]],
    labels: Tensor,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """The scores, their loss, and the loss to minimise, from what `network` gave in training mode.

    A network with auxiliary heads gives (scores, [scores of each such head]); their losses
    are added, each times its weight in `network.aux_weights` (Szegedy et al., 2015).
    """
    scores, auxiliary = output if isinstance(output, tuple) else (output, ())
    loss = cross_entropy(scores, labels, smoothing=smoothing)
    total = loss
    for weight, other in zip(getattr(network, "aux_weights", ()), auxiliary, strict=True):
        total = total + weight * cross_entropy(other, labels, smoothing=smoothing)
    return scores, loss, total
