"""Predictions of an exported network for image files, read as its training read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.data.images import Picture, Pixels, decode, fit_picture
from nas.data.layout import image_files
from nas.errors import NasError, NotFoundError
from nas.exporters.folder import NetworkFolder, is_folder, open_folder
from nas.exporters.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn


Shares = npt.NDArray[np.float32]
BATCH_PIXELS = 1 << 20
"""Pixels that are classified at once."""
GREYED = "colour turned to grey"
RESIZED = "brought to the size of the training"


@dataclass(frozen=True)
class Prediction:
    """Answer of a network to one image.

    Attributes:
        image: Its file.
        probabilities: Of each class, highest first, by name.
        changes: What was changed in the image before it was classified.
    """

    image: Path
    probabilities: dict[str, float]
    changes: tuple[str, ...]


def predict(
    folder: NetworkFolder | str | Path, paths: Iterable[str | Path], *, top: int = 5, device: str = "cpu"
) -> Iterator[Prediction | NasError]:
    """Classify images.

    Args:
        folder: An exported folder with weights, or its path.
        paths: Image files, and folders that hold some at any depth. Pictures in folders that nas wrote, such
            as curve.png, are left out.
        top: Number of classes per image.
        device: cpu, cuda or cuda:1.

    Returns:
        An iterator over the images, in order: a prediction of each, or the error if it cannot be read.

    Raises:
        NotFoundError: A path leads nowhere.
        NasError: The folder holds no weights, or a network that scores every pixel.

    Example:
        >>> import nas
        >>> from PIL import Image
        >>> Image.new("L", (8, 8)).save("black.png")
        >>> genotype = nas.open_run("first").best().genotype
        >>> trained = nas.train(genotype, "digits?limit=150", epochs=1, to="used", resume=True)
        >>> (prediction,) = nas.predict(trained["folder"], ["black.png"], top=3)
        >>> len(prediction.probabilities)
        3
    """
    folder = folder if isinstance(folder, NetworkFolder) else open_folder(folder)
    if folder.about["task"] != "classification":
        hint = "nas.predict_masks runs such a network"
        raise NasError("scores every pixel, not whole images", where=str(folder.path), hint=hint)
    files, facts = list(find_images(paths)), folder.preprocessing
    network, names = folder.network().to(device), folder.classes
    size = images_at_once(facts)
    for start in range(0, len(files), size):
        read = [_read(path, facts) for path in files[start : start + size]]
        pixels = [pixels for pixels, _ in filter(None, map(_good, read))]
        shares = iter(probabilities(network, np.stack(pixels), facts, device) if pixels else ())
        for path, item in zip(files[start : start + size], read, strict=True):
            if isinstance(item, NasError):
                yield item
                continue
            row = next(shares)
            best = np.argsort(-row, kind="stable")[:top]
            yield Prediction(path, {names[i]: float(row[i]) for i in best}, item[1])


def images_at_once(facts: Preprocessing) -> int:
    """Return how many images of the network's size make a batch of `BATCH_PIXELS`; one or more."""
    return max(1, BATCH_PIXELS // (facts.size[0] * facts.size[1]))


def probabilities(
    network: nn.Module, pixels: Pixels, facts: Preprocessing, device: str
) -> np.ndarray[Any, Any]:
    """Return the probabilities of the classes, (n, classes), of uint8 images (n, channels, height, width)."""
    import torch

    with torch.inference_mode():
        inputs = facts.normalise(torch.tensor(pixels)).to(device)
        shares: Shares = network(inputs).float().softmax(1).cpu().numpy()
    return shares


def find_images(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield files, and of folders the images in them, in order; NotFoundError where there are none."""
    for path in map(Path, paths):
        if path.is_dir():
            found = [file for file in image_files(path, {}) if not is_folder(str(file.parent))]
            if not found:
                own = ", only pictures that nas wrote" if list(image_files(path, {})) else ""
                raise NasError(f"holds no images{own}", where=str(path))
            yield from found
        elif path.exists():
            yield path
        else:
            raise NotFoundError("there is no such file", where=str(path))


def read_pixels(path: Path, facts: Preprocessing) -> tuple[Pixels, tuple[str, ...]]:
    """Return an image as uint8 (channels, height, width), and what was changed in it.

    Raises NasError if it cannot be read.
    """
    picture = decode(path, None, str(path))
    pixels, changes = _grey(picture) if facts.channels == 1 else (picture.pixels, picture.changes)
    if pixels.shape[:2] != facts.size:
        from PIL import Image

        pixels = np.asarray(fit_picture(Image.fromarray(np.asarray(pixels)), facts.size, facts.fit))
        changes = (*changes, RESIZED)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], facts.channels, axis=2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), changes


def _grey(picture: Picture) -> tuple[Pixels, tuple[str, ...]]:
    """Return the pixels of an image as grey ones; a colour image whose colours are grey loses nothing."""
    from PIL import Image

    pixels = picture.pixels
    if pixels.ndim == 2:
        return pixels, picture.changes
    plain = bool((pixels == pixels[..., :1]).all())
    changes = picture.changes if plain else (*picture.changes, GREYED)
    return np.asarray(Image.fromarray(pixels).convert("L")), changes


def _read(path: Path, facts: Preprocessing) -> tuple[Pixels, tuple[str, ...]] | NasError:
    try:
        return read_pixels(path, facts)
    except NasError as error:
        return error


def _good(item: Any) -> Any:
    return None if isinstance(item, NasError) else item
