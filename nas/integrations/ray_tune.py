"""Ray Tune on search spaces of nas: its schedulers, callbacks and clusters, with results in a run folder.

    ours = tune_run("residual_vs_fractal", data="digits", epochs=9, trials=24)
    tuner = tune.Tuner(
        ours.trainable,
        tune_config=tune.TuneConfig(
            search_alg=ours.searcher,
            scheduler=ASHAScheduler(time_attr="epoch", max_t=ours.epochs),
            metric="val_error",
            mode="min",
            num_samples=ours.trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(callbacks=[ours.recorder]),
    )
    tuner.fit()

`nas pareto`, `nas analyze` and `nas export` read `ours.folder`. The configuration of a trial holds the
decisions of the space, the seed of its training and, if a scheduler varies them, fields of the recipe.
Population based training takes `param_space=ours.param_space` in place of the searcher. It trains networks
with unequal recipes, of which each trial records the last. So such a run finds networks but supports no
ranking of module types.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.search import Searcher

from nas.controller.begin import write_run
from nas.controller.config import prepare
from nas.controller.planned_trial import training_seed
from nas.controller.record import record
from nas.data import Dataset, load_data
from nas.errors import NasError
from nas.formatting import unicode_text
from nas.graph.cost import cost
from nas.integrations.ray_trainable import (
    DECISIONS,
    SEED,
    curve,
    genotype_of,
    own_types,
    read_checkpoint,
    train_decisions,
    varied,
)
from nas.recipe import with_epochs
from nas.searchers import make_searcher
from nas.searchers.base import Searcher as OurSearcher
from nas.searchers.base import propose
from nas.searchers.warm_start import find_warm_starts, warm_start_proposals
from nas.space.candidate import recipe_of, under
from nas.space.genotype import Genotype, expand
from nas.space.load import parse_space
from nas.space.space import SearchSpace
from nas.study import run_folder
from nas.study.objectives import objective
from nas.study.run_folder import RESULTS, RunFolder
from nas.study.study import Study
from nas.study.trial import Proposal, Trial
from nas.study.trial_json import proposal_from, provenance
from nas.training.candidate import MESSAGE_LIMIT, out_of_memory

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

    from nas.recipe import Recipe


def tune_run(
    space: str | Path | SearchSpace,
    *,
    epochs: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    name: str | None = None,
    results_dir: str | Path = RESULTS,
    data: object = None,
    trials: int | None = None,
    searcher: str | None = None,
    objectives: Sequence[str] | None = None,
    seed: int | None = None,
    seed_with: Sequence[str] | None = None,
) -> TuneRun:
    """Create a run folder for a Tuner to fill.

    space: name, path or search space, as for `nas.search`.
    epochs: full budget of a trial.
    recipe: fields of the training recipe that differ from the default of the data set.
    name: name of the run; by default the space and the time.
    data, trials, searcher, objectives, seed, seed_with: as for `nas.search`. Objectives are the error and
        what is known of a network before its training.

    Raises NasError if a setting is wrong or the folder exists.
    """
    changes = with_epochs(recipe, epochs)
    settings = {"data": data, "trials": trials, "searcher": searcher, "objectives": objectives}
    config, dataset = prepare(space, recipe=changes, seed=seed, seed_with=seed_with, **settings)
    if measured := [n for n in config.objectives if n != "error" and not objective(n).before_training]:
        hint = "error and what is known of a network before its training; nas search measures the others"
        raise NasError(f"{', '.join(measured)} is not measured here", where="objectives", hint=hint)
    if config.searcher.plans_every_trial:
        hint = "a scheduler that stops trials would break it; nas search runs it"
        raise NasError(f"{config.searcher.name} plans equal trainings", where="searcher", hint=hint)
    files = run_folder.create_run(results_dir, config.space.name, name)
    with run_folder.removed_on_failure(files):
        write_run(files, config, dataset)
    run = TuneRun(files)
    vars(run)["dataset"] = dataset  # read already
    return run


class TuneRun:
    """A run folder, and the parts of a `tune.Tuner` that fills it."""

    def __init__(self, files: RunFolder) -> None:
        self.files = files
        self.config = run_folder.read_config(files)
        self.space = parse_space(run_folder.read_space(files, self.config), str(files.space))
        self.study = Study.open(files.database)
        self.recipe = self.config.recipe
        self.proposed: dict[str, tuple[int, Proposal]] = {}  # by the id of Tune's trial

    def __reduce__(self) -> Any:
        """Pickle the folder alone: Tune restores its searcher and its callbacks from it."""
        return TuneRun, (RunFolder(self.folder.resolve()),)

    @property
    def folder(self) -> Path:
        return self.files.path

    @property
    def epochs(self) -> int:
        """Epochs of a complete trial: `max_t` of a scheduler."""
        return self.recipe.epochs

    @property
    def trials(self) -> int:
        return self.config.trials

    @cached_property
    def dataset(self) -> Dataset:
        return load_data(self.config.data, seed=self.config.seed)

    @cached_property
    def searcher(self) -> GenotypeSearcher:
        """Searcher for `tune.TuneConfig(search_alg=...)`."""
        return GenotypeSearcher(self)

    @cached_property
    def recorder(self) -> RunRecorder:
        """Callback for `tune.RunConfig(callbacks=[...])`, which writes the folder."""
        return RunRecorder(self)

    @cached_property
    def trainable(self) -> Callable[[dict[str, Any]], None]:
        """Trainable for `tune.Tuner` or `tune.with_resources`. Starts Ray, which holds the data."""
        shared = {"space": self.space, "dataset": self.dataset, "recipe": self.recipe, "types": own_types()}
        found: Callable[[dict[str, Any]], None] = tune.with_parameters(train_decisions, **shared)
        return found

    @property
    def param_space(self) -> dict[str, Any]:
        """Uniform draws for `tune.Tuner(param_space=...)`, for schedulers that allow no searcher, such as
        population based training."""
        rng = np.random.default_rng(self.config.seed)
        draw = tune.sample_from(lambda _: self.space.decisions(self.space.sample(rng)))
        return {DECISIONS: draw, SEED: tune.randint(0, 2**31)}

    def next_number(self) -> int:
        taken = [*(trial.number for trial in self.study.trials), *(n for n, _ in self.proposed.values())]
        return max(taken, default=-1) + 1


class GenotypeSearcher(Searcher):
    """Searcher of Tune that proposes the decisions of genotypes, as `nas search` does."""

    def __init__(self, run: TuneRun) -> None:
        super().__init__()
        self.run = run
        self.planner: OurSearcher = make_searcher(run.config.searcher, run.config.objectives)
        self.seeds = warm_start_proposals(find_warm_starts(run.space, run.config.seed_with))

    def suggest(self, trial_id: str) -> Any:
        run, number = self.run, self.run.next_number()
        seed, share = run.config.seed, run.config.uniform_share
        proposal = propose(
            self.planner,
            run.space,
            run.study,
            seed=seed,
            number=number,
            uniform_share=share,
            seeds=self.seeds,
        )
        if proposal is None:
            return Searcher.FINISHED
        run.study.mark_running(number, proposal.genotype.digest, proposal.genotype)
        run.proposed[trial_id] = number, proposal
        decisions = run.space.decisions(proposal.genotype)
        return {DECISIONS: decisions, SEED: training_seed(seed, number)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Leave the trial to `RunRecorder`, which sees more of it."""

    def save(self, checkpoint_path: str) -> None:
        state = {
            key: {"number": number, "genotype": proposal.genotype.to_json(), **provenance(proposal)}
            for key, (number, proposal) in self.run.proposed.items()
        }
        Path(checkpoint_path).write_text(json.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        for key, held in json.loads(Path(checkpoint_path).read_text()).items():
            number, genotype = held.pop("number"), Genotype.from_json(held.pop("genotype"))
            proposal = proposal_from(genotype, held)
            self.run.proposed[key] = number, proposal
            if self.run.study.by_number(number) is None:
                self.run.study.mark_running(number, proposal.genotype.digest, proposal.genotype)


class RunRecorder(tune.Callback):
    """Callback of Tune that locks the folder and records every finished trial, whoever proposed it."""

    def __init__(self, run: TuneRun) -> None:
        self.run = run
        self.held = ExitStack()

    def setup(self, *args: Any, **info: Any) -> None:
        self.held.enter_context(run_folder.lock_run(self.run.files))

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self.held.close()

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        if trial.last_result.get("diverged"):
            self.record(trial, "diverged", f"the loss exploded in epoch {trial.last_result['epoch']}")
        else:
            self.record(trial)

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        error = trial.get_pickled_error()
        self.record(trial, _reason(error), str(error)[-MESSAGE_LIMIT:])

    def record(self, trial: TuneTrial, reason: str = "", message: str = "") -> None:
        """Record a trial that is not recorded yet; Tune restores trials after its driver was lost."""
        run, space = self.run, self.run.space
        number, proposal = self._origin(trial)
        network = proposal.genotype
        if own := _own_recipe(run.recipe, trial.config):
            proposal = replace(proposal, network=under(network.network, recipe_of(network) | own))
        if run.study.by_number(number) is not None:
            return
        state = read_checkpoint(trial.checkpoint) if trial.checkpoint else None
        rows = tuple(curve(state, varied(trial.config))) if state else ()
        if not rows and not reason:  # ended before its first epoch did
            run.study.discard(number)
            return
        finished = Trial(
            number=number,
            proposal=proposal,
            state="failed" if reason else "complete" if len(rows) == run.epochs else "stopped",
            reason=reason,
            message=unicode_text(message),
            cost=cost(expand(network, space.input_shape, space.num_classes)),
            decisions=space.decisions(network),
            seed=trial.config.get(SEED, 0),
            epochs=len(rows),
            error=None if reason else rows[-1]["val_error"],
            duration=trial.last_result.get("time_total_s", 0.0),
            curve=rows,
        )
        record(run.study, finished, weights_of(state) if state else None, run.files.weights)

    def _origin(self, trial: TuneTrial) -> tuple[int, Proposal]:
        """Return the number and the proposal of a trial.

        A trial of another searcher has no proposal, and population based training replaces the network of a
        trial by that of a better one.
        """
        run, genotype = self.run, genotype_of(self.run.space, trial.config)
        number, proposal = run.proposed.get(trial.trial_id, (run.next_number(), None))
        if proposal is None or proposal.genotype != genotype:
            proposal = Proposal(genotype, "tune")
        return number, proposal


def _own_recipe(recipe: Recipe, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in which the recipe of a configuration differs from that of the run."""
    own = {name: config[name] for name in varied(config) if config[name] != getattr(recipe, name)}
    shared = {field.name for field in fields(recipe) if field.metadata["shared"]}
    return {name: value for name, value in own.items() if name not in shared}


def weights_of(state: Mapping[str, Any]) -> bytes:
    from safetensors.torch import save

    from nas.training.kept_weights import chosen_weights

    return save({name: value.contiguous() for name, value in chosen_weights(state).items()})


def _reason(error: Exception | None) -> str:
    if isinstance(error, RayActorError):
        return "worker_lost"
    cause = error.cause if isinstance(error, RayTaskError) else error
    return "oom" if isinstance(cause, Exception) and out_of_memory(cause) else "exception"
