"""Expected errors of networks that were trained twice: first trainings alone are to tell the second ones.

    python benchmarks/second_trainings.py run digits cifar10 [--counts 12,30,60] [--repeats 40]

`run` is the published run on CIFAR-10, `digits` and `cifar10` are the published study: its networks at the
shape of their context, of which those of ten contexts were trained twice, the others once. Printed are the
root mean square differences from second trainings, in points: of the first ones, and of the errors that are
expected by a model that does not know on how many validation images they were counted, and by one that does;
and how often the intervals of 95 % of each for one further training hold the second one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import study

import nas
import nas.surrogate
from nas.space.load import load_space
from nas.study.expected import HALF
from nas.study.run import open_run

RUN, RUN_IMAGES = Path(__file__).parents[1] / "results/published/five_types_cifar10/main", 1_000
STUDIES = {"digits": (575, (1, 8, 8)), "cifar10": (10_000, (3, 32, 32))}
"""Validation images and shape of an image of the parts of the study."""

LEAST_JUDGED = 10
"""Networks of a sample that were trained twice, at least; a third of it where it is larger."""


class Trained(NamedTuple):
    """first: the training that the model sees; second: the error of another, None where there was none."""

    first: Any
    second: float | None


def of_run() -> list[Trained]:
    """Return the networks of the published run that were trained twice."""
    trainings: dict[str, list[Any]] = {}
    for trial in open_run(RUN).study.complete:
        trainings.setdefault(trial.digest, []).append(trial)
    return [Trained(found[0], found[1].error) for found in trainings.values() if len(found) > 1]


def of_study(name: str) -> list[Trained]:
    """Return the networks of the published study, at the shape of their context and with its usual recipe."""
    shape = STUDIES[name][1]
    space = load_space("five_types").with_input(shape, 10)
    table = pd.read_csv(study.FOLDER / f"{name}.csv")
    usual = (
        table.epochs.eq(study.EPOCHS) & table.lr.eq(study.RATES[1]) & table.weight_decay.eq(study.DECAYS[1])
    )
    rows = table[usual & table.budget.eq(0)].set_index(["context", "type", "seed"])
    found = []
    drawn = study.contexts(space, study.SETTINGS[name].budgets)
    for context, networks in zip(range(study.CONTEXTS), drawn, strict=False):
        for kind in study.TYPES:
            row = rows.loc[context, kind, 0]
            decisions = space.decisions(networks[kind, 0])
            first = SimpleNamespace(decisions=decisions, error=row.error, flops=int(row.flops))
            found.append(Trained(first, rows.error.get((context, kind, 1))))
    return found


def judged(trained: list[Trained], images: int, count: int, seed: int) -> list[float]:
    """Return the mean square differences and the shares held of one sample, in the order of the table."""
    rng = np.random.default_rng([seed, count])
    twice = [item for item in trained if item.second is not None]
    once = [item for item in trained if item.second is None]
    share = max(LEAST_JUDGED, count // 3) if once else count
    sample = [twice[at] for at in rng.permutation(len(twice))[:share]]
    networks = [item.first for item in sample]
    seen = networks + [once[at].first for at in rng.permutation(len(once))[: count - len(sample)]]
    first, second = np.array([(item.first.error, item.second) for item in sample], float).T
    squares, held = [((first - second) ** 2).mean()], []
    for known in (None, images):
        model = nas.surrogate.fit(seen, images=known)
        assert model
        squares.append(((model.predict(networks)[0] - second) ** 2).mean())
        mean, spread = model.predict_training(networks)
        held.append((np.abs(second - mean) <= HALF * spread).mean())
    return squares + held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="+", choices=("run", *STUDIES))
    parser.add_argument("--counts", default="12,30,60")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    print("| trainings | images | networks | first | expected, unknown | known | held, unknown | known |")
    print("|---" * 8 + "|")
    for name in options.names:
        trained, images = (of_run(), RUN_IMAGES) if name == "run" else (of_study(name), STUDIES[name][0])
        for count in map(int, options.counts.split(",")):
            samples = [judged(trained, images, count, seed) for seed in range(options.repeats)]
            figures = np.mean(samples, axis=0)
            rms = " | ".join(f"{100 * np.sqrt(square):.2f}" for square in figures[:3])
            shares = " | ".join(f"{share:.0%}" for share in figures[3:])
            print(f"| {name} | {images:,} | {count} | {rms} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
