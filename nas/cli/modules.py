"""nas modules: the modules that recur among good networks, and a file of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _options as options
from nas.cli._output import echo, emit, note, table
from nas.errors import NasError
from nas.formatting import metric

if TYPE_CHECKING:
    from nas.analysis.recurrent import Recurrence, Recurrent
    from nas.study.run import Run

SHOWN = 10
"""Modules that the table has."""


@click.command("modules", epilog="Example: nas modules latest --take 1 --name found")
@options.run
@click.option(
    "--take", type=click.IntRange(min=1), metavar="K", help="Write the K first new modules as a type."
)
@click.option("--name", metavar="NAME", help="Name of the type; the file is NAME.py in the current folder.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the first modules.")
@options.results_dir
@options.as_json
def command(
    *, run: str, take: int | None, name: str | None, plot: Path | None, results_dir: Path, as_json: bool
) -> None:
    """Rank the modules that recur among the good networks of a run.

    Good networks have the lowest quarter of errors in a range of FLOPs, of which there are at most four. A
    module is what its layers compute: settings that make the same graph are one. Its share is held against
    1,000 uniform draws from the space, those in the same range. Networks that descend from one first network
    count as one observation.

    Modules are ordered by p, adjusted for all modules of the space; then by the number of families that have
    them, and by how many points of error their networks are below the median of their range.

    --take writes a module type with the fields in which the modules differ, and checks that it makes the same
    networks. Modules of a free space that known types make are passed over. `nas search --plugin NAME.py`
    knows the type from then on.
    """
    from nas.analysis.recurrent import NONE_SHOWN, recurrent_modules
    from nas.study.run import open_run

    if (take is None) != (name is None):
        raise NasError("--take and --name belong together", where="nas modules")
    opened = open_run(run, results_dir)
    with opened.study:
        found = recurrent_modules(opened.study.trials, opened.space)
        if plot is not None:
            _draw(found, plot)
        file = _take(opened, found, take, name) if take and name else None
    if as_json:
        emit({**_as_json(found), "file": str(file) if file else None})
        return
    table(
        [_row(i, row) for i, row in enumerate(found.modules[:SHOWN], start=1)],
        right=["networks", "families", "below median"],
    )
    echo(
        f"{found.good} good networks of {found.families} families with {len(found.modules)} modules; "
        f"{found.draws} uniform draws; p adjusted for all modules of the space"
    )
    ranges = ", ".join(f"{metric(low)} to {metric(high)}" for low, high in found.ranges)
    echo(f"compared within FLOPs of {ranges}; inside, modules and FLOPs are not told apart")
    if not found.shown:
        echo(NONE_SHOWN)
    if found.left_out:
        note(f"{found.left_out} networks left out: too few networks or uniform draws of such FLOPs")
    if file:
        echo(file)


def _row(rank: int, row: Recurrent) -> dict[str, Any]:
    from nas.analysis.known_modules import known_as, settings_text

    share, known = row.share, known_as(row.module)
    text = settings_text(row.module)
    return {
        "": rank,
        "module": text if known == row.module.type_name or not known else f"{text} = {known}",
        "networks": row.networks,
        "families": row.families,
        "share, good": f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]",
        "uniform": f"{row.expected:.1%}",
        "p": f"{row.p:.2g}",
        "below median": f"{100 * row.gain:.1f}",
    }


def _as_json(found: Recurrence) -> dict[str, Any]:
    from nas.analysis.known_modules import known_as
    from nas.stats.estimate import estimate_dict

    modules = [
        {
            "key": row.key,
            "module": row.module.to_dict(),
            "networks": row.networks,
            "families": row.families,
            "share": estimate_dict(row.share),
            "expected": row.expected,
            "p": row.p,
            "gain": row.gain,
            "known_as": known_as(row.module) or None,
        }
        for row in found.modules
    ]
    counts: dict[str, int] = {"good": found.good, "families": found.families, "draws": found.draws}
    counts |= {"left_out": found.left_out, "shown": len(found.shown)}
    return {"modules": modules, **counts, "flops_ranges": [list(limits) for limits in found.ranges]}


def _take(run: Run, found: Recurrence, count: int, name: str) -> Path:
    """Write the first modules as a type, and say what they are worth."""
    from nas.analysis.known_modules import known_as, known_variants, settings_text
    from nas.analysis.module_file import write_module_type
    from nas.analysis.recurrent import module_places

    new = [row for row in found.modules if known_as(row.module) in ("", row.module.type_name)]
    if count > len(new):
        raise NasError(f"there are {len(new)} new modules", where="--take")
    chosen = new[:count]
    for row in found.modules[: found.modules.index(chosen[-1])]:
        if row not in chosen:
            note(f"passed over, as it is {known_as(row.module)}: {settings_text(row.module)}")
    file = Path(f"{name}.py")
    places = module_places(run.study.trials, run.space, {row.key for row in chosen})
    write_module_type(file, name, [row.module for row in chosen], places, run.space.name)
    for row in chosen:
        for norm, known in known_variants(row.module).items():
            note(f"with norm {norm}, {settings_text(row.module)} is {known}")
    unsure = count - sum(row in found.shown for row in chosen)
    if unsure:
        note(f"{unsure} of the {count} modules are not shown to recur more than in uniform draws")
    note(
        f"Put it beside other types: list {name} under modules in a space, then"
        f" nas search --space SPACE.yaml --searcher paired --plugin {file}"
    )
    return file


def _draw(found: Recurrence, file: Path) -> None:
    """Draw the first modules side by side, each after an input of its own width."""
    from nas.modules import ConvStem, PoolHead
    from nas.space.genotype import Genotype, Node, expand
    from nas.visualization.network import draw

    nodes, before = [], "stem"
    for rank, row in enumerate(found.modules[:3], start=1):
        nodes.append(
            Node(
                f"rank{rank}.module",
                replace(row.module, width=found.modules[0].module.width, stride=1),
                (before,),
            )
        )
        before = nodes[-1].name
    stem = ConvStem(found.modules[0].module.width)
    draw(expand(Genotype(stem, tuple(nodes), PoolHead())), file, "modules by rank")
