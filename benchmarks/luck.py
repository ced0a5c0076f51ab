"""How much of an error is luck: what a network came to in one training, and what to expect of another.

    python benchmarks/luck.py

Decisions and FLOPs explain a part of the test errors of tables/cifar.csv (least squares over all networks).
What they leave is the network's own in part, and in part the luck of one training: its first weights, the
order of its images. tables/cifar_again.csv has some of the networks, drawn at random, trained with another
seed. The share of what is left that comes back there is the network's own: the slope of the second training's
on the first one's, with an interval by a bootstrap of networks. Printed too is how far from the errors of the
second training, but for their mean, are those of the first, what is explained, and what is then expected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

import numpy as np
from tabulated import CIFAR, Lookup, Outcome, Row, read_rows

from nas.analysis.factors.encoding import encode
from nas.graph.cost import cost
from nas.pareto import Floats
from nas.space.genotype import Genotype, expand
from nas.space.load import load_space
from nas.space.space import SearchSpace

AGAIN = CIFAR.with_name("cifar_again.csv")


def explained(space: SearchSpace, rows: Mapping[str, Row]) -> dict[str, float]:
    """The part of each test error, by digest, that decisions and the logarithm of FLOPs explain."""
    networks = {each.digest: each for each in space.enumerate()}
    features = _features(space, list(networks.values()))
    errors = np.array([rows[digest].test_error for digest in networks])
    coefficients, *_ = np.linalg.lstsq(features, errors, rcond=None)
    return dict(zip(networks, (features @ coefficients).tolist(), strict=True))


def own_share(left: Floats) -> float:
    """Of what is left unexplained, (networks, 2) in two trainings, the share that is the networks' own."""
    covariance = np.cov(left, rowvar=False)
    return float(covariance[0, 1] / covariance[0, 0])


def left_unexplained(rows: Mapping[str, Row], again: Mapping[str, Row], told: Mapping[str, float]) -> Floats:
    """Of the networks that were trained again, in the first and the second training, (networks, 2)."""
    return np.array([[each[digest].test_error - told[digest] for each in (rows, again)] for digest in again])


@cache
def cifar(share: float | None = None) -> tuple[SearchSpace, Lookup]:
    """The space and what each of its networks comes to. Of another training is expected what is explained,
    and of what is left the networks' own share, the measured one where None."""
    space, rows = load_space(CIFAR), read_rows(CIFAR.with_suffix(".csv"))
    told = explained(space, rows)
    own = own_share(left_unexplained(rows, read_rows(AGAIN), told)) if share is None else share

    def lookup(genotype: Genotype) -> Outcome:
        row, error = rows[genotype.digest], told[genotype.digest]
        return Outcome(row.errors, row.test_error, error + own * (row.test_error - error))

    return space, lookup


def _features(space: SearchSpace, networks: list[Genotype]) -> Floats:
    """A column for each option of each decision, and one for the logarithm of FLOPs."""
    decided = encode([space.decisions(each) for each in networks]).values()
    options = [each.level == at for each in decided for at in range(len(each.options))]
    graphs = (expand(each, space.input_shape, space.num_classes) for each in networks)
    return np.column_stack([*options, [np.log(cost(graph).flops) for graph in graphs]])


def main() -> None:
    space, rows, again = load_space(CIFAR), read_rows(CIFAR.with_suffix(".csv")), read_rows(AGAIN)
    left = left_unexplained(rows, again, explained(space, rows))
    rng, count = np.random.default_rng(0), len(left)
    shares = [own_share(left[rng.integers(count, size=count)]) for _ in range(2000)]
    low, high = np.quantile(shares, (0.025, 0.975))
    first, second = 100 * left.std(axis=0, ddof=1)
    print(f"{count} networks, left unexplained: {first:.2f} points in the first training,", end=" ")
    print(f"{second:.2f} in the second; correlation {np.corrcoef(left, rowvar=False)[0, 1]:.2f}")
    print(f"share of the networks' own: {own_share(left):.2f} [{low:.2f}, {high:.2f}]")
    parts = {"the first training": 1.0, "what is explained": 0.0, "expected": own_share(left)}
    for name, part in parts.items():
        apart = 100 * (left[:, 1] - part * left[:, 0]).std(ddof=1)
        print(f"{name}: {apart:.2f} points from the second training")
    print(json.dumps({"share": own_share(left), "interval": [low, high], "networks": count}))


if __name__ == "__main__":
    main()
