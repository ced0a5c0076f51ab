"""Comparison of two networks: genotypes, costs, and errors where they are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nas.analysis.compare.genotypes import Row, differences
from nas.analysis.seeds import seed_difference, seed_interval
from nas.errors import NasError
from nas.graph.cost import cost, depth
from nas.graph.graph import Shape
from nas.space.candidate import recipe_of
from nas.space.genotype import Genotype, expand
from nas.stats.estimate import Estimate
from nas.study.config_diff import SAME_DATA, lines
from nas.study.config_diff import differences as differing
from nas.study.trial import Trial

if TYPE_CHECKING:
    from nas.study.run import Run

Errors = Mapping[int, Mapping[int, float]]
"""Validation errors of a network by number of epochs and training seed."""


@dataclass(frozen=True)
class Network:
    """A genotype with the images and classes that it is meant for; `run` and `trial` where it is
    one of a run."""

    label: str
    genotype: Genotype
    input_shape: Shape
    num_classes: int
    run: Run | None = None
    trial: Trial | None = None


@dataclass(frozen=True)
class ErrorDifference:
    """Mean errors after `epochs`, the number of training seeds of each, and the difference b minus a."""

    epochs: int
    a: Estimate
    b: Estimate
    seeds: tuple[int, int]
    shared: int
    difference: Estimate


@dataclass(frozen=True)
class NetworkComparison:
    """`costs` by name of a and b, for one image of `input_shape`; `errors` for each number of epochs that
    both were trained for, and `no_errors` says why there is none; `equal` is whether both compute the same.
    """

    a: Network
    b: Network
    equal: bool
    rows: tuple[Row, ...]
    input_shape: Shape
    num_classes: int
    costs: Mapping[str, tuple[int, int]]
    errors: tuple[ErrorDifference, ...]
    no_errors: str


def compare_networks(a: Network, b: Network) -> NetworkComparison:
    """Compare two networks. Costs are counted at one input size for both: that of a run if one is
    of a run, else that of a; NasError if there is none that both can take."""
    shape, classes = _common_input(a, b)
    no_errors = _incomparable(a, b)
    errors = () if no_errors else tuple(_errors(errors_of(a), errors_of(b)))
    return NetworkComparison(
        a,
        b,
        a.genotype.network.digest == b.genotype.network.digest,
        tuple(differences(a.genotype, b.genotype)),
        shape,
        classes,
        _costs(a.genotype, b.genotype, shape, classes),
        errors,
        no_errors or ("" if errors else "there is no number of epochs that both completed"),
    )


def errors_of(network: Network) -> Errors:
    """Return the errors of a network in its run. Trainings with further seeds replace the search's own, which
    may have been chosen for its error."""
    if network.run is None:
        return {}
    errors: dict[int, dict[int, float]] = {}
    for trials in (network.run.study.trials, network.run.reseeded):
        known: dict[int, dict[int, float]] = defaultdict(dict)
        for trial in trials:
            if trial.digest == network.genotype.digest and trial.error is not None:
                known[trial.epochs][trial.seed] = trial.error
        errors |= known
    return errors


def _common_input(a: Network, b: Network) -> tuple[Shape, int]:
    known = sorted((a, b), key=lambda network: network.run is None)
    failure = None
    for network in known:
        try:
            for one in (a, b):
                expand(one.genotype, network.input_shape, network.num_classes)
        except NasError as error:
            failure = error
        else:
            return network.input_shape, network.num_classes
    assert failure is not None
    raise failure.at(f"{a.label} and {b.label} accept no common input size")


def _costs(a: Genotype, b: Genotype, shape: Shape, classes: int) -> dict[str, tuple[int, int]]:
    graphs = [expand(genotype, shape, classes) for genotype in (a, b)]
    first, second = (asdict(cost(graph)) | {"depth": depth(graph)} for graph in graphs)
    return {name: (first[name], second[name]) for name in ("flops", *first)}


def _incomparable(a: Network, b: Network) -> str:
    """Return why errors cannot be compared; "" if they can."""
    lost = [network.label for network in (a, b) if network.run is None]
    if a.run is None or b.run is None:
        return f"{' and '.join(lost)} {'belongs' if len(lost) == 1 else 'belong'} to no run"
    differ = lines(differing(_decisive(a, a.run), _decisive(b, b.run)))
    return "; ".join(("the runs differ", *differ)) if differ else ""


def _decisive(network: Network, run: Run) -> dict[str, Any]:
    """Return what the errors of a network depend on beside it: the data, and the recipe of its trainings with
    its restarts at rungs."""
    settings = run.config.to_dict()
    recipe = {name: value for name, value in settings["recipe"].items() if name != "epochs"}
    same = {name: settings[name] for name in (*SAME_DATA, "fidelity")}
    return same | {"recipe": recipe | recipe_of(network.genotype)}


def _errors(a: Errors, b: Errors) -> Iterator[ErrorDifference]:
    for epochs in sorted(a.keys() & b.keys()):
        first, second = a[epochs], b[epochs]
        yield ErrorDifference(
            epochs,
            seed_interval(list(first.values())),
            seed_interval(list(second.values())),
            (len(first), len(second)),
            len(first.keys() & second.keys()),
            seed_difference(first, second),
        )
