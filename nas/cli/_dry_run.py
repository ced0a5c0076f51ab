"""nas search --dry-run: show what a search would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.cli._output import echo, echo_labelled, emit, table
from nas.cli.spaces import adaptation_lines, genotypes, recipe_lines
from nas.errors import NasError
from nas.formatting import count, duration

if TYPE_CHECKING:
    from nas.controller.dry_run import Plan

SETTINGS = ("data", "trials", "searcher", "objectives", "seed", "seed_with", "repeats", "fidelity", "seconds")


def show_plan(options: Mapping[str, Any], as_json: bool) -> None:
    """Print what `nas search` would run with these options."""
    from nas.controller.config import prepare
    from nas.controller.dry_run import describe, plan
    from nas.controller.evaluators import Workers
    from nas.data.summary import data_lines
    from nas.formatting import metric
    from nas.recipe import with_epochs
    from nas.study.run_config import UNBOUNDED
    from nas.training.recipe_text import recipe_lines as lines_of_recipe

    if options["space"] is None:
        raise NasError("name a search space", where="--space", hint="nas spaces lists them")
    recipe = with_epochs(options["recipe"], options["epochs"])
    config, dataset = prepare(options["space"], recipe=recipe, **{name: options[name] for name in SETTINGS})
    planned = plan(config, dataset, Workers(options["workers"], options["gpus_per_worker"]))
    document = describe(config, dataset, planned)
    if as_json:
        emit(document)
        return
    networks, decisions = document["networks"], document["decisions"]
    noun = "different candidate" if config.space.spec.recipe_decisions else "network"
    counted = "" if networks is None else f" ({networks:,} {noun}{'s' * (networks != 1)})"
    echo(f"space       {config.space.name}: {genotypes(config.space)}{counted}, {decisions} decisions")
    if networks is not None and networks < config.trials and not config.searcher.plans_every_trial:
        before = f", before {config.trials} candidates" if config.trials < UNBOUNDED else ""
        echo(f"            the search ends when all are tried{before}")
    echo_labelled(*adaptation_lines(config.space), *_limit_lines(document["limits"]))
    searched = config.space.spec.recipe_decisions
    echo_labelled(*data_lines(dataset, config.data), *lines_of_recipe(config.recipe, dataset, searched))
    echo_labelled(*recipe_lines(config.space))
    epochs = f"{epochs_text(config.fidelity, config.recipe.epochs)} each"
    amount = f"{config.trials} candidates" if config.trials < UNBOUNDED else "as many candidates as fit"
    within = "" if config.seconds is None else f" in {duration(config.seconds)}"
    echo(f"search      {amount}{within} by {config.searcher.name}, {epochs}")
    for seed in config.warm_starts:
        echo(f"seed        {seed}")
    echo(f"objectives  {', '.join(config.objectives)}")
    echo_labelled(*(f"design      {line}" for line in design_lines(planned)))
    echo(f"time        {time_text(planned)}\n")
    kind = "networks of the design" if planned.design else "uniform samples"
    echo(f"{planned.samples} {kind} cost, for one image:")
    table(
        [{"figure": name, **{k: metric(v) for k, v in row.items()}} for name, row in planned.costs.items()],
        right=["low", "median", "high"],
    )


def _limit_lines(limits: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a line that names the limits which rule out draws, with their shares."""
    shares = [(name, f"{limit['ruled_out']:.1%}") for name, limit in limits.items() if limit["ruled_out"]]
    if not shares:
        return []
    (name, share), *others = shares
    more = "".join(f", {name} {share}" for name, share in others)
    return [f"limits      {name} rules out {share} of uniform draws{more}"]


def epochs_text(fidelity: Sequence[int], epochs: int) -> str:
    """Return `9 epochs`, or `1 to 9 epochs (rungs 1, 3, 9)`."""
    if not fidelity:
        return count(epochs, "epoch")
    return f"{fidelity[0]} to {epochs} epochs (rungs {', '.join(map(str, fidelity))})"


def design_lines(planned: Plan) -> list[str]:
    """Return what a design plans and can show; empty for other searchers."""
    return list(planned.design.get("lines", ()))


def time_text(planned: Plan) -> str:
    """Return the expected duration, and how many candidates train at a time."""
    time = "not estimated on GPUs" if planned.seconds is None else f"about {duration(planned.seconds)}"
    at_once = "as many candidates at a time as there are GPUs for"
    return f"{time}, {at_once if planned.workers is None else f'{planned.workers} candidates at a time'}"
