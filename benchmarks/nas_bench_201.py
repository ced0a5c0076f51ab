"""NAS-Bench-201 (Dong and Yang, 2020) in the space `nas_bench_201`: every cell against the published tables.

    python benchmarks/nas_bench_201.py FOLDER_OF_TABLES

counts the networks among the 15,625 cells, explains where they differ from the published classes, compares
parameters and FLOPs, and analyses 500 uniform draws with their published errors. It exits with 1 where a
figure misses what is published.

The published class of a cell is a text: what its output computes, with an identity written as its input and
`#` for a zero. It tells more apart than there is, as it keeps `#` in sums and the order of sums within sums;
and less, as it has a value that is used twice as two values. Both the text and the digest tell apart whatever
the sorted text without zeros, here called the unfolded sum, does.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tabulated import CELL_EDGES, Cells

from nas.analysis.analyze import analyze
from nas.analysis.comparison import FLOPS_BINS
from nas.analysis.factors.motifs import explain, motifs
from nas.analysis.text.ranking import analysis_text
from nas.graph.cost import cost
from nas.modules.operations import has_weights
from nas.modules.wiring import Wiring
from nas.space.genotype import expand
from nas.stats.resampling import log_bins
from nas.study.history import History
from nas.study.trial import Proposal, Trial

CLASSES, ALL_CONV_FLOPS, DRAWS = 6466, 220_119_680, 500
WIDTHS = (16, 32, 64)
Strings = Mapping[tuple[int, int], str]


def inputs_of(ops: Strings, node: int) -> list[tuple[int, str]]:
    return [(i, ops[i, node]) for i in range(node)]


def published_class(ops: Strings) -> str:
    """The text of the class as NAS-Bench-201 makes it."""
    texts = ["0"]
    for node in (1, 2, 3):
        terms = []
        for i, op in inputs_of(ops, node):
            zero = op == "none" or texts[i] == "#"
            terms.append("#" if zero else texts[i] if op == "skip_connect" else f"({texts[i]})@{op}")
        texts.append("+".join(sorted(terms)))
    return texts[3]


def unfolded_sum(ops: Strings) -> str:
    """What the output computes, as a sum of sums of operations, if equal operations had equal weights."""
    sums: list[list[str]] = [["0"]]
    for node in (1, 2, 3):
        terms: list[str] = []
        for i, op in inputs_of(ops, node):
            if op != "none" and sums[i]:
                terms += sums[i] if op == "skip_connect" else [f"({'+'.join(sums[i])})@{op}"]
        sums.append(sorted(terms))
    return "+".join(sums[3])


def without_zeros(ops: Strings) -> str:
    """The published text without the terms that are zero."""
    texts = ["0"]
    for node in (1, 2, 3):
        pairs = [(texts[i], op) for i, op in inputs_of(ops, node) if op != "none" and texts[i]]
        texts.append("+".join(sorted(t if op == "skip_connect" else f"({t})@{op}" for t, op in pairs)))
    return texts[3]


def idle_params(wiring: Wiring) -> int:
    """Parameters of the operations on edges that do nothing, which NAS-Bench-201 counts."""
    idle = [op for i, op in _all_edges(wiring) if has_weights(op)]
    return 5 * sum(int(op[-1]) ** 2 * width**2 + 2 * width for op in idle for width in WIDTHS)


def _all_edges(wiring: Wiring) -> Iterable[tuple[int, str]]:
    alive = {(i, j) for i, _, j in wiring.alive}
    for j, node in enumerate(wiring.nodes, start=1):
        yield from ((i, op) for i, op in node.inputs if (i, j) not in alive)


def refines(finer: Iterable[str], coarser: Iterable[str]) -> bool:
    """Whether equal in the first means equal in the second, over all cells."""
    seen: dict[str, set[str]] = defaultdict(set)
    for a, b in zip(finer, coarser, strict=True):
        seen[a].add(b)
    return all(len(values) == 1 for values in seen.values())


def explained(cells: Cells) -> Iterable[tuple[str, Any, Any]]:
    """Yield a label, a figure and what it should be, None where nothing is published."""
    rows = [(genotype, dict(zip(CELL_EDGES, ops, strict=True))) for ops, genotype in cells.genotypes()]
    strings = [{tuple(map(int, edge.split("-"))): op for edge, op in ops.items()} for _, ops in rows]
    published = [cells.classes[tuple(ops.values())] for _, ops in rows]
    digests = [genotype.digest for genotype, _ in rows]
    sums, zeroless = [*map(unfolded_sum, strings)], [*map(without_zeros, strings)]
    yield "cells", len(rows), 15_625
    yield "published classes", len(set(published)), CLASSES
    yield (
        "classes rebuilt from our cells, as published",
        sum(map(str.__eq__, map(published_class, strings), published)),
        15_625,
    )
    yield "classes once zero terms are left out", len(set(zeroless)), None
    yield "unfolded sums: classes once sums within sums are sorted, too", len(set(sums)), None
    yield "digests: networks once used twice differs from made twice", len(set(digests)), None
    yield "equal classes have equal unfolded sums", refines(published, sums), True
    yield "equal digests have equal unfolded sums", refines(digests, sums), True
    yield "cells whose output is zero", sum(not text for text in sums), None
    yield "digests of these", len({d for d, text in zip(digests, sums, strict=True) if not text}), 1


def figures(cells: Cells, params: Mapping[str, float]) -> Iterable[tuple[str, Any, Any]]:
    flops = idle = 0
    own: dict[str, int] = {}
    members: dict[str, set[int]] = defaultdict(set)
    for ops, genotype in cells.genotypes():
        wiring = genotype.nodes[0].module.graph  # type: ignore[union-attr]
        counted = cost(expand(genotype))
        idle += idle_params(wiring) > 0
        own[cells.names[ops]] = counted.params + idle_params(wiring)
        members[cells.classes[ops]].add(counted.params + idle_params(wiring))
        flops += counted.flops == cells.flops(genotype)
    wanted = {name: round(1e6 * millions) for name, millions in params.items()}
    equal = {name for name, count in own.items() if count == wanted[name]}
    class_of = {cells.names[ops]: kind for ops, kind in cells.classes.items()}
    twins = sum(wanted[name] in members[class_of[name]] for name in own.keys() - equal)
    yield "cells whose parameters are those of the table", len(equal), None
    yield "other cells, for which it has those of another cell of the class", twins, 15_625 - len(equal)
    yield "cells with operations that do nothing, which the table counts", idle, None
    yield "cells whose FLOPs are those that benchmarks/tabulated.py adds up", flops, 15_625
    most = cells.space.build(lambda path, options: "conv3x3")
    yield "FLOPs of the cell of 3x3 convolutions", cost(expand(most)).flops, ALL_CONV_FLOPS


def drawn(cells: Cells) -> History:
    """Uniform draws, with the table in place of training."""
    history, rng = History(("error", "flops")), np.random.default_rng(0)
    while len(history.trials) < DRAWS:
        genotype = cells.space.sample(rng)
        if history.by_digest(genotype.digest) is not None:
            continue
        error, _ = cells.measure(genotype)
        trial = Trial(
            number=len(history.trials),
            proposal=Proposal(genotype, "random", uniform=True),
            state="complete",
            error=error,
            cost=cells.space.cost(genotype),
            decisions=cells.space.decisions(genotype),
            seed=0,
            epochs=200,
        )
        history.record(trial)
    return history


def true_motifs(cells: Cells) -> dict[str, float]:
    """Rank correlation of each motif with the error at equal FLOPs, over all networks of the space."""
    networks = {genotype.digest: genotype for _, genotype in cells.genotypes()}
    error, flops = np.array([cells.measure(genotype) for genotype in networks.values()]).T
    counts = np.array([[*motifs(expand(genotype)).values()] for genotype in networks.values()])
    stratum, own = log_bins(flops, FLOPS_BINS)[1], np.arange(len(error))
    effects = explain(counts, error, stratum, own, np.random.default_rng(0), flops)
    return {effect.name: effect.correlation.value for effect in effects}


def main(folder: Path) -> int:
    cells = Cells(folder / "nas-bench-201_cifar10.csv")
    with gzip.open(folder / "nas-bench-201_seeds_cifar10.csv.gz", "rt", newline="") as file:
        params = {row["architecture"]: float(row["params_millions"]) for row in csv.DictReader(file)}
    missed = 0
    for label, figure, wanted in (*explained(cells), *figures(cells, params)):
        missed += wanted not in (None, figure)
        print(f"{label}: {figure:,}" + ("" if wanted in (None, figure) else f", not {wanted:,}"), flush=True)
    analysis, truth = analyze(drawn(cells)), true_motifs(cells)
    print(analysis_text(analysis, width=120))
    print("motif: rank correlation from the draws, over the whole space")
    held = 0
    for effect in analysis.motifs:
        true, found = truth[effect.name], effect.correlation
        held += found.low <= true <= found.high
        print(f"{effect.name}: {found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}], {true:+.2f}")
    print(f"intervals that hold the figure of the whole space: {held} of {len(analysis.motifs)}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
