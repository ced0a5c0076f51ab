"""nas show: show one network, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, note, percent, table
from nas.cli._zoo_name import is_zoo_name
from nas.errors import NasError
from nas.graph.graph import shape_text
from nas.zoo.network_file import network_file, read_network, zoo_network

MOST_CLASSES = 20
"""Classes whose errors are listed."""

if TYPE_CHECKING:
    from nas.graph.graph import Graph
    from nas.space.genotype import Genotype
    from nas.study.trial import Trial
    from nas.visualization.network import Layer


@click.command("show", epilog="Example: nas show latest --plot network.svg")
@click.argument("target", metavar="RUN|NAME|FILE", shell_complete=complete.runs)
@options.trial
@options.plot
@options.closed
@options.results_dir
@options.as_json
def command(
    target: str, trial: int | None, plot: Path | None, closed: bool, results_dir: Path, as_json: bool
) -> None:
    """Show the layers of a network, with shapes, parameters and FLOPs, and the error of each class.

    The network is trial N of a RUN (default: the knee of its front), that of the zoo by its NAME, or that of
    a FILE: a genotype in JSON, an exported folder, or the config.json of one.
    """
    from nas.space.genotype import expand

    errors: dict[str, float | None] = {}
    failure = ""
    file = network_file(target)
    if file is not None:
        if trial is not None:
            raise NasError("a file has no trials", where="--trial")
        title, genotype, graph = _from_file(file)
    elif trial is None and is_zoo_name(target, results_dir):
        network = zoo_network(target)
        title, genotype, graph = target, network.genotype, expand(*network)
    else:
        chosen, graph, errors = _from_run(target, trial, results_dir)
        title, genotype, failure = f"trial {chosen.number}", chosen.genotype, _failure_of(chosen)
    draw_network(title, graph, plot, closed)
    show_layers(title, genotype, graph, as_json, errors, failure)


def _failure_of(trial: Trial) -> str:
    """Return why a trial failed, with the traceback of an exception; "" if it did not fail."""
    return f"{trial.reason}\n{trial.message}".strip() if trial.state == "failed" else ""


def _from_run(run: str, trial: int | None, results_dir: Path) -> tuple[Trial, Graph, dict[str, float | None]]:
    """Return a trial, the graph of its network, and the error of each class."""
    from nas.space.genotype import expand
    from nas.study.run import open_run

    opened = open_run(run, results_dir)
    with opened.study:
        chosen = opened.knee() if trial is None else opened.trial(trial)
    shape, classes = opened.config.input_shape, opened.config.num_classes
    errors = dict(zip(opened.config.classes, chosen.class_errors, strict=False))  # none of a stopped trial
    return chosen, expand(chosen.genotype, shape, classes), errors


def _from_file(path: Path) -> tuple[str, Genotype, Graph]:
    from nas.space.genotype import expand

    network = read_network(path)
    title = path.parent.name if path.name == "config.json" else path.stem
    return title, network.genotype, expand(*network)


def draw_network(title: str, graph: Graph, plot: Path | None, closed: bool) -> None:
    """Draw a network if a file is given."""
    if plot is not None:
        from nas.visualization.network import draw

        draw(graph, plot, title, closed=closed)
        note(f"plot: {plot}")
    elif closed:
        raise NasError("is a setting of --plot, which is not given", where="--closed", hint="add --plot FILE")


def show_layers(
    title: str,
    genotype: Genotype,
    graph: Graph,
    as_json: bool,
    class_errors: Mapping[str, float | None] | None = None,
    failure: str = "",
) -> None:
    """Print the table of layers, its blocks named as in the exported code, and the errors of the classes or
    why the training failed; or the same as JSON, with the names of the genotype."""
    from nas.graph.cost import cost
    from nas.space.candidate import recipe_of
    from nas.visualization.layout import exported_names
    from nas.visualization.network import layer_table

    layers, figures = layer_table(graph), cost(graph)
    total = {"params": figures.params, "flops": figures.flops}
    if as_json:
        shape = list(graph.input_shape)
        emit(
            {
                "digest": genotype.digest,
                "genotype": genotype.to_dict(),
                **({"recipe": recipe} if (recipe := recipe_of(genotype)) else {}),
                "input_shape": shape,
                **total,
                "layers": [_row(layer) for layer in layers],
                **({"class_errors": dict(class_errors)} if class_errors else {}),
                **({"failure": failure} if failure else {}),
            }
        )
        return
    echo(f"{title}: {genotype}\n")
    names = exported_names(graph)
    rows = [layer.row() | ({"layer": names[layer.name]} if layer.level == 0 else {}) for layer in layers]
    table(rows, right=["parameters", "FLOPs"])
    size = shape_text(graph.input_shape)
    echo(
        f"\ninput {size}: {figures.params:,} parameters, {figures.flops:,} FLOPs "
        "(multiply-adds of convolutions and linear layers)"
    )
    if class_errors:
        _show_errors(class_errors)
    if failure:
        echo(f"\nthe training failed: {failure}")


def _show_errors(errors: Mapping[str, float | None]) -> None:
    """Print the errors of the classes that have validation images, the worst first."""
    known = sorted(((error, name) for name, error in errors.items() if error is not None), reverse=True)
    echo("\nvalidation error of each class, the worst first:")
    table([{"class": name, "error": percent(error)} for error, name in known[:MOST_CLASSES]], right=["error"])
    if len(known) > MOST_CLASSES:
        echo(f"… and {len(known) - MOST_CLASSES} more")


def _row(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "op": layer.op,
        "shape": list(layer.shape),
        "params": layer.params,
        "flops": layer.flops,
        "level": layer.level,
    }
