"""nas spaces: list the search spaces, or show one."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, table
from nas.graph.graph import shape_text

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

READABLE = 1_000_000_000
"""Sizes from this on are printed as powers of ten."""


@click.command("spaces", epilog="Example: nas spaces residual_vs_fractal")
@click.argument("name", required=False, shell_complete=complete.spaces)
@options.as_json
def command(name: str | None, as_json: bool) -> None:
    """List the search spaces, or show the decisions of one.

    NAME is a search space, or the path of a .yaml file.
    """
    from nas.space.space import load_space, space_names

    if name is not None:
        _show(load_space(name), as_json)
        return
    spaces = [load_space(name) for name in space_names()]
    if as_json:
        emit({"spaces": [_summary(space) for space in spaces]})
        return
    table(
        [{"space": space.name, "genotypes": size(space), "about": space.description} for space in spaces],
        right=["genotypes"],
    )


def _show(space: SearchSpace, as_json: bool) -> None:
    domains = {path: list(choices) for path, choices in space.domains().items()}
    if as_json:
        emit({**_summary(space), "decisions": domains, "yaml": space.to_yaml()})
        return
    echo(f"{space.name}: {space.description}")
    shape = shape_text(space.input_shape)
    echo(f"{size(space)} genotypes, counted at {shape} and {space.num_classes} classes\n")
    table([{"decision": path, "options": ", ".join(map(str, choices))} for path, choices in domains.items()])


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
    known = space.size()
    count = f"{known.count:,}" if known.count < READABLE else f"{Decimal(known.count):.1e}"
    return count if known.exact else f"up to {count}"
