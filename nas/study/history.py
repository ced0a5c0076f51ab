"""The trials of a search in memory: append-only, with the indexes that searchers need.

Every index grows with the trials, so no query looks through all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from math import nan
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import NasError
from nas.graph.cost import Cost
from nas.pareto import Layers, front
from nas.recipe import fields_text
from nas.study.objectives import OBJECTIVES, check_objectives, objective
from nas.study.trial import Proposal, Trial

if TYPE_CHECKING:
    import pandas as pd

    from nas.space.genotype import Genotype

DEPTH = 10
"""Number of non-dominated layers that a history keeps for searchers."""

COLUMNS: dict[str, str] = {
    "number": "int64",
    "state": "str",
    "reason": "str",
    "error": "float64",
    "balanced_error": "float64",
    "flops": "int64",
    "params": "int64",
    "activations": "int64",
    "peak_memory": "int64",
    "latency": "float64",
    "latency_spread": "float64",
    "latency_measured": "str",
    "digest": "str",
    "module_types": "str",
    "proposer": "str",
    "parent": "Int64",
    "uniform": "bool",
    "log_probability": "float64",
    "seed": "int64",
    "epochs": "int64",
    "duration": "float64",
    "retries": "int64",
    "duplicate_of": "Int64",
    "genotype": "str",
}
"""Columns of `History.frame` and their types; the capital ones may be missing. Objectives that have
no column here, such as functions of the user's own, come after them, then `recipe` where it is searched."""


class History:
    """Trials in the order in which they were recorded, and the trials in flight."""

    def __init__(self, objectives: Sequence[str] = ("error", "flops")) -> None:
        self.objectives = check_objectives(objectives)
        self._trials: list[Trial] = []
        self._complete: list[Trial] = []
        self._by_number: dict[int, Trial] = {}
        self._by_digest: dict[str, Trial] = {}
        self._trainings: dict[str, list[Trial]] = {}
        self._trained = 0
        self._pending: dict[int, str] = {}
        self._running: dict[int, Genotype] = {}
        self._free = 0  # no number below is free
        self._paused: dict[int, Trial] = {}
        self._rung_results: list[Trial] = []
        self._rung_result_count = 0
        self._children: Counter[int | None] = Counter()
        self._layers: dict[tuple[str, ...], tuple[Layers, int]] = {}

    def __repr__(self) -> str:
        states = Counter(trial.state for trial in self._trials)
        parts = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        errors = [trial.error for trial in self._complete if trial.error is not None]
        best = f", lowest measured error {min(errors):.2%}" if errors else ""
        named = f"<{type(self).__name__} of {', '.join(self.objectives)}: {len(self._trials)} trials"
        return f"{named}{f' ({parts})' if parts else ''}, {len(self._trainings)} networks{best}>"

    @property
    def trials(self) -> Sequence[Trial]:
        return self._trials

    @property
    def complete(self) -> Sequence[Trial]:
        return self._complete

    @property
    def networks(self) -> list[Trial]:
        """The distinct complete networks, each as its first complete trial, in the order of these trials."""
        return [self._by_digest[digest] for digest in self._trainings]

    @property
    def pending(self) -> Mapping[int, str]:
        """The digests of the trials in flight, by number."""
        return self._pending

    @property
    def running(self) -> Mapping[int, Genotype]:
        """The networks of trials in flight, by number, as far as this process knows them."""
        return self._running

    @property
    def paused(self) -> Mapping[int, Trial]:
        """Trials paused at a rung, by number, each as the trial that it would be if stopped there. They count
        as in flight."""
        return self._paused

    @property
    def rung_results(self) -> Sequence[Trial]:
        """Each trial as it stood at each rung it reached, in the order in which they were reached."""
        return self._rung_results

    @property
    def rung_result_count(self) -> int:
        """Number of rungs that trials have reached, including trials discarded since."""
        return self._rung_result_count

    def by_number(self, number: int) -> Trial | None:
        return self._by_number.get(number)

    def by_digest(self, digest: str) -> Trial | None:
        """Return the first complete trial of a network, else its first other one, else None."""
        return self._by_digest.get(digest)

    def seen(self, digest: str) -> bool:
        """Tell whether a network has been evaluated or is in flight."""
        return digest in self._by_digest or digest in self._pending.values()

    def children(self, number: int) -> int:
        """Number of recorded trials that were derived from a trial."""
        return self._children[number]

    @contextmanager
    def reserve_number(self, below: int) -> Iterator[int | None]:
        """Context in which a trial is proposed. It gives the lowest number below `below` that is neither
        recorded nor in flight, None where there is none; `mark_running` takes it."""
        while self._free in self._by_number or self._free in self._pending:
            self._free += 1
        yield self._free if self._free < below else None

    def mark_running(self, number: int, digest: str, genotype: Genotype | None = None) -> None:
        """Note that a network is in flight, until it is recorded or discarded."""
        self._pending[number] = digest
        if genotype is not None:
            self._running[number] = genotype

    def discard(self, number: int) -> None:
        """Forget a trial in flight that will not be recorded; its number is free again."""
        self._paused.pop(number, None)
        self._running.pop(number, None)
        if self._pending.pop(number, None) is not None:
            self._free = min(self._free, number)

    def pause(self, trial: Trial) -> None:
        """Note the state of a trial at a rung. It is paused there unless it is recorded already."""
        self._rung_results.append(trial)
        if trial.number in self._pending:
            self._paused[trial.number] = trial
        self._rung_result_count = max((self._rung_result_count, *trial.rung_order))

    def record(self, trial: Trial) -> None:
        """Append a finished trial. NasError if its number is taken."""
        self._check_number(trial)
        self._append(trial)

    def layers(self, objectives: Sequence[str] | None = None) -> list[list[Trial]]:
        """Return the first non-dominated layers of the complete trials, the front first."""
        names = tuple(objectives or self.objectives)
        count = len(self._complete)
        layers, known = self._layers.get(names) or (Layers(self._points(names), DEPTH), count)
        for index in range(known, count):
            layers.add(index, self._complete[index].values(names))
        self._layers[names] = layers, count
        return [[self._complete[index] for index in keys] for keys in layers.keys if len(keys)]

    def _points(self, objectives: Sequence[str]) -> NDArray[np.float64]:
        """Return the objectives of the complete trials (n, d)."""
        values = [trial.values(objectives) for trial in self._complete]
        return np.array(values, dtype=np.float64).reshape(len(values), len(objectives))

    def front(self, objectives: Sequence[str] | None = None) -> list[Trial]:
        """Return the non-dominated networks, each by its `means` and as its first complete trial, in the
        order of recording."""
        if self._trained == len(self._trainings):  # each once, so the layers know it already
            members = next(iter(self.layers(objectives)), [])
            return [trial for trial in members if self._by_digest[trial.digest] is trial]
        networks = self.networks
        return [networks[i] for i in front([self.means(trial, objectives) for trial in networks])]

    def means(self, trial: Trial, objectives: Sequence[str] | None = None) -> tuple[float, ...]:
        """Return the objectives of the network of a complete trial, means over all its trainings."""
        values = [training.values(objectives or self.objectives) for training in self.trainings(trial)]
        return values[0] if len(values) == 1 else tuple(map(fmean, zip(*values, strict=True)))

    def trainings(self, trial: Trial) -> Sequence[Trial]:
        """Return the trainings of the network of a complete trial, each with its own seed."""
        return self._trainings[trial.digest]

    def frame(self, without: Collection[str] = ()) -> pd.DataFrame:
        """Return one row per trial, in the order of recording. Without the column `genotype` the networks are
        not parsed, which saves most of the time."""
        import pandas as pd

        kinds = {name: kind for name, kind in COLUMNS.items() if name not in without}
        columns = {name: _column(name, self._trials) for name in kinds}
        for name in (name for name in dict.fromkeys((*OBJECTIVES, *self.objectives)) if name not in COLUMNS):
            kinds[name], read = "float64", objective(name).read
            columns[name] = [nan if (value := read(trial)) is None else value for trial in self._trials]
        if any(trial.recipe for trial in self._trials):
            kinds["recipe"] = "str"
            columns["recipe"] = [fields_text(trial.recipe) for trial in self._trials]
        return pd.DataFrame(columns).astype(kinds)

    def _check_number(self, trial: Trial) -> None:
        if trial.number in self._by_number:
            raise NasError("is recorded already", where=f"trial {trial.number}")

    def _append(self, trial: Trial) -> None:
        self._trials.append(trial)
        self._by_number[trial.number] = trial
        self._pending.pop(trial.number, None)
        self._paused.pop(trial.number, None)
        self._running.pop(trial.number, None)
        self._children[trial.proposal.parent] += 1
        first = self._by_digest.setdefault(trial.digest, trial)
        if trial.complete:
            self._complete.append(trial)
            if not first.complete:
                self._by_digest[trial.digest] = trial
            if trial.duplicate_of is None or trial.digest not in self._trainings:
                self._trained += 1
                self._trainings.setdefault(trial.digest, []).append(trial)


def _column(name: str, trials: Sequence[Trial]) -> list[Any]:
    """Return one column of a frame."""
    if name in _SHOWN:
        return [_SHOWN[name](trial) for trial in trials]
    if name in _OF_COST:
        return [getattr(trial.cost, name) for trial in trials]
    if name in _OF_PROPOSAL:
        return [getattr(trial.proposal, name) for trial in trials]
    return [getattr(trial, name) for trial in trials]


_OF_COST, _OF_PROPOSAL = ({item.name for item in fields(kind)} for kind in (Cost, Proposal))
_SHOWN: dict[str, Callable[[Trial], Any]] = {
    "module_types": lambda trial: "+".join(trial.module_types),
    "genotype": lambda trial: str(trial.genotype),
    "balanced_error": objective("balanced_error").read,
    "latency": lambda trial: trial.latency.seconds if trial.latency else nan,
    "latency_spread": lambda trial: trial.latency.spread if trial.latency else nan,
    "latency_measured": lambda trial: str(trial.latency) if trial.latency else "",
}
"""Columns that are not fields of a trial."""
