"""Masks that an exported network gives images, and their scores against masks that are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.data.dataset import IGNORE, Images
from nas.errors import NasError
from nas.exporters import evaluate, predict
from nas.exporters.folder import NetworkFolder, open_folder

if TYPE_CHECKING:
    from torch import nn

Mask = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
MOST_WORST = 12
"""Images that are shown as the worst."""


@dataclass(frozen=True)
class PredictedMask:
    """Answer of a network to every pixel of one image.

    Attributes:
        image: Its file.
        mask: Class index per pixel, uint8 (height, width), in the size that the network was trained on.
        shares: Share of the pixels of each class that occurs, highest first, by name.
        changes: What was changed in the image before.
    """

    image: Path
    mask: Mask
    shares: dict[str, float]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class WorstMask:
    """An image with a low mean IoU.

    Attributes:
        index: Its place in the part that was scored, from 0.
        miou: Mean IoU over the classes of this image.
        pixels: uint8 (channels, height, width).
        mask, answer: Class index per pixel, as known and as answered.
    """

    index: int
    miou: float
    pixels: Images
    mask: Mask
    answer: Mask


@dataclass(frozen=True)
class MaskEvaluation:
    """Scores of a network on images with masks. Ignored pixels (255) are left out.

    Attributes:
        title: Of the network.
        data: The data as they were named, with the part that was scored.
        classes: Names of the classes.
        images: Number of images.
        confusion: Pixels of all images by class (row) and answer (column).
        loss: Mean cross-entropy of a pixel.
        worst: Images of lowest mean IoU first.
        familiar: Whether the images are those that the network was trained or chosen on.
    """

    title: str
    data: str
    classes: tuple[str, ...]
    images: int
    confusion: Counts
    loss: float
    worst: tuple[WorstMask, ...]
    familiar: bool

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur as class or answer."""
        return mean_iou(self.confusion)

    @property
    def accuracy(self) -> float:
        """Share of right pixels."""
        return int(np.trace(self.confusion)) / int(self.confusion.sum())

    def by_class(self) -> list[dict[str, Any]]:
        """Return pixels, IoU, recall and precision of each class; None where they are not defined."""
        rows = []
        for i, name in enumerate(self.classes):
            pixels, answers, right = (
                int(n) for n in (self.confusion[i].sum(), self.confusion[:, i].sum(), self.confusion[i, i])
            )
            union = pixels + answers - right
            row = {"class": name, "pixels": pixels, "iou": right / union if union else None}
            row |= {"recall": right / pixels if pixels else None}
            rows.append(row | {"precision": right / answers if answers else None})
        return rows

    def by_iou(self) -> list[dict[str, Any]]:
        """Return `by_class`, lowest IoU first, classes that do not occur last."""
        return sorted(self.by_class(), key=lambda row: 2.0 if row["iou"] is None else row["iou"])

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        return {
            "data": self.data,
            "images": self.images,
            "pixels": int(self.confusion.sum()),
            "miou": self.miou,
            "pixel_accuracy": self.accuracy,
            "loss": self.loss,
            "classes": self.by_class(),
            "confusion": self.confusion.tolist(),
        }


def predict_masks(
    folder: NetworkFolder | str | Path, paths: Iterable[str | Path], *, device: str = "cpu"
) -> Iterator[PredictedMask | NasError]:
    """Give each pixel of images a class.

    Args:
        folder: An exported folder with weights, of a network for masks, or its path.
        paths: Image files, and folders that hold some at any depth, as for `nas.predict`.
        device: cpu, cuda or cuda:1.

    Returns:
        An iterator over the images, in order: the mask of each, or the error if it cannot be read.

    Raises:
        NotFoundError: A path leads nowhere.
        NasError: The folder holds no weights, or a network that classifies whole images.

    Example:
        >>> import nas
        >>> from PIL import Image
        >>> Image.new("RGB", (32, 32)).save("black32.png")
        >>> network = nas.load_space("fcn_heads").with_input((3, 32, 32), 4).sample(0)
        >>> trained = nas.train(network, "shapes?limit=40", epochs=1, to="masking", resume=True)
        >>> (predicted,) = nas.predict_masks(trained["folder"], ["black32.png"])
        >>> predicted.mask.shape
        (32, 32)
    """
    folder = for_masks(folder)
    files, facts, names = list(predict.find_images(paths)), folder.preprocessing, folder.classes
    network = folder.network().to(device)
    for path in files:
        try:
            pixels, changes = predict.read_pixels(path, facts)
        except NasError as error:
            yield error
            continue
        (mask,), _ = _answers(network, pixels[None], folder, device)
        counts = np.bincount(mask.flatten(), minlength=len(names))
        order = [i for i in np.argsort(-counts, kind="stable") if counts[i]]
        yield PredictedMask(path, mask, {names[i]: counts[i] / mask.size for i in order}, changes)


def evaluate_masks(
    folder: NetworkFolder | str | Path,
    data: str | None = None,
    part: str | None = None,
    *,
    device: str = "cpu",
) -> MaskEvaluation:
    """Score an exported network on images with masks, read and normalised as in its training.

    Args:
        folder: An exported folder with weights, of a network for masks, or its path.
        data: Images with masks as for `nas.search`; by default those that the network was trained on.
        part: test, validation, train or all, with the defaults of `nas.evaluate`.
        device: cpu, cuda or cuda:1.

    Returns:
        IoU by class, the confusions of pixels and the worst images.

    Raises:
        NasError: The data have no masks, only ignored pixels, other classes or another shape, the part is
            missing, or the network classifies whole images.

    Example:
        >>> import nas
        >>> network = nas.load_space("fcn_heads").with_input((3, 32, 32), 4).sample(0)
        >>> trained = nas.train(network, "shapes?limit=40", epochs=1, to="masking", resume=True)
        >>> scores = nas.evaluate_masks(trained["folder"])
        >>> abs(1 - scores.miou - trained["test_error"]) < 1e-6
        True
    """
    folder = for_masks(folder)
    network, facts = folder.network().to(device), folder.preprocessing
    name, split, familiar = evaluate.find_images(folder, data, part, facts)
    step = predict.images_at_once(facts)
    total, loss, worst = np.zeros((len(folder.classes),) * 2, np.int64), 0.0, list[WorstMask]()
    for start in range(0, len(split.labels), step):
        images, labels = (np.asarray(array[start : start + step]) for array in (split.images, split.labels))
        answers, batch_loss = _answers(network, images, folder, device, labels)
        loss += batch_loss
        for i, (mask, answer) in enumerate(zip(labels, answers, strict=True)):
            counts = confusion(mask, answer, len(folder.classes))
            total += counts
            worst.append(WorstMask(start + i, mean_iou(counts), images[i], mask, answer))
        worst = sorted((w for w in worst if w.miou < 1), key=lambda w: w.miou)[:MOST_WORST]
    if not total.any():
        raise NasError("every pixel of the masks is ignored", where=name)
    title, count, mean_loss = str(folder.about["title"]), len(split.labels), loss / int(total.sum())
    return MaskEvaluation(title, name, folder.classes, count, total, mean_loss, tuple(worst), familiar)


def for_masks(folder: NetworkFolder | str | Path) -> NetworkFolder:
    """Return the folder; NasError if its network classifies whole images."""
    folder = folder if isinstance(folder, NetworkFolder) else open_folder(folder)
    if folder.about["task"] != "segmentation":
        hint = "nas.predict and nas.evaluate are for such networks"
        raise NasError("classifies whole images, not pixels", where=str(folder.path), hint=hint)
    return folder


def confusion(mask: Mask, answer: Mask, classes: int) -> Counts:
    """Return the pixels by class (row) and answer (column), without those that are ignored."""
    kept = mask != IGNORE
    return evaluate.confusion_matrix(mask[kept], answer[kept], classes)


def mean_iou(counts: Counts) -> float:
    """Return the mean IoU over the classes that occur as class or answer; nan if there are none."""
    right = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - right
    return float((right[union > 0] / union[union > 0]).mean()) if union.any() else float("nan")


def mask_files(paths: Sequence[str | Path], to: Path) -> dict[Path, Path]:
    """Return the file of each image's mask: the image's path below the folder that was named, as PNG in `to`.

    Raises NasError if two images would share a file, or one exists.
    """
    files: dict[Path, Path] = {}
    images: dict[Path, Path] = {}
    for path in map(Path, paths):
        for image in predict.find_images([path]):
            inside = image.relative_to(path) if path.is_dir() else Path(image.name)
            file = files[image] = to / inside.with_suffix(".png")
            if images.setdefault(file, image) != image:
                raise NasError(f"would be the mask of {images[file]} and of {image}", where=str(file))
            if file.exists():
                raise NasError("exists", where=str(file), hint="name another folder: --to FOLDER")
    return files


def _answers(
    network: nn.Module, pixels: Images, folder: NetworkFolder, device: str, masks: Any = None
) -> tuple[npt.NDArray[np.uint8], float]:
    """Return the classes of the pixels of images, and the sum of their cross-entropy if masks are given."""
    import torch

    from nas.training.metrics import cross_entropy

    with torch.inference_mode():
        scores = network(folder.preprocessing.normalise(torch.tensor(pixels)).to(device))
        answers: npt.NDArray[np.uint8] = scores.argmax(1).byte().cpu().numpy()
        if masks is None:
            return answers, 0.0
        known = torch.tensor(masks).to(device).long()
        return answers, cross_entropy(scores, known, reduction="sum").item()
