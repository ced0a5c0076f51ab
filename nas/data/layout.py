"""Names of parts, and the walk through a folder that finds its images and leaves out other files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, MutableMapping, Set
from pathlib import Path

from nas.data.images import looks_like_image
from nas.errors import NasError

PARTS = ("train", "validation", "test")
WORDS = {
    "train": ("train", "training", "trainset", "trn"),
    "validation": ("validation", "val", "valid", "valset", "dev"),
    "test": ("test", "testing", "testset", "tst", "eval", "evaluation"),
}
"""Names of parts, in any case; those of Hugging Face and some more. `eval` is a test set, as there: a search
that took a test set for its validation could not be undone, and the reverse costs some images only."""
NEUTRAL = {"set", "data", "dataset", "images", "image", "imgs", "img", "split", "seg", "folder"}
"""Words that may accompany that of a part: training_set, seg_train."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
"""Suffixes of images. The content of other files decides."""
FOREIGN_SUFFIXES = (
    *(
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".jxl",
        ".svg",
        ".psd",
        ".dcm",
        ".ico",
        ".tga",
        ".exr",
        ".hdr",
        ".eps",
    ),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
)
"""Images that are not read. Raw photos would pass for TIFF, and give their thumbnails."""
STRAYS = {
    "__macosx": "made by the archiver of macOS",
    "__pycache__": "made by Python",
    "annotations": "annotations, no images of a class",
    "@eadir": "thumbnails of a Synology disk",
    "@tmp": "made by a Synology disk",
    "#recycle": "a recycle bin",
    "#snapshot": "snapshots of a disk",
    "@recycle": "a recycle bin",
    "@recently-snapshot": "snapshots of a disk",
    "@__thumb": "thumbnails of a QNAP disk",
    "$recycle.bin": "a recycle bin",
    "system volume information": "made by Windows",
    "lost+found": "made by the file system",
}
"""Folders that are never a class, in any case."""

Identity = tuple[int, int]

NO_IMAGE = "no image"
IN_NO_CLASS = "in no class folder"
FOREIGN = "an image of a format that is not read"
LOOP = "a link back to a folder above it"
SEEN = "a folder that was read before, as links lead to it twice"
DANGLING = "a link to nothing"


def part_of(name: str) -> str | None:
    """Return the part that a folder or an array is named after, as in `Train`, `test_set` or `seg_dev`."""
    words = [word for word in re.findall(r"[a-z]+", name.lower()) if word not in NEUTRAL]
    if len(words) != 1:
        return None
    return next((part for part, names in WORDS.items() if words[0] in names), None)


def part_of_file(file: Path, root: Path) -> str | None:
    """Return the part that a file is named after: by its own name, else by the nearest folder below `root`.

    Raises NasError if a name holds the words of two parts.
    """
    for name in reversed(file.relative_to(root).parts):
        words = re.findall(r"[a-z]+", name.lower())
        parts = [part for part, names in WORDS.items() if any(word in names for word in words)]
        if len(parts) > 1:
            raise NasError(f"{name} names two parts, {' and '.join(parts)}", where=str(file))
        if parts:
            return parts[0]
    return None


def stray(name: str) -> str:
    """Return why a file or folder of this name is never read; "" if it may be read."""
    return "hidden" if name.startswith(".") else STRAYS.get(name.lower(), "")


def subfolders(folder: Path, unread: MutableMapping[str, str]) -> list[Path]:
    """Return the folders directly below another that may hold images, in order; strays go to `unread`."""
    folders = []
    for entry in _entries(folder):
        if entry.is_dir():
            if reason := stray(entry.name):
                unread[entry.path] = reason
            else:
                folders.append(folder / entry.name)
    return folders


def image_files(folder: Path, unread: MutableMapping[str, str], *, deep: bool = True) -> Iterator[Path]:
    """Yield the images in a folder and, if `deep`, below it, in order.

    Links are followed, except to a folder above or one that was read before. Files that are not read go to
    `unread` with the reason.
    """
    above = {_identity(parent) for path in (folder.absolute(), folder.resolve()) for parent in path.parents}
    yield from _image_files(folder, unread, deep, above, set())


def _image_files(
    folder: Path, unread: MutableMapping[str, str], deep: bool, above: Set[Identity], seen: set[Identity]
) -> Iterator[Path]:
    identity = _identity(folder)
    if identity in above or identity in seen:
        unread[str(folder)] = LOOP if identity in above else SEEN
        return
    seen.add(identity)
    for entry in _entries(folder):
        if reason := stray(entry.name):
            unread[entry.path] = reason
        elif entry.is_dir():
            if deep:
                yield from _image_files(folder / entry.name, unread, deep, above | {identity}, seen)
        elif reason := _no_image(entry):
            unread[entry.path] = reason
        else:
            yield folder / entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what lies directly in a folder, by name. The entries know their kind without another look."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _no_image(file: os.DirEntry[str]) -> str:
    """Return why a file is not read; "" for an image."""
    suffix = os.path.splitext(file.name)[1].lower()
    if not file.is_file():
        return "no ordinary file" if os.path.exists(file) else DANGLING
    if suffix in FOREIGN_SUFFIXES:
        return FOREIGN
    return "" if suffix in SUFFIXES or looks_like_image(Path(file)) else NO_IMAGE


def _identity(folder: Path) -> Identity:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def has_images(folder: Path, *, deep: bool = True) -> bool:
    """Return whether there is an image in a folder or, if `deep`, below it."""
    return next(image_files(folder, {}, deep=deep), None) is not None


def find_parts(root: Path) -> tuple[dict[str, Path], list[Path]]:
    """Return the folders directly below `root` that are named after parts and hold images, by part, and the
    others.

    Raises NasError if two folders name the same part.
    """
    parts: dict[str, Path] = {}
    others = []
    for entry in subfolders(root, {}):
        part = part_of(entry.name)
        if part is None or not has_images(entry):
            others.append(entry)
        elif part in parts:
            # eval/ beside test/ is what a search may look at.
            pair = sorted((parts[part], entry), key=lambda folder: folder.name.lower().startswith("eval"))
            if part == "test" and pair[1].name.lower().startswith("eval") and "validation" not in parts:
                parts["test"], parts["validation"] = pair
                continue
            hint = f"keep one of {pair[0].name}/ and {pair[1].name}/"
            raise NasError(f"has two folders for the {part} part", where=str(root), hint=hint)
        else:
            parts[part] = entry
    return parts, others
