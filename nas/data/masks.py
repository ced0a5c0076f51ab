"""Images with masks: folders `images/` and `masks/` whose files have equal stems."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nas.data.cache import cached, file_key
from nas.data.dataset import IGNORE, Split
from nas.data.decode import decode_part
from nas.data.images import decode_pair
from nas.data.layout import find_parts, image_files
from nas.data.source import Form, Options, Source
from nas.errors import NasError, NotFoundError

EXPECTED = "expected images/ and masks/ with files of equal stems"


def open_masks(target: str, options: Options) -> Source:
    """PATH/images and PATH/masks, or these in PATH/train and, where there are such, in PATH/val and
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
    return cached(
        f"masks {options.size} {options.fit} {key}", partial(_decode, pairs, options, f"masks:{folder}")
    ).with_unread(unread)


def _decode(pairs: list[tuple[Path, Path]], options: Options, where: str) -> Split:
    jobs = [
        (str(image), partial(decode_pair, image, mask, options.size, options.fit)) for image, mask in pairs
    ]
    part = decode_part(jobs, None, (), where)
    highest = int(part.labels.max(initial=0, where=part.labels != IGNORE))
    return part._replace(classes=tuple(map(str, range(highest + 1))))


def _named(folder: Path, name: str) -> Path:
    """The folder of a name, in any case, right below another."""
    return next((entry for entry in sorted(folder.iterdir()) if entry.name.lower() == name), folder / name)


def _by_stem(folder: Path, unread: dict[str, str]) -> dict[str, Path]:
    """The image files below a folder by their path in it, less the suffix."""
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
