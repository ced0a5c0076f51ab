"""nas zoo: list or show published networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import emit, note, table
from nas.cli.show import draw_network, show_layers
from nas.errors import NasError
from nas.graph.graph import shape_text

if TYPE_CHECKING:
    from nas.zoo import Entry


@click.command("zoo", epilog="Example: nas zoo resnet20 --export chosen")
@click.argument("name", required=False, shell_complete=complete.networks)
@click.option("--input", "shape", type=options.InputShape(), help="Size of an image. Default: the paper's.")
@click.option("--classes", type=click.IntRange(min=1), help="Number of classes. Default: the paper's.")
@click.option(
    "--export",
    "to",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the network as a PyTorch file to DIR/NAME.",
)
@options.plot
@options.closed
@options.as_json
def command(
    name: str | None,
    shape: tuple[int, int, int] | None,
    classes: int | None,
    to: Path | None,
    plot: Path | None,
    closed: bool,
    as_json: bool,
) -> None:
    """List published networks, or show one, layer by layer.

    FLOPs are multiply-adds of convolutions and linear layers for one image. --export verifies network.py,
    config.json and README.md before it writes them to DIR/NAME. `nas export --zoo` adds published weights.
    """
    from nas.zoo import zoo, zoo_entry

    if name is None:
        if shape or classes or to or plot:
            raise NasError("--input, --classes, --export and --plot need the name of a network")
        _list([_row(entry) for entry in zoo().values()], as_json)
        return
    from nas.space.genotype import expand

    entry = zoo_entry(name)
    entry = replace(entry, input_shape=shape or entry.input_shape, num_classes=classes or entry.num_classes)
    genotype = entry.build()
    graph = expand(genotype, entry.input_shape, entry.num_classes)
    draw_network(name, graph, plot, closed)
    if to is None:
        show_layers(name, genotype, graph, as_json)
        return
    from nas.cli.export import report_one
    from nas.exporters.zoo import export_zoo

    report_one(export_zoo(entry, to), as_json)


def _row(entry: Entry) -> dict[str, Any]:
    from nas.graph.cost import cost
    from nas.space.genotype import expand

    figures = cost(expand(entry.build(), entry.input_shape, entry.num_classes))
    return {
        "name": entry.name,
        "params": figures.params,
        "flops": figures.flops,
        "input_shape": list(entry.input_shape),
        "num_classes": entry.num_classes,
        "about": entry.about,
    }


def _list(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        emit({"networks": rows})
        return
    shown = [
        {
            "name": row["name"],
            "parameters": f"{row['params']:,}",
            "FLOPs": f"{row['flops']:,}",
            "input": shape_text(row["input_shape"]),
            "about": row["about"],
        }
        for row in rows
    ]
    table(shown, right=["parameters", "FLOPs"])
    note("nas zoo NAME shows one; FLOPs are multiply-adds of convolutions and linear layers")
