"""A folder of images with one folder per class, with or without parts such as train/ and test/."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from nas.data.cache import file_key
from nas.data.decode import Job, Undecoded
from nas.data.images import decode
from nas.data.layout import IN_NO_CLASS, find_parts, has_images, image_files, part_of, subfolders
from nas.data.reading import Reading
from nas.data.rows import Indices
from nas.data.source import Form, Options, Source
from nas.errors import NasError, NotFoundError

EXPECTED = "expected a folder per class with images, or train/ and test/ (val/) with a folder per class each"

BESIDE = "beside the parts, and named after none"
NO_IMAGES = "no image in it"


@dataclass(frozen=True)
class Listing:
    """The images of a part before they are decoded.

    Attributes:
        files: each image with the index of its class.
        classes: names of the folders that hold an image, sorted.
        unread: reasons by path, for what is no image of a class.
    """

    files: tuple[tuple[Path, int], ...]
    classes: tuple[str, ...]
    unread: Mapping[str, str]

    @property
    def loose(self) -> int:
        """Number of images outside the class folders."""
        return sum(reason == IN_NO_CLASS for reason in self.unread.values())


def open_folder(target: str, options: Options) -> Source:
    """Open PATH/CLASS/x.png, or PATH/train/CLASS/x.png with PATH/val and PATH/test; parts in any case.

    Raises NotFoundError if the folder is missing, NasError if its layout is ambiguous.
    """
    root = Path(target).expanduser()
    where = f"folder:{root}"
    if not root.is_dir():
        raise NotFoundError("no such folder", where=where)
    name = root.name or root.resolve().name
    parts, others = find_parts(root)
    train = list_classes(parts["train"]) if "train" in parts else None
    if train is None or (not train.classes and len(parts) == 1 and any(map(has_images, others))):
        _check_no_parts(root, parts, others, train)
        return Source(name, partial(_load, root, options, where))
    if not train.classes:
        message = f"has {train.loose} images directly in {parts['train'].name}/, outside the class folders"
        raise NasError(message, where=where, hint=EXPECTED)
    unread = {str(entry): BESIDE if has_images(entry) else NO_IMAGES for entry in others}
    if len(parts) == 1:
        _check_siblings(root, train, others)
    for part in ("validation", "test"):
        listing = list_classes(parts[part]) if part in parts else None
        if listing and not listing.classes:
            reason = f"no labels: {listing.loose} images directly in it, outside the class folders"
            unread[str(parts.pop(part))] = reason
    unread |= {str(file): IN_NO_CLASS for file in image_files(root, unread, deep=False)}
    return Source.of_parts(
        name,
        {part: partial(_load, folder, options, f"folder:{folder}") for part, folder in parts.items()},
        {part: f"{folder.name}/" for part, folder in parts.items()},
        unread,
    )


def list_classes(folder: Path) -> Listing:
    """Return the images of a part and their classes. Raises NasError if the classes are ambiguous."""
    unread: dict[str, str] = {}
    files: list[tuple[Path, int]] = []
    classes: list[Path] = []
    for entry in subfolders(folder, unread):
        images = list(image_files(entry, unread))
        if images:
            files += [(file, len(classes)) for file in images]
            classes.append(entry)
        else:
            unread[str(entry)] = NO_IMAGES
    unread |= {str(file): IN_NO_CLASS for file in image_files(folder, unread, deep=False)}
    _check_nested(folder, classes)
    return Listing(tuple(files), tuple(entry.name for entry in classes), unread)


def _check_no_parts(
    root: Path, parts: Mapping[str, Path], others: Sequence[Path], train: Listing | None
) -> None:
    """Raise NasError if a folder has parts but no training part."""
    named = [folder for part, folder in parts.items() if part != "train" or train is None]
    if named:
        rest = next((entry.name for entry in others if has_images(entry)), None)
        message = f"has {named[0].name}/, the name of a part, but no train/"
        beside = f"; if {named[0].name} is a class like {rest}, rename its folder" if rest else ""
        raise NasError(message, where=f"folder:{root}", hint=EXPECTED + beside)


def _check_siblings(root: Path, train: Listing, others: Sequence[Path]) -> None:
    """Raise NasError if images beside a lone training part may be a part or classes."""
    for entry in filter(has_images, others):
        same = {sub.name for sub in subfolders(entry, {}) if has_images(sub)} & set(train.classes)
        suffix = ", with folders of the same classes" if same else ""
        hint = (
            "if it is a part, name it val/ or test/" if same else "if train is a class like it, rename train/"
        )
        hint += f"; otherwise name the training part alone: folder:{root}/train"
        raise NasError(f"has {entry.name}/ beside train/{suffix}", where=f"folder:{root}", hint=hint)


def _check_nested(folder: Path, classes: Sequence[Path]) -> None:
    """Raise NasError if the folders below `folder` seem to hold classes instead of being classes."""
    where = f"folder:{folder}"
    if {entry.name.lower() for entry in classes} == {"images", "masks"}:
        place = folder.parent if part_of(folder.name) else folder
        raise NasError("has images/ and masks/, no classes", where=where, hint=f"--data masks:{place}")
    below = {
        entry: {sub.name.lower() for sub in subfolders(entry, {}) if has_images(sub)} for entry in classes
    }
    if len(classes) == 1 and len(below[classes[0]]) > 1:
        names = ", ".join(sorted(below[classes[0]])[:5])
        hint = f"if {names} are the classes: --data folder:{classes[0]}"
        raise NasError(f"has a single folder, {classes[0].name}/, that holds others", where=where, hint=hint)
    everywhere = set.intersection(*below.values()) if len(classes) > 1 else set()
    for first, second in combinations(classes, 2):
        same = below[first] & below[second]
        if len(same) > 1 or same & everywhere:
            raise _nested_error(folder, first, second, same)


def _nested_error(folder: Path, first: Path, second: Path, same: Collection[str]) -> NasError:
    """Return the error for folders of equal names below two classes, with the layouts that may be meant."""
    names = ", ".join(f"{name}/" for name in sorted(same)[:5])
    message = f"has folders of equal names, {names}, below {first.name}/ and {second.name}/"
    hint = f"if these are the classes, name the folders above train/, val/ and test/, or take one: {first}"
    if any(part_of(name) for name in same):
        hint = f"put splits above classes: {folder}/train/{first.name}"
    return NasError(message, where=f"folder:{folder}", hint=hint)


def _load(folder: Path, options: Options, where: str) -> Undecoded:
    listing = list_classes(folder)
    if not listing.files:
        loose = (
            f"has {listing.loose} images directly in it, outside the class folders" if listing.loose else ""
        )
        raise NasError(loose or "has no images", where=where, hint=EXPECTED)
    files, classes = listing.files, listing.classes
    key = file_key(((file, classes[label]) for file, label in files), folder)
    return Undecoded(
        jobs=partial(_jobs, [str(file) for file, _ in files], options),
        count=len(files),
        labels=np.array([label for _, label in files], dtype=np.int64),
        classes=classes,
        where=where,
        key=f"folder {options.size} {options.fit} {classes} {key}",
        size=options.size,
        reading=Reading(unread=listing.unread),
    )


def _jobs(files: Sequence[str], options: Options, indices: Indices) -> Iterator[Job]:
    for i in indices:
        yield files[i], partial(decode, Path(files[i]), options.size, files[i], options.fit)


def _claims(path: Path) -> bool:
    return path.is_dir()


FORMS = (
    Form(
        "folder",
        open_folder,
        "a folder of images per class; or train/, val/ and test/ with such folders",
        place="PATH",
        options=("skip_broken",),
        claims=_claims,
    ),
)
