"""nas data: show how a data set is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, echo_labelled, emit, note, table

MOST_CLASSES = 40
"""Classes that the table lists."""


@click.command("data", epilog="Example: nas data digits --plot digits.png")
@click.argument("spec", metavar="[SPEC]", required=False, shell_complete=complete.data)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the split.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw images with their labels, before and after augmentation: .png, .svg or .pdf.",
)
@click.option(
    "--recipe",
    type=options.Fields(),
    metavar="K=V,...",
    help="Fields of the training recipe, to see its augmentation; help lists them.",
)
@options.as_json
def command(
    spec: str | None, seed: int, plot: Path | None, recipe: dict[str, Any] | None, as_json: bool
) -> None:
    """Show how nas search would read the images SPEC.

    Lists the splits and their sources, the number of images per class, the image sizes, the files that were
    not read and why, and warnings to check before a search. SPEC is as for nas search --data; the path of a
    folder of images is enough. Without SPEC, lists the forms of data.
    """
    if spec is None:
        if plot is not None or recipe is not None:
            raise click.UsageError("--plot and --recipe describe images: name them, as in nas data digits")
        _list_forms(as_json)
        return
    from nas.data import load_data
    from nas.data.summary import class_counts, data_dict, data_lines
    from nas.training.recipe import adjusted, check_recipe, default_recipe
    from nas.training.recipe_text import augmentation, recipe_lines

    dataset = load_data(spec, seed=seed)
    fields = recipe or {}
    chosen = adjusted(default_recipe(dataset, fields.get("epochs")), fields)
    check_recipe(chosen, dataset)
    if plot is not None:
        from nas.visualization.plots.images import plot_images

        note(f"picture: {plot_images(dataset, chosen, plot)}")
    if as_json:
        emit({**data_dict(dataset), "augmentation": augmentation(chosen)})
        return
    echo_labelled(*data_lines(dataset, spec), *recipe_lines(chosen, dataset))
    counts = class_counts(dataset)
    rows = [{"class": name, **of_parts} for name, of_parts in list(counts.items())[:MOST_CLASSES]]
    echo()
    table(rows, right=["train", "validation", "test"])
    if len(counts) > MOST_CLASSES:
        echo(f"… and {len(counts) - MOST_CLASSES} more classes")


def _list_forms(as_json: bool) -> None:
    from nas.data.load import forms

    rows = [{"form": str(form), "data": form.about} for form in forms().values()]
    if as_json:
        emit({"forms": rows})
    else:
        table(rows)
