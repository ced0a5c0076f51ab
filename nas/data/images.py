"""Decode single images with Pillow into 8 bits, and bring them to one size."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.data.dataset import IGNORE
from nas.data.source import Fit
from nas.errors import NasError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Formats that Pillow may decode, whatever a file is named. The list is closed because Pillow starts another
program for some of the rest: Ghostscript for PostScript."""
GREY_MODES = ("1", "L", "LA", "La")
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
MASK_MODES = ("1", "L", "P")
"""One channel of at most 8 bits; of a palette image the indices are taken."""

LOSSY = ("JPEG", "WEBP")
"""Formats that may change the values of pixels."""

WHITE = "transparency laid on white"
SCALED_16 = "16 bits scaled to 8"
SCALED_32 = "32-bit integers read as 16 bits and scaled to 8"
SCALED_FLOAT = "floats from 0 to 1 scaled to 8 bits"
TURNED = "turned as its EXIF orientation says"
FIRST_FRAME = "first of several frames taken"
CHANGES = (WHITE, SCALED_16, SCALED_32, SCALED_FLOAT, TURNED, FIRST_FRAME)
"""All changes, in an order that the cache relies on."""

Pixels = npt.NDArray[np.uint8]


class Picture(NamedTuple):
    """One decoded image.

    Attributes:
        pixels: (height, width) if it is grey, else (height, width, 3).
        size: (height, width) before it was brought to another size.
        changes: what was changed beside the size.
        mask: classes of its pixels, (height, width), where it has a mask.
    """

    pixels: Pixels
    size: tuple[int, int]
    changes: tuple[str, ...] = ()
    mask: Pixels | None = None


def decode(data: bytes | Path, size: tuple[int, int] | None, where: str, fit: Fit = "crop") -> Picture:
    """Decode one image. Raises NasError, naming it by `where`, if it is unreadable."""
    with _decoding(where), _opened(data) as image:
        return to_picture(image, size, fit)


def decode_pair(image: Path, mask: Path, size: tuple[int, int] | None, fit: Fit = "crop") -> Picture:
    """Decode an image with the class indices of its mask."""
    picture = decode(image, size, str(image), fit)
    hint = "write a PNG of one channel of 8 bits whose values are class indices"
    with _decoding(str(mask)), _opened(mask) as opened:
        kind, step = opened.format, _step(opened)
        answers = _turned(opened)[0].copy()
    if answers.mode not in MASK_MODES:
        raise NasError(f"a mask of mode {answers.mode}", where=str(mask), hint=hint)
    if kind in LOSSY:
        raise NasError(
            f"a mask that {kind} has changed: its values are no classes", where=str(mask), hint=hint
        )
    if step > 1:
        answers = answers.point(lambda value: value // step)
    if answers.size[::-1] != picture.size:
        sizes = "{}x{} pixels, its image is of {}x{}".format(*answers.size[::-1], *picture.size)
        raise NasError(f"mask of {sizes}", where=str(mask))
    fitted = fit_picture(answers, size, fit, mask=True) if size else answers
    return picture._replace(mask=np.asarray(fitted).astype(np.uint8))


def _step(image: Any) -> int:
    """Return the distance of neighbouring grey values: Pillow spreads those of 2 and 4 bits over 0..255."""
    bits = re.search(r"\bL;([24])", str(image.tile[0].args)) if image.mode == "L" and image.tile else None
    return 255 // (2 ** int(bits[1]) - 1) if bits else 1


def to_picture(image: Any, size: tuple[int, int] | None = None, fit: Fit = "crop") -> Picture:
    """Convert a Pillow image to 8 bits, upright, without transparency. Raises ValueError for values whose
    scale is unknown."""
    changes = []
    if _is_animated(image):
        changes.append(FIRST_FRAME)
    image, turned = _turned(image)
    if turned:
        changes.append(TURNED)
    image, change = _to_8_bits(image)
    if change:
        changes.append(change)
    size_before = image.size[::-1]
    return Picture(np.asarray(fit_picture(image, size, fit) if size else image), size_before, tuple(changes))


def looks_like_image(file: Path) -> bool:
    """Return whether the content of a file, whatever its name, begins like that of an image."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS):
                return True
    except Exception:  # decoders raise any error at bytes that are not an image
        return False


def resize(image: Pixels, mask: Pixels | None, size: tuple[int, int], fit: Fit = "crop") -> Picture:
    """Bring an image of (channels, height, width), and its mask if it has one, to (height, width) `size`."""
    from PIL import Image

    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    before = (image.shape[1], image.shape[2])
    fitted = None if mask is None else fit_picture(Image.fromarray(mask), size, fit, mask=True)
    return Picture(
        np.asarray(fit_picture(picture, size, fit)),
        before,
        (),
        None if fitted is None else np.asarray(fitted),
    )


def fit_picture(picture: Any, size: tuple[int, int], fit: Fit = "crop", mask: bool = False) -> Any:
    """Fit a Pillow image to (height, width) `size`; padding is black, and ignored in a mask."""
    from PIL import Image, ImageOps

    target = size[::-1]
    if picture.size == target:
        return picture
    method = Image.Resampling.NEAREST if mask else Image.Resampling.BICUBIC
    if fit == "squash":
        return picture.resize(target, method)
    if fit == "crop":
        return ImageOps.fit(picture, target, method)
    inner = ImageOps.contain(picture, target, method)
    padded = Image.new("L" if mask else picture.mode, target, IGNORE if mask else 0)
    inner = inner if not mask else Image.fromarray(np.asarray(inner).astype(np.uint8))
    padded.paste(inner, ((target[0] - inner.width) // 2, (target[1] - inner.height) // 2))
    return padded


def _turned(image: Any) -> tuple[Any, bool]:
    """Return the loaded image in its EXIF orientation, and whether that turned or mirrored it."""
    from PIL import ImageOps

    orientation = 1
    with suppress(Exception):  # damaged EXIF data raise all kinds of errors, and say nothing
        orientation = image.getexif().get(0x0112, 1)  # before loading, which turns TIFF
    image.load()
    if orientation not in range(2, 9):
        return image, False
    with suppress(Exception):
        image = ImageOps.exif_transpose(image)
    return image, True


def _to_8_bits(image: Any) -> tuple[Any, str]:
    """Return the image in mode L or RGB, and the change that this took."""
    from PIL import Image

    if image.mode in (*SIXTEEN_BITS, "I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"integers from {values.min()} to {values.max()}; up to 65535 are read")
        scaled = np.rint(values / 257).astype(np.uint8)
        return Image.fromarray(scaled), SCALED_32 if image.mode == "I" else SCALED_16
    if image.mode == "F":
        floats = np.asarray(image)
        if not (floats.min() >= 0 and floats.max() <= 1):  # false for NaN, too
            raise ValueError(f"floats from {floats.min():g} to {floats.max():g}; only 0 to 1 are read")
        return Image.fromarray(np.rint(floats * 255).astype(np.uint8)), SCALED_FLOAT
    mode = "L" if image.mode in GREY_MODES else "RGB"
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if layer.getextrema()[3][0] < 255:
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, layer).convert(mode), WHITE
    return image.convert(mode), ""


def _is_animated(image: Any) -> bool:
    """Return whether an image has several frames; the previews that phones add (MPO) do not count."""
    with suppress(Exception):  # the frames may be damaged, or the file closed; the first is what counts
        return bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    return False


@contextmanager
def _opened(data: bytes | Path) -> Iterator[Any]:
    from PIL import Image

    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS) as image:
        _check_pixels(image)
        yield image


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence the warnings of decoders, such as of damaged EXIF data. Filters are of the whole process, so
    threads that decode share one such block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Turn the errors of a decoder into a NasError that names the image by `where`."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        hint = f"formats that are read: {', '.join(FORMATS)}"
        raise NasError("not a readable image: none of the known formats", where=where, hint=hint) from None
    except Exception as error:  # decoders raise what they like at damaged bytes: struct.error, SyntaxError, …
        reason = str(error) or type(error).__name__
        raise NasError(f"not a readable image: {reason}", where=where) from None


def _check_pixels(image: Any) -> None:
    """Raise ValueError for an image of so many pixels that Pillow takes it for an attack."""
    from PIL import Image

    pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if most is not None and pixels > most:
        raise ValueError(f"Image size ({pixels} pixels) exceeds limit of {most} pixels, could be an attack")
