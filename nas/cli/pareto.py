"""nas pareto: the front of a run."""

from __future__ import annotations

from pathlib import Path

import click

from nas.cli import options
from nas.cli.output import emit, note, text_width


@click.command("pareto", epilog="Example: nas pareto latest --plot front.png")
@options.run
@click.option("--objectives", type=options.Names(), help="By default those of the search.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg or .pdf.")
@options.results_dir
@options.as_json
def command(
    run: str, objectives: tuple[str, ...] | None, plot: Path | None, results_dir: Path, as_json: bool
) -> None:
    """The Pareto front of a run: the networks that no other beats in every objective.

    RUN is a run folder, a name under the results folder, or `latest`.
    """
    from nas.report import pareto_dict, pareto_text
    from nas.run import open_run
    from nas.trial import check_objectives

    chosen = check_objectives(objectives) if objectives else None
    with open_run(run, results_dir).study as study:
        if plot is not None:
            from nas.plots import plot_front

            names = chosen or study.objectives
            axes = sorted(names, key=lambda name: name == "error") if len(names) == 2 else ("flops", "error")
            plot_front(study, plot, axes)
        if as_json:
            emit(pareto_dict(study, chosen))
        else:
            click.echo(pareto_text(study, chosen, width=text_width()))
    if plot is not None:
        note(f"plot: {plot}")
