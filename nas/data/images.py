"""Decoding and resizing with Pillow."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.dataset import Images, Labels
from nas.errors import NasError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Formats that Pillow may decode, whatever a file is named. The list is closed because Pillow starts another
program for some of the rest: Ghostscript for PostScript."""
GREY_MODES = ("1", "L", "I;16", "I", "F", "LA")
MASK_MODES = ("1", "L", "P")
"""One channel of at most 8 bits; of a palette image the indices are taken."""


def decode(data: bytes | Path, size: int | None, where: str) -> npt.NDArray[np.uint8]:
    """One image as (height, width) if it is grey, else (height, width, 3). NasError if it is unreadable."""
    with _decoding(where):
        return _pixels(_open(data), size)


def decode_pair(
    image: Path, mask: Path, size: int | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """An image as `decode` gives it and the class indices of its mask, (height, width)."""
    with _decoding(str(image)):
        picture = _open(image)
        pixels = _pixels(picture, size)
    with _decoding(str(mask)):
        answers = _open(mask)
    if answers.mode not in MASK_MODES:
        hint = "write a PNG of one channel of 8 bits whose values are class indices"
        raise NasError(f"a mask of mode {answers.mode}", where=str(mask), hint=hint)
    if answers.size != picture.size:
        sizes = "{}x{} pixels, its image is of {}x{}".format(*answers.size[::-1], *picture.size[::-1])
        raise NasError(f"mask of {sizes}", where=str(mask))
    fitted = _fit(answers, size, nearest=True) if size else answers
    return pixels, np.asarray(fitted).astype(np.uint8)


def _pixels(picture: Any, size: int | None) -> npt.NDArray[np.uint8]:
    picture = picture.convert("L" if picture.mode in GREY_MODES else "RGB")
    return np.asarray(_fit(picture, size) if size else picture)


def _open(data: bytes | Path) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS) as image:
        image.load()
        return image


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Raise NasError, naming the image by `where`, for whatever a decoder raises or warns of as too large."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except UnidentifiedImageError:
        hint = f"formats that are read: {', '.join(FORMATS)}"
        raise NasError("not a readable image: none of the known formats", where=where, hint=hint) from None
    except Exception as error:  # decoders raise what they like at damaged bytes: struct.error, SyntaxError, …
        reason = str(error) or type(error).__name__
        raise NasError(f"not a readable image: {reason}", where=where) from None


def stack(images: list[npt.NDArray[np.uint8]], places: list[str]) -> Images:
    """(n, channels, height, width); grey only if all of them are.

    NasError names the first image whose size differs.
    """
    sizes = [image.shape[:2] for image in images]
    for size, place in zip(sizes, places, strict=True):
        if size != sizes[0]:
            shown = "{}x{} pixels, others are {}x{}".format(*size, *sizes[0])
            raise NasError(f"image of {shown}", where=place, hint="add ?size=N to bring all to one size")
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[:, None]
    out = np.empty((len(images), 3, *sizes[0]), dtype=np.uint8)
    for slot, image in zip(out, images, strict=True):
        slot[:] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return out


def resize(images: Images, size: int) -> Images:
    """Images of (n, channels, height, width) brought to size x size."""
    from PIL import Image

    if images.shape[2:] == (size, size):
        return images
    grey = images.shape[1] == 1
    pictures = (Image.fromarray(image[0] if grey else image.transpose(1, 2, 0)) for image in images)
    return stack([np.asarray(_fit(picture, size)) for picture in pictures], [""] * len(images))


def resize_masks(masks: Labels, size: int) -> Labels:
    """Masks of (n, height, width) brought to size x size."""
    from PIL import Image

    if masks.shape[1:] == (size, size):
        return masks
    return np.stack([np.asarray(_fit(Image.fromarray(mask), size, nearest=True)) for mask in masks])


def _fit(picture: Any, size: int, nearest: bool = False) -> Any:
    """The middle square, resampled."""
    from PIL import Image, ImageOps

    if picture.size == (size, size):
        return picture
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    return ImageOps.fit(picture, (size, size), method)
