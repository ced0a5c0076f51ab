"""nas analyze: rank the module types of runs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, text_width


@click.command("analyze", epilog="Example: nas analyze latest")
@click.argument("runs", metavar="RUN [RUN...]", nargs=-1, required=True, shell_complete=complete.runs)
@options.results_dir
@options.as_json
@click.option("--csv", "as_csv", is_flag=True, help="Print the contrasts as CSV to stdout.")
def command(runs: tuple[str, ...], results_dir: Path, as_json: bool, as_csv: bool) -> None:
    """Rank the module types of runs, with intervals, and grade each claim by what the data support.

    RUN is a run folder, a name under the results folder, or `latest`.

    Several runs are pooled if data, split and recipe agree. A run that differs from the first only in having
    more epochs shows how reliable the first is. A run that differs only in learning rate or weight
    decay shows whether effects hold beyond one recipe. To train the same networks in both, search with
    the same --searcher paired and --seed, and more --epochs or another --recipe.
    """
    from nas.analysis.fidelity import rungs_list, rungs_of, rungs_text
    from nas.analysis.pooling import analyze
    from nas.analysis.text.ranking import analysis_dict, analysis_text
    from nas.study.run import open_run

    with ExitStack() as stack:
        opened = [open_run(run, results_dir) for run in runs]
        for run in opened:
            stack.enter_context(run.study)
        analysis = analyze(opened)
        rungs = [rung for run in opened for rung in rungs_of(run)]
    if as_json:
        emit(analysis_dict(analysis) | ({"rungs": rungs_list(rungs)} if rungs else {}))
    elif as_csv:
        echo(analysis.frame().to_csv(index=False), newline=False)
    else:
        echo(analysis_text(analysis, width=text_width()))
        if rungs:
            echo("\n" + rungs_text(rungs, width=text_width()))
