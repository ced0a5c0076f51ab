"""nas predict: classify images with a trained network."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from nas.cli import _options as options
from nas.cli._output import echo, emit, note
from nas.errors import NasError
from nas.formatting import count

if TYPE_CHECKING:
    from nas.exporters.folder import NetworkFolder


MASKS = Path("predicted_masks")


@click.command("predict", epilog="Example: nas predict trained/trial-0 digits.png --top 3")
@click.argument("folder", metavar="FOLDER")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="K", help="Classes per image."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV to stdout, one row per image and class.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help=f"Folder for masks, of a network that classifies pixels. Default: {MASKS}.",
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or cuda:1.")
@options.as_json
def command(
    folder: str,
    images: tuple[str, ...],
    top: int,
    as_csv: bool,
    to: Path | None,
    device: str,
    as_json: bool,
) -> int | None:
    """Classify images, and print the classes with their probabilities.

    FOLDER is one that nas train or nas export wrote, with weights. An IMAGE is a file, or a folder of them.
    Images are read, turned, resized and normalised as in training. A network that was trained on masks
    classifies pixels: a PNG of class indices is written for each image, and the share of each class is
    printed. An image that cannot be read is named, the others are classified, and the exit code is 2. If
    network.py in FOLDER is a program of your own, name that file in place of FOLDER: it is run.
    """
    from nas.exporters.folder import open_folder

    options.check_one_format(as_csv, as_json)
    opened = open_folder(folder)
    if opened.about["task"] == "segmentation":
        answers = _masks(opened, images, to or MASKS, top, device)
    elif to is not None:
        raise NasError("the network classifies whole images, and writes no masks", where="--to")
    else:
        answers = _classes(opened, images, top, device)
    rows, errors, changes = list[Answer](), list[NasError](), Counter[str]()
    for item in answers:
        if isinstance(item, NasError):
            errors.append(item)
            continue
        rows.append(item)
        changes.update(item.changes)
        if not as_json and not as_csv:
            places = filter(None, (item.image, item.mask))
            shares = (f"{name} {share:.1%}" for name, share in item.shares.items())
            echo("  ".join(map(str, [*places, *shares])))
    if as_json:
        emit({"predictions": [_row(item) for item in rows], "unread": {e.where: e.message for e in errors}})
    elif as_csv:
        echo(_csv(rows), newline=False)
    for change, number in changes.items():
        note(f"{count(number, 'image')}: {change}")
    for error in errors:
        note(f"error: {error}")
    return NasError.exit_code if errors else None


class Answer(NamedTuple):
    """Answer to one image: the probabilities of its classes, or its mask and their shares of its pixels."""

    image: Path
    mask: Path | None
    shares: dict[str, float]
    changes: tuple[str, ...]


def _classes(
    folder: NetworkFolder, images: Sequence[str], top: int, device: str
) -> Iterator[Answer | NasError]:
    from nas.exporters.predict import predict

    for item in predict(folder, images, top=top, device=device):
        yield (
            item if isinstance(item, NasError) else Answer(item.image, None, item.probabilities, item.changes)
        )


def _masks(
    folder: NetworkFolder, images: Sequence[str], to: Path, top: int, device: str
) -> Iterator[Answer | NasError]:
    """Write the mask of each image."""
    import torch

    from nas.exporters.masks import mask_files, predict_masks
    from nas.exporters.predict_script import to_image

    files = mask_files(images, to)
    for item in predict_masks(folder, files, device=device):
        if isinstance(item, NasError):
            yield item
            continue
        file = files[item.image]
        file.parent.mkdir(parents=True, exist_ok=True)
        to_image(torch.from_numpy(item.mask)).save(file)
        yield Answer(item.image, file, dict(islice(item.shares.items(), top)), item.changes)


def _row(item: Answer) -> dict[str, object]:
    what, place = ("probability", {}) if item.mask is None else ("share", {"mask": str(item.mask)})
    shares = [{"class": name, what: share} for name, share in item.shares.items()]
    return {"image": str(item.image), **place, "classes": shares, "changes": list(item.changes)}


def _csv(rows: list[Answer]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    masked = any(item.mask for item in rows)
    writer.writerow(
        ["image", *(["mask"] if masked else []), "rank", "class", "share" if masked else "probability"]
    )
    for item in rows:
        for rank, (name, share) in enumerate(item.shares.items(), start=1):
            writer.writerow([item.image, *filter(None, [item.mask]), rank, name, f"{share:.6f}"])
    return text.getvalue()
