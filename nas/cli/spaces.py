"""nas spaces: list the search spaces, or show one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, table
from nas.errors import NasError
from nas.formatting import metric
from nas.graph.graph import shape_text
from nas.space.fitting import BOUND

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

READABLE = 1_000_000_000
"""Sizes from this on are printed as powers of ten."""
COSTS = ("min", "median", "max", "rules out")


@click.command("spaces", epilog="Example: nas spaces residual_vs_fractal --input 3x224x224")
@click.argument("name", required=False, shell_complete=complete.spaces)
@click.option("--input", "shape", type=options.InputShape(), help="Show what networks cost for such images.")
@click.option("--classes", type=click.IntRange(min=1), help="Number of classes. Default: those of NAME.")
@options.as_json
def command(name: str | None, shape: tuple[int, int, int] | None, classes: int | None, as_json: bool) -> None:
    """List the search spaces, or show the decisions of one.

    NAME is a search space, or the path of a .yaml file. With --input it shows the stem and the limits for
    images of this size, and the costs of 200 networks drawn uniformly.
    """
    from nas.space.space import load_space, space_names

    if name is not None:
        space = load_space(name)
        if shape is None and classes is None:
            _show(space, as_json)
        else:
            fitted = space.with_input(shape or space.input_shape, classes or space.num_classes)
            _show_costs(fitted, as_json)
        return
    if shape or classes:
        raise NasError("--input and --classes need the name of a space", hint="nas spaces lists them")
    spaces = [load_space(name) for name in space_names()]
    if as_json:
        emit({"spaces": [_summary(space) for space in spaces]})
        return
    table(
        [{"space": space.name, "genotypes": size(space), "about": space.description} for space in spaces],
        right=["genotypes"],
    )


def _show(space: SearchSpace, as_json: bool) -> None:
    from nas.space.spec import spec_text

    domains = {path: list(choices) for path, choices in space.domains().items()}
    if as_json:
        emit({**_summary(space), "decisions": domains, "yaml": spec_text(space.declared)})
        return
    _head(space)
    echo("Costs, stem and limits for your images: --input 3x224x224\n")
    table([{"decision": path, "options": ", ".join(map(str, choices))} for path, choices in domains.items()])


def _head(space: SearchSpace) -> None:
    echo(f"{space.name}: {space.description}")
    shape = shape_text(space.input_shape)
    echo(f"{size(space)} genotypes, counted at {shape} and {space.num_classes:,} classes")


def _show_costs(space: SearchSpace, as_json: bool) -> None:
    """Show what follows from the images: stem, limits, and costs over draws."""
    from nas.controller.space_figures import BATCH, space_figures

    figures = space_figures(space)
    if as_json:
        emit({**_summary(space), "stem": space.spec.stem, **asdict(figures), "yaml": space.to_yaml()})
        return
    _head(space)
    for line in adaption_lines(space):
        echo(line)
    if figures.fault:
        echo(f"fault       not every draw can be built: {figures.fault}")
    echo(f"\n{figures.draws} uniform draws, for one image; memory of a training step of {BATCH} images:")
    rows = [_costs_row(name, row, figures.limits.get(name)) for name, row in figures.figures.items()]
    table(rows if figures.limits else [dict(list(row.items())[:4]) for row in rows], right=COSTS)
    if len(figures.limits) > 1:
        echo(f"\nTogether the limits rule out {1 - figures.fits:.1%} of the draws.")


def _costs_row(name: str, row: Mapping[str, int], limit: Mapping[str, float] | None) -> dict[str, str]:
    unit, limit = "B" if name == "memory" else "", limit or {}
    bounds = [f"{BOUND[kind]} {metric(limit[kind])}" for kind in BOUND if kind in limit]
    return {
        "figure": name,
        **{label: f"{metric(figure)}{unit}" for label, figure in row.items()},
        "limit": ", ".join(bounds),
        "rules out": f"{limit['ruled_out']:.1%}" if limit else "",
    }


def adaption_lines(space: SearchSpace) -> list[str]:
    """Return a line for each part of a space that follows from the size of the images."""
    return [f"{label:<11} {text}" for label, text in space.adaptions()]


def _summary(space: SearchSpace) -> dict[str, Any]:
    return {
        "name": space.name,
        "description": space.description,
        "input_shape": list(space.input_shape),
        "num_classes": space.num_classes,
        "size": asdict(space.size()),
    }


def size(space: SearchSpace) -> str:
    """Return the number of genotypes, as an upper bound if it is not known exactly."""
    genotypes = space.size()
    count = f"{genotypes.count:,}" if genotypes.count < READABLE else f"{Decimal(genotypes.count):.1e}"
    return count if genotypes.exact else f"up to {count}"
