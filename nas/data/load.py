"""From a specification such as `digits` or `parquet:PATH?limit=5000` to a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from urllib.parse import parse_qsl

from nas.data.archives import open_cifar10, open_cifar100, open_fashion_mnist, open_mnist
from nas.data.arrays import open_digits, open_npz, open_python
from nas.data.dataset import Dataset, Part, task_of
from nas.data.folder import open_folder
from nas.data.images import resize, resize_masks
from nas.data.masks import open_masks
from nas.data.parquet import open_parquet
from nas.data.shapes import open_shapes
from nas.data.source import Options, Source
from nas.data.split import split
from nas.errors import NasError, did_you_mean

BUILT_IN: dict[str, Callable[[], Source]] = {
    "digits": open_digits,
    "cifar10": open_cifar10,
    "cifar100": open_cifar100,
    "mnist": open_mnist,
    "fashion_mnist": open_fashion_mnist,
    "shapes": open_shapes,
}
AT_PATH: dict[str, Callable[[str, Options], Source]] = {
    "folder": open_folder,
    "parquet": open_parquet,
    "npz": open_npz,
    "python": open_python,
    "masks": open_masks,
}
FORMS = (*BUILT_IN, "folder:PATH", "parquet:PATH", "npz:PATH", "python:module:function", "masks:PATH")
MAX_SIZE = 1024


def load_data(spec: str, *, seed: int = 0) -> Dataset:
    """The data set that `spec` names, split by `seed`.

    Forms: digits, cifar10, cifar100, mnist, fashion_mnist, folder:PATH (a folder per
    class, or train/ and test/ with a folder per class), parquet:PATH (Hugging Face image
    layout), npz:PATH, python:module:function; for segmentation shapes and masks:PATH (folders
    images/ and masks/, or both in train/, val/ and test/). Options follow as `?size=32&limit=5000`.
    Raises NasError that says what is wrong with the specification or the data.
    """
    kind, target, options = parse_spec(spec)
    source = AT_PATH[kind](target, options) if target else BUILT_IN[kind]()
    if options.size is not None:
        source = _resized(source, options.size)
    return split(source, options.limit, seed)


def load_recorded(spec: str, *, seed: int = 0) -> Dataset:
    """As `load_data`, for what a file says; NasError where that would run code."""
    check_recorded(spec)
    return load_data(spec, seed=seed)


def check_recorded(spec: str, option: str = "") -> None:
    """NasError for code that a file names: the file may be a stranger's, and so may the code. `option`
    is how the user names it, --data if left out."""
    if spec.partition(":")[0].strip() == "python":
        message = "this code is named in a file, and runs only where you name it too"
        where = "data" if not option else "objective"
        raise NasError(
            message, where=f"{where} {spec!r}", hint=f"if you trust it: {option or f'--data {spec}'}"
        )


def parse_spec(spec: str) -> tuple[str, str, Options]:
    """Kind, path (or "") and options of a specification; NasError if it is malformed."""
    body, _, query = spec.partition("?")
    kind, colon, target = body.partition(":")
    where = f"data {spec!r}"
    if kind in BUILT_IN and colon:
        raise NasError(f"{kind} takes no path", where=where, hint=f"write {kind!r}")
    if kind in AT_PATH and not target:
        form = next(form for form in FORMS if form.startswith(f"{kind}:"))
        raise NasError(f"{kind} needs a place", where=where, hint=f"write {form!r}")
    if kind not in BUILT_IN and kind not in AT_PATH:
        raise NasError(f"unknown data {kind!r}", where=where, hint=_hint(kind))
    return kind, target, _parse_options(query, kind, where)


def _hint(kind: str) -> str:
    close = did_you_mean(kind, (*BUILT_IN, *AT_PATH)).partition("  known:")[0]
    forms = f"known: {', '.join(FORMS)}"
    return f"{close}  {forms}" if close.startswith("did") else forms


def _parse_options(query: str, kind: str, where: str) -> Options:
    known = [item.name for item in fields(Options) if item.name != "label" or kind == "parquet"]
    settings: dict[str, str | int] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise NasError(f"unknown option {name!r}", where=where, hint=did_you_mean(name, known))
        if name in settings:
            raise NasError(f"option {name!r} is given twice", where=where)
        settings[name] = value if name == "label" else _positive(name, value, where)
    options = Options(**settings)  # type: ignore[arg-type]
    if options.size is not None and options.size > MAX_SIZE:
        raise NasError(f"size must be at most {MAX_SIZE}, not {options.size}", where=where)
    return options


def _positive(name: str, value: str, where: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise NasError(f"{name} must be a positive whole number, not {value!r}", where=where)
    return int(value)


def _resized(source: Source, size: int) -> Source:
    test, validation = (load and partial(_resize, load, size) for load in (source.test, source.validation))
    return replace(source, train=partial(_resize, source.train, size), test=test, validation=validation)


def _resize(load: Callable[[], Part], size: int) -> Part:
    part = load()
    masks = resize_masks(part.labels, size) if task_of(part.labels) == "segmentation" else part.labels
    return part._replace(images=resize(part.images, size), labels=masks)
