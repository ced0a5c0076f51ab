"""nas pareto: show the front of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _options as options
from nas.cli._output import echo, emit, note, text_width

if TYPE_CHECKING:
    from nas.analysis.seeds import Repeated
    from nas.study.run import Run


@click.command("pareto", epilog="Example: nas pareto latest --plot front.png")
@options.run
@options.objectives("Objectives of the front. Default: those of the search.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the front to a .png, .svg or .pdf file.",
)
@options.reseeding(
    "First train networks with K further seeds: those that are perhaps on the front, or "
    "all of the front if there are too few trainings for a model."
)
@options.results_dir
@options.as_json
def command(
    *,
    run: str,
    objectives: tuple[str, ...] | None,
    plot: Path | None,
    seeds: int | None,
    results_dir: Path,
    as_json: bool,
    **training: Any,
) -> None:
    """Show the Pareto front of a run: the networks that no other beats in every objective.

    One training is partly luck, so from ten trainings on networks are compared by the error that a model of
    all trainings expects of them; the front of measured errors is named beside it. With --reseed the networks
    that may or may not be on the front are trained again, which decides, and shows how far errors depend on
    the training seed. The run keeps the results and shows them from then on; a search that is resumed does
    not use them. After Ctrl-C the same command continues.

    RUN is a run folder, a name under the results folder, or `latest`.
    """
    from nas.study.objectives import check_objectives
    from nas.study.run import open_run

    chosen = check_objectives(objectives) if objectives else None
    if plot is not None:
        from nas.visualization.formats import check_format

        check_format(plot)
    if seeds is not None:
        from nas.cli._reseeding import reseed_shown

        reseed_shown(run, seeds, objectives=chosen, results_dir=results_dir, **training)
    else:
        options.check_reseed(training)
    with (opened := open_run(run, results_dir)).study:
        _show(opened, chosen, plot, as_json)


def _show(run: Run, objectives: tuple[str, ...] | None, plot: Path | None, as_json: bool) -> None:
    from nas.analysis.seeds import repeated
    from nas.analysis.text.pareto import pareto_dict, pareto_text
    from nas.analysis.text.seeds import seeds_columns, seeds_dict, seeds_notes
    from nas.formatting import to_text
    from nas.study.commands import reseed_command

    names, epochs = objectives or run.study.objectives, run.config.recipe.epochs
    expected = run.expected(names)
    members = sorted(run.front(names), key=lambda trial: trial.number)
    members = [replace(trial, error=run.study.means(trial, ("error",))[0]) for trial in members]
    over_seeds = repeated(members, run.reseeded, names)
    if plot is not None:
        _plot(run, names, over_seeds, plot)
    if as_json:
        emit(
            pareto_dict(run.study, names, expected, run.config) | {"reseeded": seeds_dict(over_seeds, epochs)}
        )
        return
    width = text_width()
    decide = reseed_command(run, objectives=names)
    columns = seeds_columns(over_seeds)
    echo(pareto_text(run.study, names, width, columns, expected=expected, config=run.config, decide=decide))
    if over_seeds:
        echo(to_text(*seeds_notes(over_seeds, epochs), width=width))


def _plot(run: Run, names: tuple[str, ...], over_seeds: list[Repeated], plot: Path) -> None:
    """Draw the front, with intervals at the epochs of the search or the next longer ones that are known."""
    from nas.study.objectives import all_axes
    from nas.visualization.plots import plot_front, plot_front_over_seeds

    if not run.study.complete:
        raise run.none_complete()
    axes = all_axes(names)
    shown = [repeats for repeats in over_seeds if repeats.epochs >= run.config.recipe.epochs] or over_seeds[
        -1:
    ]
    if shown and len(axes) == 2:
        plot_front_over_seeds(run.study, shown[0], plot, axes, run.expected(names))
    else:
        plot_front(run.study, plot, axes, expected=run.expected(names))
    note(f"plot: {plot}")
