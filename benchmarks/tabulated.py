"""Search spaces whose every network has been trained: looking up takes the place of training.

nas-bench-201_cifar10.csv    15,625 cells of 6 edges and 5 operations (Dong and Yang 2020), mean
                             test accuracy on CIFAR-10. The space is the shipped `nas_bench_201`.
nas-bench-macro_cifar10.json 6,561 chains of 8 blocks (Su et al. 2021), mean test accuracy on
                             CIFAR-10. Identities within a stage add nothing: 3,969 networks.
nas-bench-201_seeds_cifar10.csv.gz, in the same folder: validation accuracy of each of two or three
                             trainings of a cell. nas-bench-201_latency_ms.csv.gz: its latency on
                             eight devices.
channel-bench-macro_resnet.json 16,384 choices of seven widths of a ResNet, mean test accuracy.
tables/digits.csv            448 networks of tables/digits.yaml, by train_table.py: a space of
                             this project, whose decisions depend on others.
tables/cifar.csv             864 networks of tables/cifar.yaml, by train_table.py, with the errors
                             after each of nine epochs; tables/cifar_again.csv has some of them
                             trained with another seed.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nas.graph.cost import Cost, cost
from nas.pareto import hypervolume
from nas.space.genotype import Genotype, expand
from nas.space.load import load_space
from nas.space.space import SearchSpace

DIGITS, CIFAR = (Path(__file__).parent / "tables" / f"{name}.yaml" for name in ("digits", "cifar"))
Point = tuple[float, float]
"""Error (a fraction) and FLOPs."""

CELL_OPS = {
    "none": "none",
    "skip_connect": "identity",
    "avg_pool_3x3": "avg3x3",
    "nor_conv_1x1": "conv1x1",
    "nor_conv_3x3": "conv3x3",
}
"""Names of the operations in the space, by the published ones."""
PUBLISHED = {ours: theirs for theirs, ours in CELL_OPS.items()}
CELL_EDGES = ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
CELL_FLOPS = {"conv1x1": 15 * 262_144, "conv3x3": 15 * 2_359_296}
OUTSIDE_CELLS = 442_368 + 2 * (1_179_648 + 2_359_296 + 131_072) + 640
MACRO_STAGES = (slice(0, 2), slice(2, 5), slice(5, 8))


@dataclass(frozen=True)
class Entry:
    """A network of a flat table: an option for each decision, and what all isomorphic ones share."""

    options: tuple[Any, ...]
    digest: str


class Row(NamedTuple):
    """A network of a table of train_table.py. errors: of validation, after each of the epochs that are
    kept; test_error: on the test images, after the last."""

    digest: str
    errors: Sequence[float]
    test_error: float
    network: str


class Outcome(NamedTuple):
    """What a network comes to. errors: of validation, after each epoch; test_error: after the last, on the
    test images; anew: the same to be expected of another training."""

    errors: Sequence[float]
    test_error: float
    anew: float


Lookup = Callable[[Genotype], Outcome]


class FlatSpace:
    """The same options for each of some decisions, with the interface that searchers use."""

    def __init__(
        self,
        paths: Sequence[str],
        options: Sequence[Any],
        digests: Mapping[tuple[Any, ...], str],
        flops: Mapping[str, float],
    ):
        self._flops = flops
        self._domains = dict.fromkeys(paths, tuple(options))
        self._entries = {chosen: Entry(chosen, digest) for chosen, digest in digests.items()}

    def domains(self) -> Mapping[str, tuple[str, ...]]:
        return self._domains

    def cost(self, entry: Entry) -> Cost:
        return Cost(0, int(self._flops[entry.digest]), 0, 0)

    def build(self, choose: Callable[[str, Sequence[str]], str]) -> Entry:
        return self._entries[tuple(choose(path, options) for path, options in self._domains.items())]

    def sample(self, rng: np.random.Generator) -> Entry:
        return self.build(lambda _, options: options[rng.integers(len(options))])

    def draw(self, rng: np.random.Generator) -> tuple[Entry, bool]:
        return self.sample(rng), True

    def networks(self) -> frozenset[str]:
        return frozenset(entry.digest for entry in self._entries.values())

    def crossover(self, a: Entry, b: Entry, rng: np.random.Generator) -> Entry:
        pairs = zip(a.options, b.options, strict=True)
        return self._entries[tuple(pair[rng.integers(2)] for pair in pairs)]

    def decisions(self, entry: Entry) -> dict[str, str]:
        return dict(zip(self._domains, entry.options, strict=True))

    def violations(self, _: Entry) -> list[str]:
        return []

    def log_probability(self, _: Entry) -> float:
        return -sum(math.log(len(options)) for options in self._domains.values())

    def enumerate(self) -> Iterator[Entry]:
        return (self._entries[chosen] for chosen in itertools.product(*self._domains.values()))


@dataclass(frozen=True)
class Table:
    """A space, what each of its networks measured, and from where hypervolumes are measured.

    trainings: validation errors of single trainings of a network, where they are known. latency: of a
    network in seconds, by device."""

    title: str
    space: FlatSpace | SearchSpace
    measure: Callable[[Any], Point]
    points: Sequence[Point]
    reference: Point
    trainings: Callable[[Any], Sequence[float]] | None = None
    latency: Callable[[Any, str], float] | None = None

    @cached_property
    def volume(self) -> float:
        return hypervolume(self.points, self.reference)


class Cells:
    """The cells of NAS-Bench-201 as networks of the space of that name, with their published figures.

    classes, errors, names: by the published operations of a cell, in the order of CELL_EDGES.
    """

    def __init__(self, path: Path) -> None:
        self.space = load_space("nas_bench_201")
        self.classes: dict[tuple[str, ...], str] = {}
        self.errors: dict[tuple[str, ...], float] = {}
        self.names: dict[tuple[str, ...], str] = {}
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                parts = row["architecture"].replace("+", "").split("|")
                ops = tuple(part.partition("~")[0] for part in parts if part)
                self.names[ops] = row["architecture"]
                self.classes[ops] = row["isomorphism_class"]
                self.errors[ops] = 1 - float(row["cifar10_test_accuracy_200_epochs"]) / 100

    def genotypes(self) -> Iterator[tuple[tuple[str, ...], Genotype]]:
        """Yield every cell with its published operations."""
        for ops in self.names:
            taken = self.decisions(ops)
            yield ops, self.space.build(lambda path, _, taken=taken: taken[path])

    @staticmethod
    def decisions(ops: Sequence[str]) -> dict[str, str]:
        """Return the decisions of a cell with these published operations."""
        return {_path(edge): CELL_OPS[op] for edge, op in zip(CELL_EDGES, ops, strict=True)}

    def published(self, genotype: Genotype) -> tuple[str, ...]:
        """Return the published operations of a network."""
        return _published(self.space.decisions(genotype))

    def flops(self, genotype: Genotype) -> int:
        """Add up the FLOPs of a network; quicker than its graph."""
        wiring = genotype.nodes[0].module.graph  # type: ignore[union-attr]
        return OUTSIDE_CELLS + sum(CELL_FLOPS.get(op, 0) for _, op, _ in wiring.alive)

    def measure(self, genotype: Genotype) -> Point:
        return self.errors[self.published(genotype)], self.flops(genotype)


def nas_bench_201(path: Path) -> Table:
    """The cells of the space `nas_bench_201`, each built once: a search then looks up digests and FLOPs."""
    cells, digests, flops, known = Cells(path), {}, {}, {}
    domains = cells.space.domains()
    for ops, genotype in cells.genotypes():
        alive = genotype.nodes[0].module.graph.alive  # type: ignore[union-attr]
        if alive not in known:
            known[alive] = genotype.digest
            flops[genotype.digest] = cells.flops(genotype)
        taken = cells.decisions(ops)
        digests[tuple(taken[path] for path in domains)] = known[alive]
    space = FlatSpace(list(domains), list(PUBLISHED), digests, flops)
    seeds, milliseconds = (
        _cells_table(path.with_name(f"nas-bench-201_{name}.csv.gz"))
        for name in ("seeds_cifar10", "latency_ms")
    )

    def published(entry: Entry) -> tuple[str, ...]:
        return _published(space.decisions(entry))

    def measure(entry: Entry) -> Point:
        return cells.errors[published(entry)], flops[entry.digest]

    def trainings(entry: Entry) -> list[float]:
        row = seeds[cells.names[published(entry)]]
        return [
            1 - float(row[f"val_acc_seed{seed}"]) / 100 for seed in range(3) if row[f"val_acc_seed{seed}"]
        ]

    def latency(entry: Entry, device: str) -> float:
        return float(milliseconds[cells.names[published(entry)]][device]) / 1000

    title, reference = "NAS-Bench-201, CIFAR-10", (0.30, 230e6)
    points = [measure(entry) for entry in space.enumerate()]
    return Table(title, space, measure, points, reference, trainings, latency)


def _published(decisions: Mapping[str, str]) -> tuple[str, ...]:
    """Return the published operations of a cell."""
    return tuple(PUBLISHED[decisions[_path(edge)]] for edge in CELL_EDGES)


def _path(edge: str) -> str:
    """Return the decision on an edge of a cell."""
    return f"cell.graph.op{edge.replace('-', '_')}"


def _cells_table(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table of cells, by cell; none where there is no such file."""
    if not path.exists():
        return {}
    with gzip.open(path, "rt", newline="") as file:
        return {row["architecture"]: row for row in csv.DictReader(file)}


def channel_bench(path: Path) -> Table:
    """Widths are numbers, so near ones are alike."""
    rows = json.loads(path.read_text())
    codes = {code: tuple(map(int, code)) for code in rows}
    flops = {code: row["flops"] for code, row in rows.items()}
    space = FlatSpace(
        [f"width{at}" for at in range(1, 8)], (1, 2, 3, 4), {c: code for code, c in codes.items()}, flops
    )
    points = {code: (1 - row["mean"] / 100, row["flops"]) for code, row in rows.items()}
    return _table("Channel-Bench-Macro, ResNet, CIFAR-10", space, points)


def nas_bench_macro(path: Path) -> Table:
    """Of chains that are one network, the error is the mean."""
    digests, errors, flops = {}, defaultdict(list), {}
    for code, figures in json.loads(path.read_text()).items():
        stages = [code[part] for part in MACRO_STAGES]
        digest = "|".join(stage[0] + stage[1:].replace("0", "") for stage in stages)
        digests[tuple(code)] = digest
        errors[digest].append(1 - figures["mean_acc"] / 100)
        flops[digest] = figures["flops"]
    space = FlatSpace([f"block{at}" for at in range(1, 9)], "012", digests, flops)
    points = {digest: (statistics.mean(errors[digest]), flops[digest]) for digest in flops}
    return _table("NAS-Bench-Macro, CIFAR-10", space, points)


def digits() -> Table:
    rows, space = read_rows(DIGITS.with_suffix(".csv")), load_space(DIGITS)

    def flops(genotype: Genotype) -> int:
        return cost(expand(genotype, space.input_shape, space.num_classes)).flops

    points = {each.digest: (rows[each.digest].errors[-1], flops(each)) for each in space.enumerate()}
    return _table("Digits, a space of our own", space, points)


def read_rows(table: Path) -> dict[str, Row]:
    """The rows of a table of train_table.py, by digest; none where there is no such file yet."""
    if not table.exists():
        return {}
    with table.open(newline="") as file:
        rows = [
            Row(
                line["digest"],
                [*map(float, line["errors"].split())],
                float(line["test_error"]),
                line["network"],
            )
            for line in csv.DictReader(file)
        ]
    return {row.digest: row for row in rows}


def _table(title: str, space: FlatSpace | SearchSpace, points: Mapping[str, Point]) -> Table:
    """Hypervolumes are measured from the median error and a little beyond the most FLOPs."""
    errors, flops = zip(*points.values(), strict=True)
    reference = statistics.median(errors), 1.05 * max(flops)
    return Table(title, space, lambda entry: points[entry.digest], list(points.values()), reference)
