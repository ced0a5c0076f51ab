"""nas predict: classify images with a trained network."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING

import click

from nas.cli import _options as options
from nas.cli._output import echo, emit, note
from nas.errors import NasError
from nas.formatting import count

if TYPE_CHECKING:
    from nas.exporters.predict import Prediction


@click.command("predict", epilog="Example: nas predict trained/trial-0 digits.png --top 3")
@click.argument("folder", metavar="FOLDER")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="K", help="Classes per image."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV to stdout, one row per image and class.")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or cuda:1.")
@options.as_json
def command(
    folder: str, images: tuple[str, ...], top: int, as_csv: bool, device: str, as_json: bool
) -> int | None:
    """Classify images, and print the classes with their probabilities.

    FOLDER is one that nas train or nas export wrote, with weights. An IMAGE is a file, or a folder of them.
    Images are read, turned, resized and normalised as in training. An image that cannot be read is named, the
    others are classified, and the exit code is 2. If network.py in FOLDER is a program of your own, name that
    file in place of FOLDER: it is run.
    """
    from nas.exporters.folder import open_folder
    from nas.exporters.predict import Prediction, predict

    if as_csv and as_json:
        raise NasError("choose one of --csv and --json")
    rows, errors, changes = list[Prediction](), list[NasError](), Counter[str]()
    for item in predict(open_folder(folder), images, top=top, device=device):
        if isinstance(item, NasError):
            errors.append(item)
            continue
        rows.append(item)
        changes.update(item.changes)
        if not as_json and not as_csv:
            shares = "  ".join(f"{name} {share:.1%}" for name, share in item.probabilities.items())
            echo(f"{item.image}  {shares}")
    if as_json:
        emit({"predictions": [_row(item) for item in rows], "unread": {e.where: e.message for e in errors}})
    elif as_csv:
        echo(_csv(rows), newline=False)
    for change, number in changes.items():
        note(f"{count(number, 'image')}: {change}")
    for error in errors:
        note(f"error: {error}")
    return NasError.exit_code if errors else None


def _row(item: Prediction) -> dict[str, object]:
    shares = [{"class": name, "probability": share} for name, share in item.probabilities.items()]
    return {"image": str(item.image), "classes": shares, "changes": list(item.changes)}


def _csv(rows: list[Prediction]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "rank", "class", "probability"])
    for item in rows:
        for rank, (name, share) in enumerate(item.probabilities.items(), start=1):
            writer.writerow([item.image, rank, name, f"{share:.6f}"])
    return text.getvalue()
