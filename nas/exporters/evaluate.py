"""Evaluation of an exported network on labelled images: errors, confusions, calibration, worst images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.data import check_recorded, load_data
from nas.data.dataset import Images, Labels, Split, match_classes, match_shape
from nas.data.decode import broken_error
from nas.data.load import parse_spec, resized
from nas.data.source import Options
from nas.errors import NasError
from nas.exporters.folder import NetworkFolder, open_folder
from nas.exporters.predict import Shares, images_at_once, probabilities

if TYPE_CHECKING:
    from nas.exporters.preprocessing import Preprocessing

PARTS = ("test", "validation", "train", "all")
SPLITTING = ("limit", "min_images", "validation", "test")
"""Options of data that decide which images go into which part of a training."""
BINS = 15
"""Bins of the confidence, of equal width, over which calibration is averaged (Guo et al., 2017)."""
MOST_WORST = 24
"""Images that are shown as the worst."""
NETWORK = "the network"
TINY = 1e-12
"""Least probability whose logarithm enters the loss."""


@dataclass(frozen=True)
class WorstImage:
    """An image to whose class the network gives little probability.

    Attributes:
        index: Its place in the part that was scored, from 0.
        label, answer: Names of its class, and of the one with the highest probability.
        probability, confidence: Those of the two.
        pixels: uint8 (channels, height, width).
    """

    index: int
    label: str
    answer: str
    probability: float
    confidence: float
    pixels: Images


@dataclass(frozen=True)
class Bin:
    """Images whose confidence is in one range: their number, mean confidence and accuracy."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of a network on labelled images.

    Attributes:
        title: Of the network.
        data: The data as they were named, with the part that was scored.
        classes: Names of the classes.
        confusion: Images by class (row) and answer (column).
        loss: Mean cross-entropy.
        bins: Calibration by confidence; bins without images are left out.
        worst: Wrong answers, least probable class first.
        familiar: Whether the images are those that the network was trained or chosen on.
    """

    title: str
    data: str
    classes: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    loss: float
    bins: tuple[Bin, ...]
    worst: tuple[WorstImage, ...]
    familiar: bool

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def wrong(self) -> int:
        """Number of wrong answers."""
        return self.count - int(np.trace(self.confusion))

    @property
    def error(self) -> float:
        """Share of wrong answers."""
        return self.wrong / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the error (Wilson)."""
        from scipy.stats import binomtest

        bounds = binomtest(self.wrong, self.count).proportion_ci(method="wilson")
        return float(bounds.low), float(bounds.high)

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of accuracy from confidence."""
        return sum(bin.count * abs(bin.accuracy - bin.confidence) for bin in self.bins) / self.count

    def by_class(self) -> list[dict[str, Any]]:
        """Return images, error (None without images) and precision (None without answers) of each class."""
        rows = []
        for i, name in enumerate(self.classes):
            images, answers, right = (
                int(n) for n in (self.confusion[i].sum(), self.confusion[:, i].sum(), self.confusion[i, i])
            )
            error = (images - right) / images if images else None
            precision = right / answers if answers else None
            rows.append({"class": name, "images": images, "error": error, "precision": precision})
        return rows

    def by_error(self) -> list[dict[str, Any]]:
        """Return `by_class`, highest error first, classes without images last."""
        rows = self.by_class()
        return sorted(rows, key=lambda row: 1.0 if row["error"] is None else -row["error"])

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        low, high = self.interval
        return {
            "data": self.data,
            "images": self.count,
            "error": self.error,
            "error_interval": [low, high],
            "loss": self.loss,
            "ece": self.ece,
            "classes": self.by_class(),
            "confusion": self.confusion.tolist(),
            "calibration": [vars(bin) for bin in self.bins],
        }


def evaluate(
    folder: NetworkFolder | str | Path,
    data: str | None = None,
    part: str | None = None,
    *,
    device: str = "cpu",
) -> Evaluation:
    """Score an exported network on labelled images, read and normalised as in its training.

    Args:
        folder: An exported folder with weights, or its path.
        data: Images as for `nas.search`; by default those that the network was trained on.
        part: test, validation, train or all. By default test; of data without a test part all, and of the
            training's own data validation.
        device: cpu, cuda or cuda:1.

    Returns:
        Error, confusions, calibration and the worst images.

    Raises:
        NasError: The data have other classes or another shape, the part is missing, or the network scores
            every pixel.

    Example:
        >>> import nas
        >>> genotype = nas.open_run("first").best().genotype
        >>> trained = nas.train(genotype, "digits?limit=150", epochs=1, to="used", resume=True)
        >>> scores = nas.evaluate(trained["folder"])
        >>> scores.wrong == round(scores.error * scores.count)
        True
    """
    folder = folder if isinstance(folder, NetworkFolder) else open_folder(folder)
    if folder.about["task"] != "classification":
        hint = "nas.evaluate_masks scores such a network"
        raise NasError("scores every pixel, not whole images", where=str(folder.path), hint=hint)
    facts, network = folder.preprocessing, folder.network().to(device)
    name, split, familiar = find_images(folder, data, part, facts)
    step = images_at_once(facts)
    shares = np.concatenate(
        [
            probabilities(network, np.asarray(split.images[start : start + step]), facts, device)
            for start in range(0, len(split.labels), step)
        ]
    )
    split = split._replace(labels=np.asarray(split.labels))
    confusion, loss, bins = score(shares, split.labels)
    worst = worst_images(shares, split, folder.classes)
    return Evaluation(
        str(folder.about["title"]), name, folder.classes, confusion, loss, bins, worst, familiar
    )


def find_images(
    folder: NetworkFolder, data: str | None, part: str | None, facts: Preprocessing
) -> tuple[str, Split, bool]:
    """Return the name of the images, the images, and whether the network was trained or chosen on them.

    Raises NasError if they have masks and the network takes none, or the other way round.
    """
    recorded = (folder.about.get("training") or {}).get("data") or folder.about.get("data")
    spec = data or recorded
    if spec is None:
        raise NasError("name the data", where="--data", hint="as for nas search, such as folder:photos")
    if data is None:
        check_recorded(spec)
    own = _own_data(folder, spec, recorded, part)
    if own is not None:
        return own
    if data is None:
        warnings.warn(f"{spec}: the data differ from those of the training", stacklevel=3)
    form, target, options = parse_spec(spec)
    if shares := [name for name in SPLITTING if getattr(options, name) != getattr(Options(), name)]:
        hint = "only the data of the training are split; name the images to score, all of them count"
        raise NasError(f"takes no ?{shares[0]}", where=spec, hint=hint)
    options = replace(options, size=facts.size, fit=facts.fit)
    parts = resized(form.open(target, options), options).parts
    names = [part] if part not in (None, "all") else [n for n in ("test",) if part is None and n in parts]
    names = names or list(parts)
    missing = next((name for name in names if name not in parts), None)
    if missing:
        raise NasError(f"has no {missing} part", where=spec, hint=f"it has {', '.join(parts)}")
    splits = []
    for name in names:
        where, read = f"{spec}: {name}", parts[str(name)]().decoded()
        if read.reading.broken and not options.skip_broken:
            raise broken_error(read.reading.broken, where)
        _check_task(folder, masked=len(read.labels.shape) > 1, where=where)
        fitted = match_shape(read, (facts.channels, *facts.size), where, NETWORK)
        splits.append(match_classes(fitted, folder.classes, where, NETWORK))
    images, labels = (_joined([split[i] for split in splits]) for i in (0, 1))
    whole = "" if names == ["train"] and len(parts) == 1 else f", {' and '.join(map(str, names))}"
    familiar = names != ["test"] and _same_place(spec, recorded)
    return f"{spec}{whole}", Split(images, labels, folder.classes), familiar


def _check_task(folder: NetworkFolder, *, masked: bool, where: str) -> None:
    if masked != (folder.about["task"] == "segmentation"):
        message = "have masks, and the network classifies whole images"
        raise NasError(message if masked else "have no masks, and the network needs them", where=where)


def _same_place(spec: str, recorded: Any) -> bool:
    """Tell whether two specifications name the same images, or one a part of the other's, perhaps with other
    options."""
    try:
        (form, target, _), (other, place, _) = parse_spec(spec), parse_spec(str(recorded))
    except NasError:
        return False
    paths = Path(target).resolve(), Path(place).resolve()
    return form.name == other.name and (
        paths[0].is_relative_to(paths[1]) or paths[1].is_relative_to(paths[0])
    )


def _joined(arrays: Sequence[Any]) -> Any:
    """Return arrays as one; a single one is not read into memory."""
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.asarray(array) for array in arrays])


def _own_data(
    folder: NetworkFolder, spec: str, recorded: Any, part: str | None
) -> tuple[str, Split, bool] | None:
    """Return a part of the data that the network was trained on, as they were split; None for other data."""
    size = next(
        (piece for piece in str(recorded).rpartition("?")[2].split("&") if piece.startswith("size=")), ""
    )
    if size and "size=" not in spec:
        spec = f"{spec}{'&' if '?' in spec else '?'}{size}&fit={folder.preprocessing.fit}"
    try:
        dataset = load_data(spec, seed=folder.about.get("split_seed", 0))
    except NasError:
        return None
    if dataset.fingerprint != folder.about.get("data_fingerprint"):
        return None
    parts = {
        "train": (dataset.train_images, dataset.train_labels),
        "validation": (dataset.val_images, dataset.val_labels),
    }
    if dataset.has_test:
        parts["test"] = dataset.test()
    chosen = part or ("test" if "test" in parts else "validation")
    if chosen == "test" and "test" not in parts:
        raise NasError("has no test part", where=spec, hint=f"it has {' and '.join(parts)}")
    names = list(parts) if chosen == "all" else [chosen]
    images, labels = (_joined([parts[name][i] for name in names]) for i in (0, 1))
    return f"{spec}, {chosen}", Split(images, labels, dataset.classes), chosen != "test"


def score(shares: Shares, labels: Labels) -> tuple[npt.NDArray[np.int64], float, tuple[Bin, ...]]:
    """Return confusion matrix, mean cross-entropy and calibration of probabilities (n, classes)."""
    classes, answers, confidence = shares.shape[1], shares.argmax(1), shares.max(1)
    confusion = confusion_matrix(np.asarray(labels), answers, classes)
    own = shares[np.arange(len(labels)), labels]
    loss = float(-np.log(np.maximum(own, TINY)).mean())
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    right, bins = answers == labels, []
    for i in np.unique(place):
        inside = place == i
        accuracy, mean = float(right[inside].mean()), float(confidence[inside].mean())
        bins.append(Bin(int(inside.sum()), mean, accuracy))
    return confusion, loss, tuple(bins)


def confusion_matrix(
    labels: npt.NDArray[Any], answers: npt.NDArray[Any], classes: int
) -> npt.NDArray[np.int64]:
    """Return how often each answer (column) was given for each class (row), (classes, classes)."""
    cells = labels.astype(np.int64) * classes + answers
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def worst_images(shares: Shares, split: Split, classes: tuple[str, ...]) -> tuple[WorstImage, ...]:
    """Return the wrong answers that give the least probability to the class of the image."""
    own, answers = shares[np.arange(len(split.labels)), split.labels], shares.argmax(1)
    wrong = np.flatnonzero(answers != split.labels)
    chosen = wrong[np.argsort(own[wrong], kind="stable")][:MOST_WORST]
    return tuple(
        WorstImage(
            int(i),
            classes[split.labels[i]],
            classes[answers[i]],
            float(own[i]),
            float(shares[i].max()),
            split.images[i],
        )
        for i in chosen
    )
