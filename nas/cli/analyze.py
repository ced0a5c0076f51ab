"""nas analyze: rank the module types of runs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, text_width
from nas.errors import NasError


@click.command("analyze", epilog="Example: nas analyze latest")
@click.argument("runs", metavar="RUN|TABLE [RUN...]", nargs=-1, required=True, shell_complete=complete.runs)
@options.results_dir
@options.as_json
@click.option("--csv", "as_csv", is_flag=True, help="Print the contrasts as CSV to stdout.")
@click.option(
    "--smallest-effect",
    type=float,
    default=0.5,
    show_default=True,
    metavar="POINTS",
    help="Smallest effect of interest, in points of error: types are called practically equal where any "
    "effect is smaller, and plans are for an effect of this size.",
)
def command(
    runs: tuple[str, ...], results_dir: Path, as_json: bool, as_csv: bool, smallest_effect: float
) -> None:
    """Rank the module types of runs, or of a table of results, and grade each claim by what the data support.

    RUN is a run folder, a name under the results folder, or `latest`.

    Several runs are pooled if data, split and recipe agree. A run that differs from the first only in having
    more epochs shows how reliable the first is. A run that differs only in learning rate or weight
    decay shows whether effects hold beyond one recipe. To train the same networks in both, search with
    the same --searcher paired and --seed, and more --epochs or another --recipe.

    TABLE is a CSV file of results of any trainer, one row per training. It needs the columns type and
    error (a fraction); rows with the same context are paired. Other columns are read where they are
    given: flops, params, seed, state (complete, failed, stopped), epochs, digest, depth, width, blocks,
    run, budget (FLOPs), lr and weight_decay.
    """
    from nas.analysis.fidelity import rungs_list, rungs_of, rungs_text
    from nas.analysis.pooling import analyze
    from nas.analysis.results_table import read_csv
    from nas.analysis.text.ranking import analysis_dict, analysis_text
    from nas.study.run import open_run

    with ExitStack() as stack:
        if tables := [run for run in runs if _is_table(run)]:
            if len(runs) > 1:
                hint = "join the tables into one; a column run tells their rows apart"
                raise NasError("a table is analysed alone", where=tables[0], hint=hint)
            analysis, rungs = analyze(read_csv(Path(tables[0])), smallest_effect=smallest_effect / 100), []
        else:
            opened = [open_run(run, results_dir) for run in runs]
            for run in opened:
                stack.enter_context(run.study)
            analysis = analyze(opened, smallest_effect=smallest_effect / 100)
            rungs = [each for run in opened for each in rungs_of(run)]
    if as_json:
        emit(analysis_dict(analysis) | ({"rungs": rungs_list(rungs)} if rungs else {}))
    elif as_csv:
        echo(analysis.frame().to_csv(index=False), newline=False)
    else:
        echo(analysis_text(analysis, width=text_width()))
        if rungs:
            echo("\n" + rungs_text(rungs, width=text_width()))


def _is_table(name: str) -> bool:
    """Whether an argument is a CSV file of results, not a run."""
    return name.lower().endswith(".csv") or Path(name).is_file()
