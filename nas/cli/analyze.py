"""nas analyze: rank the module types of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._analysis_extras import Extra, extras, write_plots
from nas.cli._output import echo, emit, text_width

if TYPE_CHECKING:
    from nas.study.run import Run

COMPLEXITIES = ("flops", "params", "activations", "latency")


@click.command("analyze", epilog="Example: nas analyze latest")
@click.argument("runs", metavar="RUN [RUN...]", nargs=-1, required=True, shell_complete=complete.runs)
@options.results_dir
@options.as_json
@click.option("--csv", "as_csv", is_flag=True, help="Print the contrasts as CSV to stdout.")
@click.option("--decisions", is_flag=True, help="Add the error against each decision and its options.")
@click.option("--budgets", is_flag=True, help="Add the importance of the factors after fewer epochs.")
@click.option(
    "--complexity",
    "complexities",
    multiple=True,
    type=click.Choice(COMPLEXITIES),
    help="Add the contrasts at equal values of this; repeat it for several.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the plots of what was added, or of the ranks over data sets, into this folder.",
)
def command(
    runs: tuple[str, ...],
    results_dir: Path,
    as_json: bool,
    as_csv: bool,
    plots: Path | None,
    **added: Any,
) -> None:
    """Rank the module types of runs, with intervals, and grade each claim by what the data support.

    RUN is a run folder, a name under the results folder, or `latest`.

    Several runs are pooled if data, split and recipe agree. A run that differs from the first only in having
    more epochs shows how reliable the first is. A run that differs only in learning rate or weight
    decay shows whether effects hold beyond one recipe. To train the same networks in both, search with
    the same --searcher paired and --seed, and more --epochs or another --recipe.

    Runs on different data sets are not pooled: their effects are summarised with the variance between data
    sets, and the types are ranked.
    """
    from nas.analysis.across import by_data
    from nas.study.run import open_run

    with ExitStack() as stack:
        opened = [open_run(run, results_dir) for run in runs]
        for run in opened:
            stack.enter_context(run.study)
        groups = by_data(opened)
        if len(groups) > 1 and any(added.values()):
            raise click.UsageError("--decisions, --budgets and --complexity describe runs on one data set")
        if len(groups) > 1:
            files = _across(groups, as_json, as_csv, plots)
        else:
            files = _analyze(opened, as_json, as_csv, plots, list(extras(opened, **added)))
    for file in files:
        click.echo(f"wrote {file}", err=True)


def _analyze(
    runs: Sequence[Run], as_json: bool, as_csv: bool, plots: Path | None, parts: Sequence[Extra]
) -> list[Path]:
    """Print the analysis of runs on one data set; returns the plots written."""
    from nas.analysis.fidelity import rungs_list, rungs_of, rungs_text
    from nas.analysis.pooling import analyze
    from nas.analysis.text.ranking import analysis_dict, analysis_text

    analysis = analyze(runs)
    rungs = [pair for run in runs for pair in rungs_of(run)]
    if as_json:
        emit(analysis_dict(analysis) | ({"rungs": rungs_list(rungs)} if rungs else {}) | _json(parts))
    elif as_csv:
        echo(analysis.frame().to_csv(index=False), newline=False)
    else:
        echo(analysis_text(analysis, width=text_width()))
        texts = [rungs_text(rungs, width=text_width())] if rungs else []
        for text in (*texts, *(part.text(text_width()) for part in parts)):
            echo(f"\n{text}")
    return write_plots(parts, plots) if plots else []


def _json(parts: Sequence[Extra]) -> dict[str, Any]:
    """The parts by key; those of one key, which are by run, together."""
    found: dict[str, Any] = {}
    for part in parts:
        found[part.key] = found[part.key] | part.data if part.key in found else part.data
    return found


def _across(
    groups: Mapping[str, Sequence[Run]], as_json: bool, as_csv: bool, plots: Path | None
) -> list[Path]:
    """Print the comparison over data sets; returns the plots written."""
    from nas.analysis.across import across_data
    from nas.analysis.text.across import across_dict, across_frame, across_text
    from nas.visualization.plots.ranks import ranks_figure
    from nas.visualization.plots.style import save

    found = across_data(groups)
    if as_json:
        emit(across_dict(found))
    elif as_csv:
        echo(across_frame(found).to_csv(index=False), newline=False)
    else:
        echo(across_text(found, width=text_width()))
    if plots is None or found.ranking is None:
        return []
    return [save(ranks_figure(found.ranking, found.types), plots / "ranks.png")]
