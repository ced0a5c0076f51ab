"""Findings about the networks that a search was given to begin with (`--seed-with`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.scaled import Scaling, coordinates, fit_scaling
from nas.errors import NasError
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.stats.estimate import Estimate
from nas.stats.resampling import Floats
from nas.study.objectives import plot_axes
from nas.zoo.network_file import setting_network

if TYPE_CHECKING:
    from nas.study.run import Run
    from nas.study.trial import Trial

PROPOSER = "seed:"
"""Start of the name of the searcher that proposed a given network."""
SHARES = (1.0, 0.75, 0.5, 0.25)
"""Shares of the FLOPs of the given network within which the best network is named."""


@dataclass(frozen=True)
class Best:
    """The network of lowest error within a share of FLOPs; the expected error where that is known."""

    share: float
    trial: int
    flops: int
    error: Estimate


@dataclass(frozen=True)
class Given:
    """A network that a search began with, and what the trained networks show about its surroundings.

    run, name: of the run and the network. trial: its number. own: FLOPs of the network before it was brought
    into the space. flops, error: of the trial. best: by share of `own`, none for shares without a network.
    points: (n, 2) FLOPs and error of each distinct network.
    """

    run: str
    name: str
    trial: int
    own: int
    flops: int
    error: float
    best: tuple[Best, ...]
    scaling: Scaling
    points: Floats

    @property
    def changed(self) -> bool:
        """Whether the space or its limits changed the network."""
        return self.own != self.flops


def given_networks(run: Run) -> list[Given]:
    """Return each network of `--seed-with` that was trained, with its surroundings."""
    trials = [trial for trial in run.study.trials if trial.complete and trial.duplicate_of is None]
    return [_given(run, t, trials) for t in trials if t.proposal.proposer.startswith(PROPOSER)]


def _given(run: Run, given: Trial, trials: list[Trial]) -> Given:
    space = run.space.without_recipe() if run.space.spec.recipe else run.space
    name = given.proposal.proposer.removeprefix(PROPOSER)
    known = []
    for trial in trials:
        try:
            known.append((trial, coordinates(space, given.genotype.network, trial.genotype.network)))
        except NasError:  # a mixture of decisions that no network can have
            continue
    scaling = fit_scaling(
        [place for _, place in known],
        np.array([trial.error for trial, _ in known], float),
        np.array([trial.flops / given.flops for trial, _ in known]),
        [trial.genotype.network.digest for trial, _ in known],
    )
    first = {trial.digest: trial for trial in reversed(trials)}
    own = _own_flops(run, name, given.flops)
    return Given(
        run=run.name,
        name=name,
        trial=given.number,
        own=own,
        flops=given.flops,
        error=float(given.error or 0),
        best=tuple(_best(run, list(first.values()), own)),
        scaling=scaling,
        points=np.array([(trial.flops, trial.error) for trial in first.values()], float),
    )


def _own_flops(run: Run, name: str, otherwise: int) -> int:
    """Return the FLOPs of a given network, as it was given, for the images of a run."""
    try:
        genotype = dict(map(setting_network, run.config.seed_with))[name]
        return cost(expand(genotype, tuple(run.config.input_shape), run.config.num_classes)).flops
    except (NasError, KeyError):
        return otherwise


def _best(run: Run, networks: list[Trial], own: int) -> list[Best]:
    expected = run.expected(plot_axes(run.config.objectives))

    def error(trial: Trial) -> Estimate:
        if expected is not None:
            return expected.of(trial.digest)
        return Estimate(float(trial.error or 0), float("nan"), float("nan"))

    found = []
    for share in SHARES:
        within = [trial for trial in networks if trial.flops <= share * own]
        if within:
            best = min(within, key=lambda trial: error(trial).value)
            found.append(Best(share, best.number, best.flops, error(best)))
    return found
