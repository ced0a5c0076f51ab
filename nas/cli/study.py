"""nas study: fixed experiments, which search nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nas.cli import _options as options
from nas.cli._output import emit, note, percent


@click.group("study", epilog="Example: nas study degradation --data digits?limit=200 --epochs 1")
def command() -> None:
    """Fixed experiments of the literature, on data of your choice."""


@command.command("degradation", epilog="Example: nas study degradation --data digits?limit=200 --epochs 1")
@click.option(
    "--data",
    default="digits",
    show_default=True,
    metavar="D",
    help="As for nas search, such as 'parquet:PATH?limit=5000'.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True, metavar="E")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="I")
@options.workers
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/degradation"),
    show_default=True,
    metavar="DIR",
    help="For the curves; networks that it holds already are not trained again.",
)
@options.as_json
def degradation(data: str, epochs: int, seed: int, workers: int | None, to: Path, as_json: bool) -> None:
    """Plain and residual nets of 20 and 56 layers under one recipe (He et al., 2015).

    Draws the training error (dashed) and the validation error (solid) against the epoch and
    says which way they came out. The test set is not looked at.
    """
    from nas.controller.degradation import Files, run_degradation, summary
    from nas.data import load_data
    from nas.training.recipe import default_recipe

    dataset = load_data(data, seed=seed)
    document = run_degradation(
        dataset,
        default_recipe(dataset, epochs),
        to,
        seed=seed,
        workers=workers,
        on_start=lambda names, slots: note(f"training {', '.join(names)}, {slots} at a time"),
        on_epoch=lambda name, row: _show_epoch(name, row, epochs),
    )
    sentences = summary(document)
    if as_json:
        emit({**document, "summary": sentences})
        return
    for line in sentences:
        click.echo(line)
    files = Files(to)
    click.echo(f"\nwritten: {', '.join(map(str, (*files.pictures, files.table, files.curves)))}")


def _show_epoch(name: str, row: Mapping[str, Any], epochs: int) -> None:
    note(
        f"{name:<9} epoch {row['epoch']:>3}/{epochs}  training error {percent(row['train_error']):>6}  "
        f"validation error {percent(row['val_error']):>6}"
    )
