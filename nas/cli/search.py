"""nas search: search a space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._config_file import add_recipe, inline_space, read_options, refuse_code
from nas.cli._output import echo, echo_types, emit, heading, text_width

if TYPE_CHECKING:
    from nas.study.run import Run


@click.command(
    "search",
    epilog="Example: nas search --space residual_vs_fractal --data digits?limit=400 --trials 6 --epochs 1",
)
@click.option(
    "--config",
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=read_options,
    help="YAML file with options, such as the search.yaml of a run, which repeats it. Options, and fields of "
    "the recipe, that are given here as well come first.",
)
@click.option(
    "--space",
    metavar="S",
    help="Search space: a name of `nas spaces`, or the path of a .yaml file.",
    shell_complete=complete.spaces,
)
@click.option(
    "--data",
    metavar="D",
    shell_complete=complete.data,
    help="Images: digits (the default), cifar10, cifar100, mnist, fashion_mnist, the path of a folder of "
    "images, of a .parquet or an .npz file, or python:module:function; with masks: shapes, masks:PATH. "
    "nas data lists the forms and shows how one is read.",
)
@click.option(
    "--trials",
    type=int,
    metavar="N",
    help="Number of candidates in all, including those that a resumed run has.",
)
@click.option("--epochs", type=int, metavar="E", help="Epochs per candidate. Default: 10.")
@click.option(
    "--time",
    "seconds",
    type=options.Duration(),
    metavar="30m",
    help="Time for the search: no candidate starts that would probably end later. Without --trials as many "
    "candidates as fit.",
)
@click.option(
    "--fidelity",
    type=options.Rungs(),
    metavar="1,3,9",
    help="Rungs of successive halving: most candidates stop after 1 or 3 epochs, the best train for 9. "
    "Replaces --epochs.",
)
@click.option(
    "--recipe",
    type=options.Fields(),
    callback=add_recipe,
    metavar="K=V,...",
    help="Fields of the training recipe, such as lr=0.1,weight_decay=1e-4; help lists them.",
)
@click.option(
    "--searcher",
    cls=options.SearcherOption,
    metavar="X",
    shell_complete=complete.searchers,
)
@click.option(
    "--seed-with",
    type=options.Networks(),
    metavar="A,B",
    shell_complete=complete.networks,
    help="Networks to try first, adapted to the space if necessary: names of `nas zoo`, genotypes in .json "
    "files, exported folders.",
)
@click.option(
    "--seeds", "repeats", type=int, metavar="K", help="Training seeds per network, for --searcher paired."
)
@options.objectives("Objectives to minimise. Default: error,flops.")
@options.workers
@options.gpus_per_worker
@options.ray_address
@click.option("--seed", type=int, metavar="I", help="Seed of the search. Default: 0.")
@click.option("--name", metavar="R", help="Name of the run.")
@options.results_dir
@click.option(
    "--track",
    type=options.Names(),
    default=(),
    help="Trackers to report to: tensorboard, mlflow, wandb, trackio.",
)
@click.option("--profile", is_flag=True, help="Show at the end what each worker spent its time on.")
@click.option("--resume", is_flag=True, help="Continue the run --name, or the latest.")
@click.option(
    "--storage",
    metavar="URL",
    help="PostgreSQL database of the study, which several drivers can share. Other commands read it from "
    "the environment variable NAS_STORAGE.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be run, and train nothing.")
@options.as_json
@click.pass_context
def command(ctx: click.Context, /, *, dry_run: bool, profile: bool, as_json: bool, **settings: Any) -> None:
    """Search a space for networks of low error at few FLOPs.

    Candidates are trained, the Pareto front is kept, and the module types are ranked. The test images are
    not looked at. Ctrl-C lets running candidates finish, then stops; --resume continues.
    """
    refuse_code(ctx, settings)
    settings["space"] = inline_space(settings["space"])
    if dry_run:
        from nas.cli._dry_run import show_plan

        show_plan(settings, as_json)
        return
    from nas.cli._progress import SearchProgress
    from nas.controller.search import search

    with SearchProgress() as progress:
        run = search(
            **settings,
            profile=profile,
            on_data=progress.data,
            on_plan=progress.plan,
            on_start=progress.start,
            on_precision=progress.precision,
            on_trial=progress.trial,
            on_event=progress.event,
            on_stop=progress.stop,
        )
    with run.study:
        if as_json:
            _emit(run, profile)
        else:
            _show(run, profile, progress.started)


def _emit(run: Run, profile: bool) -> None:
    from nas.analysis.fidelity import rungs_list, rungs_of
    from nas.analysis.pooling import analyze
    from nas.analysis.text.pareto import pareto_dict
    from nas.analysis.text.ranking import analysis_dict

    document: dict[str, Any] = {"exhausted": bool(run.config.exhausted), "networks": run.config.networks}
    document["pareto"] = pareto_dict(run.study, expected=run.expected(), config=run.config)
    document["analysis"] = analysis_dict(analyze(run))
    if rungs := rungs_of(run):
        document["rungs"] = rungs_list(rungs)
    emit({"run": str(run.folder), **document, **(_profile_dict(run) if profile else {})})


def _show(run: Run, profile: bool, started: bool) -> None:
    """Print the results, their folder and the next commands. If all trials were recorded before, the ranking
    is left out, because it takes most of the time in a large study."""
    from nas.analysis.fidelity import rungs_of, rungs_text
    from nas.analysis.text.pareto import pareto_text
    from nas.study.commands import reseed_command

    if not started:
        recorded = f"All {len(run.study.trials)} trials are recorded already."
        echo(f"{recorded} Add some with --trials N or --time 30m.")
    if run.config.exhausted:
        echo(_exhausted_text(run))
    heading("Pareto front")
    types = sorted({name for trial in run.study.networks for name in trial.module_types})
    decide = reseed_command(run)
    front = pareto_text(
        run.study, width=text_width(), expected=run.expected(), config=run.config, decide=decide, brief=True
    )
    echo_types(front, types)
    if rungs := rungs_of(run):
        heading("Rungs")
        echo(rungs_text(rungs, width=text_width()))
    if started:
        from nas.analysis.pooling import analyze
        from nas.analysis.text.claims import claim_lines
        from nas.formatting import to_text

        heading("What it says about module types")
        echo_types(to_text(*claim_lines(analyze(run)), width=text_width()), types)
    if profile:
        _show_profile(run)
    heading("Run folder")
    echo(run.folder)
    heading("Next")
    for line in _next_commands(run):
        echo(f"  {line}")


def _exhausted_text(run: Run) -> str:
    """Return why there are fewer trials than asked for."""
    from nas.formatting import count

    ended = f"The search ended after {len(run.study.trials)} of {run.config.trials} trials"
    if run.config.networks is None:
        return f"{ended}: the searcher has no further network to propose."
    tried = "it was tried" if run.config.networks == 1 else "all were tried"
    noun = "candidate" if run.space.spec.recipe_decisions else "network"
    return f"{ended}: the space holds {count(run.config.networks, noun)}; {tried}."


def _profile_dict(run: Run) -> dict[str, Any]:
    from nas.analysis.time_use import time_use, time_use_dict

    return {"profile": time_use_dict(time_use(run.profile))}


def _show_profile(run: Run) -> None:
    """Print tables of the time use, and draw it into the run folder."""
    from nas.analysis.time_use import time_use, time_use_parts
    from nas.formatting import to_text
    from nas.visualization.plots.style import save
    from nas.visualization.plots.time_use import time_use_figure

    heading("Where the time went")
    bars = time_use(run.profile)
    if not bars:
        echo("Nothing was trained, so there is no time to show.")
        return
    echo(to_text(*time_use_parts(bars), width=text_width()))
    echo(f"timeline: {save(time_use_figure(bars), run.folder / 'profile.png')}")


def _next_commands(run: Run) -> list[str]:
    """Return commands that work as they are printed, in this folder."""
    from nas.study.commands import command_for

    where, best = str(run.folder), str(run.best().number)
    weights = ["--weights"] if run.weights(run.knee()) is not None else []  # kept of the measured front
    return [
        command_for(run, "pareto", where, "--plot", "front.png"),
        command_for(run, "analyze", where),
        command_for(run, "report", where),
        command_for(run, "export", where, "--knee", *weights),
        command_for(run, "train", where, "--trial", best, data=True),
    ]
