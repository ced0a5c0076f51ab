"""The page of an evaluation: errors by class, confusions, calibration and the worst images, in one file that
needs no network."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

import nas
from nas.data.dataset import Images
from nas.exporters.evaluate import Evaluation
from nas.exporters.masks import Mask, MaskEvaluation
from nas.files import write_atomic
from nas.formatting import count
from nas.reports.page import POLICY
from nas.reports.picture import inline
from nas.reports.render import Table, render, style, table
from nas.visualization.plots.style import COLOURS, canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CELLS = 20
"""Most classes whose confusions are shown as a matrix; of more, the pairs that are confused most."""
MOST_PAIRS = 15
MOST_SIDE = 160
"""Longest side of an image on the page, in pixels of its file."""


def write_evaluation(evaluation: Evaluation | MaskEvaluation, file: Path) -> Path:
    """Write the page and return its file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(evaluation, MaskEvaluation):
        write_atomic(file, mask_page(evaluation))
    else:
        write_atomic(file, evaluation_page(evaluation))
    return file


def evaluation_page(evaluation: Evaluation) -> str:
    """Return the page of a network that classifies images."""
    caption = (
        "Accuracy by confidence, in bins of equal width. Below the diagonal the network is too sure of "
        f"itself. Expected calibration error: {evaluation.ece:.2%}."
    )
    return _page(
        evaluation,
        lead=_lead(evaluation),
        classes=class_table(evaluation),
        heading="Error by class",
        unit="images",
        reliability=inline(reliability(evaluation), "reliability", caption),
        caption=caption,
        worst=[(image, picture(image.pixels)) for image in evaluation.worst],
    )


def mask_page(evaluation: MaskEvaluation) -> str:
    """Return the page of a network that classifies pixels."""
    pixels = int(evaluation.confusion.sum())
    lead = (
        f"{count(evaluation.images, 'image')} of {evaluation.data}, {pixels:,} pixels that are not ignored. "
        f"Mean IoU {_percent(evaluation.miou)}, {_percent(evaluation.accuracy)} of the pixels right, "
        f"cross-entropy {evaluation.loss:.4f}."
    )
    shares = ("iou", "recall", "precision")
    rows = [
        (row["class"], f"{row['pixels']:,}", *(_percent(row[name]) for name in shares))
        for row in evaluation.by_iou()
    ]
    return _page(
        evaluation,
        lead=lead,
        classes=table(["class", "pixels>", "IoU>", "recall>", "precision>"], rows),
        heading="IoU by class",
        unit="pixels",
        reliability=None,
        caption="",
        worst=[
            (w, [picture(w.pixels), mask_picture(w.mask), mask_picture(w.answer)]) for w in evaluation.worst
        ],
    )


def _page(evaluation: Evaluation | MaskEvaluation, **values: Any) -> str:
    return render(
        "evaluation.html",
        policy=POLICY.format(script="none"),
        style=style(),
        title=f"Evaluation of {evaluation.title}",
        warning=_warning(evaluation),
        matrix=matrix(evaluation) if len(evaluation.classes) <= MOST_CELLS else None,
        names=evaluation.classes,
        pairs=pair_table(evaluation, values["unit"]),
        footer=f"Written by nas {nas.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        **values,
    )


def _lead(evaluation: Evaluation) -> str:
    low, high = evaluation.interval
    return (
        f"{count(evaluation.count, 'image')} of {evaluation.data}. Error {evaluation.error:.2%} "
        f"(95 % interval {low:.2%} to {high:.2%}), cross-entropy {evaluation.loss:.4f}, expected calibration "
        f"error {evaluation.ece:.2%}."
    )


def _warning(evaluation: Evaluation | MaskEvaluation) -> str:
    return (
        "The network was trained or chosen on these images, so that the error is too low."
        * evaluation.familiar
    )


def class_table(evaluation: Evaluation) -> Table:
    """Return the classes, highest error first."""
    rows = evaluation.by_error()
    shown = [
        (row["class"], row["images"], _percent(row["error"]), _percent(row["precision"])) for row in rows
    ]
    return table(["class", "images>", "error>", "precision>"], shown)


def pair_table(evaluation: Evaluation | MaskEvaluation, unit: str) -> Table:
    """Return the pairs of class and answer that are confused most."""
    wrong = evaluation.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    names, rows = evaluation.classes, []
    for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[i, j]:
            share = wrong[i, j] / evaluation.confusion[i].sum()
            rows.append((names[i], names[j], f"{wrong[i, j]:,}", f"{share:.1%}"))
    return table(["class", "taken for", f"{unit}>", "of the class>"], rows)


def matrix(evaluation: Evaluation | MaskEvaluation) -> list[list[tuple[int, int]]]:
    """Return the cells of the confusion matrix: images or pixels, and their share of the row in percent."""
    totals = np.maximum(1, evaluation.confusion.sum(1, keepdims=True))
    shares = np.rint(100 * evaluation.confusion / totals).astype(int)
    return [
        [(int(n), int(share)) for n, share in zip(*row, strict=True)]
        for row in zip(evaluation.confusion, shares, strict=True)
    ]


@in_style
def reliability(evaluation: Evaluation) -> Figure:
    """Draw accuracy against confidence."""
    figure, axes = canvas(4.0, 3.4)
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=1, linestyle="--")
    bins = evaluation.bins
    most = max(bin.count for bin in bins)
    axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=COLOURS[0], linewidth=1.2)
    sizes = [12 + 90 * bin.count / most for bin in bins]
    axes.scatter([b.confidence for b in bins], [b.accuracy for b in bins], s=sizes, color=COLOURS[0])
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
    return figure


def picture(pixels: Images) -> Markup:
    """Return an image (channels, height, width) as a data URI."""
    from PIL import Image

    return _inlined(Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))


def mask_picture(mask: Mask) -> Markup:
    """Return a mask in the colours of its classes as a data URI; ignored pixels are light grey."""
    import torch

    from nas.exporters.predict_script import to_image

    return _inlined(to_image(torch.tensor(mask)))


def _inlined(shown: Any) -> Markup:
    shown.thumbnail((MOST_SIDE, MOST_SIDE))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    return Markup("data:image/png;base64,") + base64.b64encode(buffer.getvalue()).decode()


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
