"""nas compare: show two networks, or two runs, side by side."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, note, text_width
from nas.errors import NasError, NotFoundError, did_you_mean

if TYPE_CHECKING:
    from nas.analysis.compare.networks import Network
    from nas.study.run import Run

TRIAL = re.compile(r"(.+):(\d{1,18})", re.DOTALL)


@click.command("compare", epilog="Example: nas compare latest:1 resnet20")
@click.argument("targets", metavar="A B | RUN A B", nargs=-1, required=True, shell_complete=complete.runs)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw two runs to a .png, .svg or .pdf file.",
)
@options.reseeding("First train each of two networks of runs with K further seeds.")
@options.results_dir
@options.as_json
def command(
    *,
    targets: tuple[str, ...],
    plot: Path | None,
    seeds: int | None,
    results_dir: Path,
    as_json: bool,
    **training: Any,
) -> None:
    """Compare two networks, or two runs.

    A and B are networks: RUN:N for trial N of a run (or RUN first, then two numbers), a .json file with a
    genotype, or a name of `nas zoo`. Or they are runs: run folders, names under the results folder, or
    `latest`.

    Networks are compared module by module, in costs, and in error over the training seeds that both have.
    --reseed trains with more seeds, and the run keeps the results. Runs are compared in settings, hypervolume
    and errors if they have the same images in the same split.
    """
    names = _pair(targets)
    trials = [TRIAL.fullmatch(name) for name in names]
    if seeds is None:
        options.check_reseed(training)
    else:
        _reseed(trials, seeds, training | {"results_dir": results_dir})
    with ExitStack() as stack:
        a, b = (_network(name, match, results_dir, stack) for name, match in zip(names, trials, strict=True))
        if a is not None and b is not None:
            _show_networks(a, b, names, results_dir, plot, as_json)
        elif a is None and b is None:
            first, second = (_run(name, results_dir, stack) for name in names)
            _show_runs(first, second, names, results_dir, plot, as_json)
        else:
            network, run = names if b is None else names[::-1]
            hint = f"name two networks, such as {network} and {run}:0, or two runs"
            raise NasError(f"{network} is a network and {run} is a run", hint=hint)


def _pair(targets: tuple[str, ...]) -> tuple[str, str]:
    """Return the two names, and for `RUN A B` RUN:A and RUN:B."""
    if len(targets) == 3 and all(number.isdecimal() for number in targets[1:]):
        return f"{targets[0]}:{targets[1]}", f"{targets[0]}:{targets[2]}"
    if len(targets) != 2:
        hint = "name two networks, two runs, or a run and the numbers of two of its trials"
        raise NasError(f"two things are compared, not {len(targets)}", hint=hint)
    return targets[0], targets[1]


def _reseed(trials: list[re.Match[str] | None], seeds: int, settings: dict[str, Any]) -> None:
    """Train the networks with further seeds, those of one run together."""
    from nas.cli._reseeding import reseed_shown

    by_run: dict[str, list[int]] = {}
    for match in trials:
        if match is None:
            raise NasError(
                "only trials of runs can be trained again", where="--reseed", hint="name them as RUN:N"
            )
        by_run.setdefault(match[1], []).append(int(match[2]))
    for run, numbers in by_run.items():
        reseed_shown(run, seeds, trials=numbers, **settings)


def _network(name: str, trial: re.Match[str] | None, results_dir: Path, stack: ExitStack) -> Network | None:
    """Return the network of this name, or None if the name can only be a run's."""
    from nas.analysis.compare.networks import Network
    from nas.zoo import zoo

    if trial is not None:
        run = _run(trial[1], results_dir, stack)
        chosen = run.trial(int(trial[2]))
        shape, classes = run.config.input_shape, run.config.num_classes
        return Network(f"{run.name}:{chosen.number}", chosen.genotype, shape, classes, run, chosen)
    if name.endswith(".json"):
        from nas.zoo.network_file import read_network

        return Network(name, *read_network(Path(name)))
    if name in zoo():
        entry = zoo()[name]
        return Network(name, entry.build(), entry.input_shape, entry.num_classes)
    return None


def _run(name: str, results_dir: Path, stack: ExitStack) -> Run:
    from nas.study.run import open_run
    from nas.study.run_folder import LATEST, list_runs
    from nas.zoo import zoo

    try:
        run = open_run(name, results_dir)
    except NotFoundError as error:
        known = [run.name for run in list_runs(results_dir)]
        if os.sep in name or name in known:
            raise
        hint = did_you_mean(name, [LATEST, *known, *zoo()])
        raise NotFoundError(
            f"no run and no network of the zoo {name!r}", where=error.where, hint=hint
        ) from None
    stack.enter_context(run.study)
    return run


def _show_networks(
    a: Network, b: Network, names: tuple[str, str], results_dir: Path, plot: Path | None, as_json: bool
) -> None:
    from nas.analysis.compare.networks import compare_networks
    from nas.analysis.text.comparison import networks_dict, networks_text

    if plot is not None:
        raise NasError(
            "draws two runs, not two networks", where="--plot", hint="nas show RUN --trial N --plot FILE"
        )
    comparison = compare_networks(a, b)
    if as_json:
        emit(networks_dict(comparison))
        return
    echo(networks_text(comparison, _advice(names, results_dir), width=text_width()))


def _show_runs(
    a: Run, b: Run, names: tuple[str, str], results_dir: Path, plot: Path | None, as_json: bool
) -> None:
    from nas.analysis.compare.runs import compare_runs
    from nas.analysis.text.comparison import runs_dict, runs_text

    if plot is not None:
        from nas.visualization.formats import check_format

        check_format(plot)
    comparison = compare_runs(a, b)
    if as_json:
        emit(runs_dict(comparison))
    else:
        best = f"{names[0]}:{comparison.a.best.number}", f"{names[1]}:{comparison.b.best.number}"
        echo(runs_text(comparison, _advice(best, results_dir), width=text_width()))
    if plot is not None:
        from nas.visualization.plots.runs import plot_runs

        plot_runs(comparison, plot)
        note(f"plot: {plot}")


def _advice(names: tuple[str, str], results_dir: Path) -> str:
    """Return the command that gives the difference of two networks an interval."""
    from nas.study.commands import SEEDS

    place = [] if results_dir == Path("results") else ["--results-dir", str(results_dir)]
    return shlex.join(["nas", "compare", *names, "--reseed", SEEDS, *place])
