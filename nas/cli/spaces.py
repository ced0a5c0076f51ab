"""nas spaces: list the search spaces, or show one."""

from __future__ import annotations

import re
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
from nas.space.decisions import RECIPE
from nas.space.fitting import BOUND
from nas.space.spec import UNITS

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

READABLE = 1_000_000_000
"""Sizes from this on are printed as powers of ten."""
COSTS = ("min", "median", "max", "rules out")


@click.command("spaces", epilog="Example: nas spaces residual_vs_fractal --input 3x224x224")
@click.argument("name", required=False, shell_complete=complete.spaces)
@click.option(
    "--input",
    "shapes",
    type=options.InputShape(),
    multiple=True,
    help="Show what networks cost for images of this size.",
)
@click.option("--classes", type=click.IntRange(min=1), help="Number of classes. Default: those of NAME.")
@click.option(
    "--around",
    metavar="NETWORK",
    help="Write the YAML of a space around a network: a name of the zoo, or a file as `nas cost` takes it.",
)
@click.option(
    "--vary",
    metavar="LIST",
    help="With --around: of depth,width,type,cardinality. Default: depth,width, what of them can.",
)
@click.option("--flops", metavar="N", help="With --around: limit, as in 0.5x or 2G. Default: 1x.")
@options.as_json
def command(
    *,
    name: str | None,
    shapes: tuple[tuple[int, int, int], ...],
    classes: int | None,
    around: str | None,
    vary: str | None,
    flops: str | None,
    as_json: bool,
) -> None:
    """List the search spaces, or show the decisions of one.

    NAME is a search space, or the path of a .yaml file. With --input it shows the stem and the limits for
    images of this size, and the costs of 200 networks drawn uniformly.
    """
    from nas.space.load import load_space, space_names

    if len(shapes) > 1:
        raise NasError("given twice", where="--input", hint="a network takes images of one size")
    shape = shapes[0] if shapes else None
    if around is not None:
        if name is not None:
            raise NasError("name a space or --around, not both", where=name)
        text = _around(around, shape, classes, vary, flops or "1x")
        if as_json:
            emit({"yaml": text})
        else:
            echo(text, newline=False)
        return
    if vary is not None or flops is not None:
        raise NasError("--vary and --flops belong to --around NETWORK")
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


def _around(
    network: str, shape: tuple[int, int, int] | None, classes: int | None, vary: str | None, flops: str
) -> str:
    """Return the YAML of a space around a network of the zoo or of a file."""
    from nas.graph.cost import cost
    from nas.space.around import around
    from nas.space.genotype import expand
    from nas.zoo.network_file import named_network

    name, (genotype, input_shape, num_classes) = named_network(network)
    image, count = shape or tuple(input_shape), classes or num_classes
    limit = _flops(flops, cost(expand(genotype, image, count)).flops)
    chosen = None if vary is None else [item.strip() for item in vary.split(",") if item.strip()]
    return around(genotype, image, count, name=name, vary=chosen, max_flops=limit)


def _flops(text: str, own: int) -> int:
    """Return a limit on FLOPs: `0.5x` of those that a network has, or a number such as 2G."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([xkMGT]?)", text)
    if not match or not float(match[1]):
        raise NasError(f"{text!r:.40} is no limit", where="--flops", hint="write 0.5x, 40M or 2G")
    number = float(match[1])
    return round(number * own if match[2] == "x" else number * UNITS[match[2]])


def _head(space: SearchSpace) -> None:
    echo(f"{space.name}: {space.description}")
    shape = shape_text(space.input_shape)
    echo(f"{genotypes(space)}, counted at {shape} and {space.num_classes:,} classes")


def _show_costs(space: SearchSpace, as_json: bool) -> None:
    """Show what follows from the images: stem, limits, and costs over draws."""
    from nas.controller.space_figures import BATCH, space_figures

    figures = space_figures(space)
    if as_json:
        emit({**_summary(space), "stem": space.spec.stem, **asdict(figures), "yaml": space.to_yaml()})
        return
    _head(space)
    for line in adaptation_lines(space):
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


def adaptation_lines(space: SearchSpace) -> list[str]:
    """Return a line for each part of a space that follows from the size of the images."""
    return [f"{label:<11} {text}" for label, text in space.adaptations()]


def recipe_lines(space: SearchSpace) -> list[str]:
    """Return a line with the options of each field of the recipe that is searched."""
    found = [
        f"{path.partition('.')[2]} {', '.join(str(option).lower() for option in options)}"
        for path, options in space.domains().items()
        if path.startswith(RECIPE)
    ]
    return [f"recipe      searched: {'; '.join(found)}"] if found else []


def _summary(space: SearchSpace) -> dict[str, Any]:
    return {
        "name": space.name,
        "description": space.description,
        "input_shape": list(space.input_shape),
        "num_classes": space.num_classes,
        "size": asdict(space.size()),
        **({"without_recipe": asdict(space.without_recipe().size())} if space.spec.recipe else {}),
    }


def size(space: SearchSpace) -> str:
    """Return the number of genotypes, as an upper bound if it is not known exactly."""
    found = space.size()
    count = f"{found.count:,}" if found.count < READABLE else f"{Decimal(found.count):.1e}"
    return count if found.exact else f"up to {count}"


def genotypes(space: SearchSpace) -> str:
    """Return the number of genotypes and, where the recipe is searched, that of genotypes with recipes."""
    if not space.spec.recipe_decisions:
        return f"{size(space)} genotypes"
    return f"{size(space.without_recipe())} genotypes, {size(space)} with their recipes"
