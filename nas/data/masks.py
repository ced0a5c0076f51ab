"""Images with masks: folders `images/` and `masks/` whose files have equal stems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nas.data.cache import file_key
from nas.data.dataset import IGNORE, Labels, Split
from nas.data.decode import Job, Undecoded
from nas.data.images import decode_pair
from nas.data.layout import find_parts, image_files
from nas.data.reading import Reading
from nas.data.rows import Indices, blocks
from nas.data.source import Form, Options, Source
from nas.errors import NasError, NotFoundError

EXPECTED = "expected images/ and masks/ with files of equal stems"


def open_masks(target: str, options: Options) -> Source:
    """Open PATH/images and PATH/masks, or these folders in PATH/train and, if present, PATH/val and
    PATH/test; names of parts in any case."""
    root = Path(target).expanduser()
    where = f"masks:{root}"
    if not root.is_dir():
        raise NotFoundError("no such folder", where=where)
    name = root.name or root.resolve().name
    parts, _ = find_parts(root)
    if "train" not in parts:
        return Source(name, partial(_load, root, options))
    loaders = {part: partial(_load, folder, options) for part, folder in parts.items()}
    return Source.of_parts(name, loaders, {part: f"{folder.name}/" for part, folder in parts.items()})


def _load(folder: Path, options: Options) -> Split:
    unread: dict[str, str] = {}
    images, masks = (_by_stem(_named(folder, name), unread) for name in ("images", "masks"))
    for files, others, name in ((images, masks, "masks"), (masks, images, "images")):
        alone = min(files.keys() - others.keys(), default=None)
        if alone is not None:
            raise NasError(f"there is no file {alone}.* in {name}/", where=str(files[alone]))
    pairs = [(images[stem], masks[stem]) for stem in sorted(images)]
    key = file_key(((file, kind) for pair in pairs for file, kind in zip(pair, "im", strict=True)), folder)
    part = Undecoded(
        jobs=partial(_jobs, pairs, options),
        count=len(pairs),
        labels=np.empty(0, np.int64),
        classes=(),
        where=f"masks:{folder}",
        masked=True,
        key=f"masks {options.size} {options.fit} {key}",
        size=options.size,
        reading=Reading(unread=unread),
    ).decoded()
    return part._replace(classes=tuple(map(str, range(_highest(part.labels) + 1))))


def _jobs(pairs: Sequence[tuple[Path, Path]], options: Options, indices: Indices) -> Iterator[Job]:
    for i in indices:
        image, mask = pairs[i]
        yield str(image), partial(decode_pair, image, mask, options.size, options.fit)


def _highest(masks: Labels) -> int:
    """Return the highest class in masks."""
    highest = (int(block.max(initial=0, where=block != IGNORE)) for block in blocks(masks))
    return max(highest, default=0)


def _named(folder: Path, name: str) -> Path:
    """Return the folder of this name, in any case, directly below another."""
    return next((entry for entry in sorted(folder.iterdir()) if entry.name.lower() == name), folder / name)


def _by_stem(folder: Path, unread: dict[str, str]) -> dict[str, Path]:
    """Return the image files below a folder by their path in it, without the suffix."""
    files: dict[str, Path] = {}
    for file in image_files(folder, unread) if folder.is_dir() else ():
        stem = file.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            raise NasError(f"has the stem of {files[stem].name}", where=str(file))
        files[stem] = file
    if not files:
        raise NasError("has no images", where=f"masks:{folder}", hint=EXPECTED)
    return files


def _claims(path: Path) -> bool:
    if not path.is_dir():
        return False
    folder = find_parts(path)[0].get("train", path)
    return {"images", "masks"} <= {entry.name.lower() for entry in folder.iterdir()}


FORMS = (
    Form(
        "masks",
        open_masks,
        "for segmentation: folders images/ and masks/, also in train/, val/ and test/",
        place="PATH",
        options=("skip_broken",),
        claims=_claims,
    ),
)
