"""Images with masks: folders `images/` and `masks/` whose files have equal stems."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nas.data.cache import cached, files_key
from nas.data.dataset import IGNORE, Part
from nas.data.folder import image_files, part_folders
from nas.data.images import decode_pair, stack
from nas.data.source import Options, Source
from nas.errors import NasError, NotFoundError


def open_masks(target: str, options: Options) -> Source:
    """PATH/images and PATH/masks, or these in PATH/train and, where there are such, in
    PATH/val and PATH/test. Where one of these two is missing, the other serves as test set."""
    path = Path(target)
    where = f"masks:{path}"
    if not path.is_dir():
        raise NotFoundError("no such folder", where=where)
    parts = part_folders(path)
    if not parts:
        return Source(path.name, partial(_load, path, options.size))
    return Source(path.name, *[partial(_load, part, options.size) for part in parts[:3]])


def _load(path: Path, size: int | None) -> Part:
    images, masks = (_by_stem(path / name) for name in ("images", "masks"))
    for found, others, name in ((images, masks, "masks"), (masks, images, "images")):
        alone = min(found.keys() - others.keys(), default=None)
        if alone is not None:
            raise NasError(f"there is no file {alone}.* in {name}/", where=str(found[alone]))
    key = f"masks {size} {files_key((*images.values(), *masks.values()))}"
    return cached(key, partial(_decode, [(images[stem], masks[stem]) for stem in sorted(images)], size))


def _by_stem(folder: Path) -> dict[str, Path]:
    """The image files below a folder by their path in it, less the suffix."""
    files: dict[str, Path] = {}
    for file in image_files(folder):
        stem = file.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            raise NasError(f"has the stem of {files[stem].name}", where=str(file))
        files[stem] = file
    if not files:
        hint = "expected images/ and masks/ with files of equal stems"
        raise NasError("has no images", where=f"masks:{folder}", hint=hint)
    return files


def _decode(files: list[tuple[Path, Path]], size: int | None) -> Part:
    images, masks = [], []
    for image_file, mask_file in files:
        image, mask = decode_pair(image_file, mask_file, size)
        images.append(image)
        masks.append(mask)
    pixels = stack(images, [str(file) for file, _ in files])
    answers = np.stack(masks)
    highest = int(answers.max(initial=0, where=answers != IGNORE))
    return Part(pixels, answers, tuple(map(str, range(highest + 1))))
