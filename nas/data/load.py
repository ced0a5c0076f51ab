"""Loading of a data set from a specification such as `digits` or `parquet:PATH?limit=5000`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from nas.data import memory
from nas.data.dataset import Dataset, Split, check_classes, task_of
from nas.data.decode import Job, Undecoded, broken_error
from nas.data.images import resize
from nas.data.reading import Reading
from nas.data.rows import Indices
from nas.data.source import Form, Load, Options, Source
from nas.data.split import split
from nas.errors import NasError, NotFoundError, did_you_mean

MODULES = ("digits", "archives", "shapes", "npz", "function", "parquet", "masks", "folder")
"""Modules of nas/data with the forms of data. A path without the name of a form is of the first that claims
it, so the folder, which claims all, comes last."""
SPECIAL = ("label", "image", "skip_broken")
"""Options that only some forms understand."""
MAX_SIZE = 1024
MAX_DIGITS = 18
"""Most digits of a whole number in an option."""
FITS = ("crop", "squash", "pad")


@cache
def forms() -> dict[str, Form]:
    """Return all forms of data by name."""
    modules = (import_module(f"nas.data.{name}") for name in MODULES)
    return {form.name: form for module in modules for form in module.FORMS}


def load_data(data: object, *, seed: int = 0) -> Dataset:
    """Load a data set and split it by `seed`.

    Args:
        data: a specification: a built-in name such as digits or cifar10, a form with a place such as
            folder:PATH, parquet:PATH, npz:PATH or masks:PATH, or a path alone; options follow as
            `?size=32&limit=5000` (see `nas.data.source.Options`). Or images in Python: (images, labels), a
            dict of parts or of arrays, a torch `Dataset` or a Hugging Face `Dataset`.
        seed: of the split where the data have no parts of their own.

    Raises NasError that says what is wrong with the specification or the data, those of the test set
    included; NotFoundError where there are none.
    """
    if isinstance(data, os.PathLike):
        data = os.fspath(data)
    where = f"data {data_name(data)!r}"
    if not isinstance(data, str):
        options = Options()
        target, source = "", memory.open_object(data, type(data).__name__, where)
    else:
        form, target, options = parse_spec(data)
        source = form.open(target, options)
    if options.size is not None:
        source = resized(source, options)
    try:
        dataset = split(
            source,
            options.limit,
            seed,
            validation=options.validation,
            test=options.test,
            min_images=options.min_images,
        )
        if options.limit is None:
            dataset.check_test()
        else:
            dataset = _with_late_test(dataset, source, options, where)
    except NasError as error:
        # Unreadable images may be the reason why the rest does not fit.
        if options.limit is None:
            readings = [load().decoded().reading for load in source.parts.values()]
            _check_broken(sum(readings, Reading()).broken, options, where)
        if target not in error.where:
            raise error.at(where) from None
        raise
    _check_broken(dataset.full_reading.broken, options, where)
    return dataset


def _with_late_test(dataset: Dataset, source: Source, options: Options, where: str) -> Dataset:
    """Return a data set whose test images are decoded when they are asked for: a limit is for quick trials.

    Raises NasError if the test set has a class that the training part has not.
    """
    if dataset.load_test is None:
        return dataset
    part = source.test() if source.test else None
    if isinstance(part, Split):
        dataset.check_test()
        return dataset
    if part is not None and not options.min_images > 1:
        check_classes(part.labels, part.classes, dataset.classes, f"{dataset.name}: test set")
    return replace(dataset, load_test=partial(_unbroken, dataset.load_test, options, where))


def _unbroken(load: Callable[[], Split], options: Options, where: str) -> Split:
    part = load()
    _check_broken(part.reading.broken, options, where)
    return part


def _check_broken(broken: Mapping[str, str], options: Options, where: str) -> None:
    if broken and not options.skip_broken:
        raise broken_error(broken, where)


def load_recorded(spec: str, *, seed: int = 0) -> Dataset:
    """Load data as `load_data` does, from a specification in a file; NasError if that would run code."""
    check_recorded(spec)
    return load_data(spec, seed=seed)


def data_name(data: object) -> str:
    """Return the name of data in the record of a run: the specification, or the type of a Python object."""
    if isinstance(data, str | os.PathLike):
        return os.fspath(data)
    return f"{memory.NAME}:{type(data).__name__}"


def check_recorded(spec: str, option: str = "") -> None:
    """Raise NasError for code that a file names: the file may be a stranger's, and so may the code.

    `option` is how the user names it, --data if left out. Raises NasError, too, for data that were given
    in Python and are not recorded.
    """
    kind = spec.partition(":")[0].strip()
    if kind == memory.NAME:
        hint, where = "give the same images again, with data=…", f"data {spec!r}"
        raise NasError(
            "these images were given in Python, and are in no file", where=f"data {spec!r}", hint=hint
        )
    if kind == "python":
        message = "this code is named in a file, and runs only where you name it too"
        where = "data" if not option else "objective"
        raise NasError(
            message, where=f"{where} {spec!r}", hint=f"if you trust it: {option or f'--data {spec}'}"
        )


def check_recorded_objectives(objectives: Sequence[str], named: Sequence[str] = ()) -> None:
    """Raise NasError for objectives that are code and that the user does not name: see `check_recorded`."""
    for name in objectives:
        if name not in named:
            check_recorded(name, f"--objectives {','.join(objectives)}")


def parse_spec(spec: str) -> tuple[Form, str, Options]:
    """Parse form, place ("" for built-in data) and options of a specification; NasError if malformed."""
    body, query = _body_and_options(spec)
    name, colon, target = body.partition(":")
    where = f"data {spec!r}"
    form = forms().get(name)
    if form is None:
        form, target = _form_of_path(body, where), body
    elif colon and not form.place:
        raise NasError(f"{name} takes no path", where=where, hint=f"write {name!r}")
    elif form.place and not target:
        raise NasError(f"{name} needs a place", where=where, hint=f"write {str(form)!r}")
    return form, target, _parse_options(query, form, where)


def _body_and_options(spec: str) -> tuple[str, str]:
    """Split a specification where its options begin: after the first `?` that is not in the name of a place
    that exists."""
    ends = [match.start() for match in re.finditer(r"\?|$", spec)]
    named = spec.partition(":")[0] in forms()
    for end in reversed(ends[1:]):
        if os.path.exists(spec[:end].partition(":")[2] if named else spec[:end]):
            return spec[:end], spec[end + 1 :]
    body, _, query = spec.partition("?")
    return body, query


def _form_of_path(body: str, where: str) -> Form:
    """Return the form of a path that is given without one."""
    name = body.partition(":")[0]
    if name == memory.NAME:
        check_recorded(body)
    path = Path(body).expanduser()
    if body and path.exists():
        for form in forms().values():
            if form.claims and form.claims(path):
                return form
        names = ", ".join(form.name for form in forms().values() if form.claims)
        raise NasError("of no form of data that is known", where=where, hint=f"read as paths: {names}")
    if re.search(r"^[~.]|[/\\]|\.\w+$", name):
        hint = "a folder of images, a .parquet or an .npz file may be named by its path"
        raise NotFoundError("no such file or folder", where=where, hint=hint)
    known = f"known: {', '.join(map(str, forms().values()))}, or the path of a folder or file"
    close = did_you_mean(name, forms()).partition("  known:")[0]
    hint = f"{close}  {known}" if close.startswith("did") else known
    raise NasError(f"unknown data {name!r}", where=where, hint=hint)


def _parse_options(query: str, form: Form, where: str) -> Options:
    known = [item.name for item in fields(Options) if item.name not in SPECIAL or item.name in form.options]
    settings: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise NasError(f"unknown option {name!r}", where=where, hint=did_you_mean(name, known))
        if name in settings:
            raise NasError(f"option {name!r} is given twice", where=where)
        settings[name] = PARSERS[name](name, value, where)
    if "fit" in settings and "size" not in settings:
        hint = "add size=N or size=HxW"
        raise NasError("fit says how images are brought to a size", where=where, hint=hint)
    return Options(**settings)


def _number(name: str, value: str, where: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS and int(value) > 0):
        hint = f"of at most {MAX_DIGITS} digits"
        raise NasError(f"{name} must be a positive whole number, not {value!r:.80}", where=where, hint=hint)
    return int(value)


def _size(name: str, value: str, where: str) -> tuple[int, int]:
    sides = [_number(name, side, where) for side in value.split("x")]
    if len(sides) > 2:
        raise NasError(f"size must be N or HEIGHTxWIDTH, not {value!r}", where=where)
    if max(sides) > MAX_SIZE:
        raise NasError(f"size must be at most {MAX_SIZE}, not {max(sides)}", where=where)
    return sides[0], sides[-1]


def _share(name: str, value: str, where: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not (0 <= share < 1) or (share == 0 and name != "test"):
        raise NasError(f"{name} must be a share of the images, such as 0.2, not {value!r}", where=where)
    return share


def _fit(name: str, value: str, where: str) -> str:
    if value not in FITS:
        raise NasError(f"unknown fit {value!r}", where=where, hint=did_you_mean(value, FITS))
    return value


def _flag(name: str, value: str, where: str) -> bool:
    if value.lower() not in ("", "1", "true", "yes", "0", "false", "no"):
        raise NasError(f"{name} takes no value, not {value!r}", where=where)
    return value.lower() in ("", "1", "true", "yes")


def _text(name: str, value: str, where: str) -> str:
    return value


PARSERS: dict[str, Callable[[str, str, str], Any]] = {
    "size": _size,
    "fit": _fit,
    "limit": _number,
    "label": _text,
    "image": _text,
    "skip_broken": _flag,
    "min_images": _number,
    "validation": _share,
    "test": _share,
}


def resized(source: Source, options: Options) -> Source:
    """Return the source with all parts at one size, for arrays and archives, which are not decoded at it."""
    parts = {part: partial(_resize, load, options, source.name) for part, load in source.parts.items()}
    return Source.of_parts(source.name, parts, source.origins, source.unread)


def _resize(load: Load, options: Options, name: str) -> Split | Undecoded:
    part = load()
    if isinstance(part, Undecoded):
        if part.size == options.size:
            return part
        part = part.decoded()
    if part.images.shape[2:] == options.size:
        return part
    masked = task_of(part.labels) == "segmentation"
    fitted = Undecoded(
        jobs=partial(_resize_jobs, part, options),
        count=len(part.images),
        labels=np.empty(0, np.int64) if masked else np.asarray(part.labels),
        classes=part.classes,
        where=name,
        masked=masked,
        size=options.size,
        reading=replace(part.reading, sizes={}),
    )
    return fitted.decoded() if masked else fitted


def _resize_jobs(part: Split, options: Options, indices: Indices) -> Iterator[Job]:
    masks = part.labels if task_of(part.labels) == "segmentation" else None
    assert options.size is not None
    for i in indices:
        mask = None if masks is None else masks[i]
        yield f"image {i}", partial(resize, part.images[i], mask, options.size, options.fit)
