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
from nas.cli._output import echo, emit, note, text_width
from nas.errors import NasError
from nas.study.objectives import complexities

if TYPE_CHECKING:
    from nas.analysis.analyze import Analysis
    from nas.study.run import Run


@click.command("analyze", epilog="Example: nas analyze latest")
@click.argument("runs", metavar="RUN|TABLE [RUN...]", nargs=-1, required=True, shell_complete=complete.runs)
@options.results_dir
@options.as_json
@click.option("--csv", "as_csv", is_flag=True, help="Print the contrasts as CSV to stdout.")
@click.option("--decisions", is_flag=True, help="Add the error against each decision and its options.")
@click.option("--budgets", is_flag=True, help="Add the importance of the factors after fewer epochs.")
@click.option(
    "--complexity",
    "complexities",
    multiple=True,
    type=options.Choice(complexities()),
    help="Add the contrasts at equal values of this; repeat it for several.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the plots of what was added, or of the ranks over data sets, into this folder.",
)
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
    runs: tuple[str, ...],
    results_dir: Path,
    as_json: bool,
    as_csv: bool,
    plots: Path | None,
    smallest_effect: float,
    **added: Any,
) -> None:
    """Rank the module types of runs, or of a table of results, and grade each claim by what the data support.

    RUN is a run folder, a name under the results folder, or `latest`.

    Several runs are pooled if data, split and recipe agree. A run that differs from the first only in having
    more epochs shows how reliable the first is. A run that differs only in learning rate or weight
    decay shows whether effects hold beyond one recipe. To train the same networks in both, search with
    the same --searcher paired and --seed, and more --epochs or another --recipe.

    Runs on different data sets are not pooled: their effects are summarised with the variance between data
    sets, and the types are ranked.

    TABLE is a CSV file of results of any trainer, one row per training. It needs the columns type and
    error (a fraction); rows with the same context are paired. Other columns are read where they are
    given: flops, params, seed, state (complete, failed, stopped), epochs, digest, depth, width, blocks,
    run, budget (FLOPs), lr and weight_decay.
    """
    smallest = smallest_effect / 100
    options.check_one_format(as_csv, as_json)
    if as_csv and any(added.values()):
        message = (
            "--csv prints the contrasts alone; --json has what --decisions, --budgets and --complexity add"
        )
        raise click.UsageError(message)
    if tables := [run for run in runs if _is_table(run)]:
        if plots or any(added.values()):
            raise click.UsageError(
                "--decisions, --budgets, --complexity and --plots describe runs, not a table"
            )
        _analyze_table(tables, runs, as_json, as_csv, smallest)
        return
    from nas.study.run import open_run

    with ExitStack() as stack:
        opened = [open_run(run, results_dir) for run in runs]
        for run in opened:
            stack.enter_context(run.study)
        for file in _analyze_runs(opened, as_json, as_csv, plots, smallest, added):
            note(f"plot: {file}")


def _analyze_runs(
    runs: Sequence[Run],
    as_json: bool,
    as_csv: bool,
    plots: Path | None,
    smallest_effect: float,
    added: Mapping[str, Any],
) -> list[Path]:
    """Print the analysis of runs, pooled or over data sets, and return the plots written."""
    from nas.analysis.across import by_data

    groups = by_data(runs)
    if len(groups) == 1:
        if plots and not any(added.values()):
            raise click.UsageError("--plots draws what --decisions, --budgets or --complexity adds")
        return _analyze(runs, as_json, as_csv, plots, list(extras(runs, **added)), smallest_effect)
    if any(added.values()):
        raise click.UsageError("--decisions, --budgets and --complexity describe runs on one data set")
    return _across(groups, as_json, as_csv, plots, smallest_effect)


def _analyze(
    runs: Sequence[Run],
    as_json: bool,
    as_csv: bool,
    plots: Path | None,
    parts: Sequence[Extra],
    smallest_effect: float,
) -> list[Path]:
    """Print the analysis of runs on one data set, and return the plots written."""
    from nas.analysis.around import given_networks
    from nas.analysis.fidelity import rungs_list, rungs_of, rungs_text
    from nas.analysis.pooling import analyze
    from nas.analysis.text.around import given_list, given_text

    analysis = analyze(runs, smallest_effect=smallest_effect)
    rungs = [pair for run in runs for pair in rungs_of(run)]
    given = [item for run in runs for item in given_networks(run)]
    added = ({"rungs": rungs_list(rungs)} if rungs else {}) | _json(parts)
    added |= {"scaled": given_list(given)} if given else {}
    texts = [rungs_text(rungs, width=text_width())] if rungs else []
    texts += [given_text(given, width=text_width())] if given else []
    _show(analysis, as_json, as_csv, added, [*texts, *(part.text(text_width()) for part in parts)])
    return write_plots(parts, plots) if plots else []


def _analyze_table(
    tables: Sequence[str], arguments: Sequence[str], as_json: bool, as_csv: bool, smallest_effect: float
) -> None:
    """Print the analysis of a CSV file of results of any trainer."""
    from nas.analysis.pooling import analyze
    from nas.analysis.results_table import read_csv

    if len(arguments) > 1:
        hint = "join the tables into one; a column run tells their rows apart"
        raise NasError("a table is analysed alone", where=tables[0], hint=hint)
    _show(analyze(read_csv(Path(tables[0])), smallest_effect=smallest_effect), as_json, as_csv)


def _show(
    analysis: Analysis,
    as_json: bool,
    as_csv: bool,
    added: Mapping[str, Any] | None = None,
    texts: Sequence[str] = (),
) -> None:
    from nas.analysis.text.ranking import analysis_dict, analysis_text

    if as_json:
        emit(analysis_dict(analysis) | dict(added or {}))
    elif as_csv:
        echo(analysis.frame().to_csv(index=False), newline=False)
    else:
        echo(analysis_text(analysis, width=text_width()))
        for text in texts:
            echo(f"\n{text}")


def _is_table(name: str) -> bool:
    """Return whether an argument is a CSV file of results, not a run."""
    return name.lower().endswith(".csv") or Path(name).is_file()


def _json(parts: Sequence[Extra]) -> dict[str, Any]:
    """Return the parts by key; parts of one key, which are by run, are merged."""
    joined: dict[str, Any] = {}
    for part in parts:
        joined[part.key] = joined[part.key] | part.data if part.key in joined else part.data
    return joined


def _across(
    groups: Mapping[str, Sequence[Run]],
    as_json: bool,
    as_csv: bool,
    plots: Path | None,
    smallest_effect: float,
) -> list[Path]:
    """Print the comparison over data sets, and return the plots written."""
    from nas.analysis.across import across_data
    from nas.analysis.text.across import across_dict, across_frame, across_text
    from nas.visualization.plots.ranks import ranks_figure
    from nas.visualization.plots.style import save

    across = across_data(groups, smallest_effect=smallest_effect)
    if as_json:
        emit(across_dict(across))
    elif as_csv:
        echo(across_frame(across).to_csv(index=False), newline=False)
    else:
        echo(across_text(across, width=text_width()))
    if plots is not None and across.ranking is None:
        note("no plot: types are ranked only where the effect of each is known on every data set")
    if plots is None or across.ranking is None:
        return []
    return [save(ranks_figure(across.ranking, across.types), plots / "ranks.png")]
