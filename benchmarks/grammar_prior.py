"""What draws from the space `grammar` are like: depth, size and FLOPs, and the share that trains.

    python benchmarks/grammar_prior.py [--draws 1000] [--train 40]

A draw follows the prior of `nas/modules/derivation.py`. Beside it stand draws that are uniform over the
options of each node. With --train, so many networks are trained on the digits for some epochs: a network
trains if its validation error is below 0.85, where chance is 0.9 with an SD of 0.0125.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import nas
from nas.graph.cost import cost, depth
from nas.modules import Grammar
from nas.space.decisions import pick
from nas.space.genotype import Genotype, expand
from nas.space.load import load_space
from nas.space.space import SearchSpace

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
EPOCHS, TRAINS = 3, (0.85, 0.5)


def tree_of(genotype: Genotype) -> Any:
    module = genotype.nodes[0].module
    assert isinstance(module, Grammar)
    return module.tree


def report(title: str, space: SearchSpace, draw: Callable[[str, Sequence[Any]], Any], draws: int) -> None:
    genotypes = [space.build(draw) for _ in range(draws)]
    broken = Counter(text.split()[0] for genotype in genotypes for text in space.violations(genotype))
    allowed = [genotype for genotype in genotypes if space.allows(genotype)]
    graphs = [expand(genotype) for genotype in allowed]
    trees = [tree_of(genotype) for genotype in allowed]
    print(f"\n{title}: {draws} draws, {len(allowed) / draws:.0%} within the constraints {dict(broken)}")
    print(f"{len({graph.digest for graph in graphs}) / len(graphs):.1%} of these are different networks\n")
    print("| figure | " + " | ".join(f"{q:.0%}" for q in QUANTILES) + " |")
    print("|" + "---|" * (len(QUANTILES) + 1))
    columns = {
        "levels of a derivation": [tree.levels for tree in trees],
        "operations of a module": [tree.operations for tree in trees],
        "layers of the network": [depth(graph) for graph in graphs],
        "FLOPs, M": [cost(graph).flops / 1e6 for graph in graphs],
        "parameters, k": [cost(graph).params / 1e3 for graph in graphs],
    }
    for name, values in columns.items():
        print(f"| {name} | " + " | ".join(f"{value:.3g}" for value in np.quantile(values, QUANTILES)) + " |")
    roots = Counter(tree.op if tree.operands else "an operation" for tree in trees)
    print("\nroot:", ", ".join(f"{op} {count / len(trees):.0%}" for op, count in roots.most_common()))


def train(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = nas.search(
            "grammar",
            data="digits",
            trials=count,
            epochs=EPOCHS,
            searcher="random",
            workers=0,
            results_dir=folder,
        )
        errors = [trial.error for trial in run.study.trials]
    run.study.close()
    known = np.array([error for error in errors if error is not None])
    print(
        f"\n{len(errors)} networks trained for {EPOCHS} epochs: {len(errors) - len(known)} failed, ", end=""
    )
    shares = (f"{(known < limit).sum() / len(errors):.0%} below {limit:.0%}" for limit in TRAINS)
    print(f"{', '.join(shares)}. Errors: ", end="")
    print(
        ", ".join(
            f"{q:.0%} {value:.3f}" for q, value in zip(QUANTILES, np.quantile(known, QUANTILES), strict=True)
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--train", type=int, default=0)
    arguments = parser.parse_args()
    space, rng = load_space("grammar"), np.random.default_rng(0)
    report("by the prior", space, lambda _, options: pick(options, rng), arguments.draws)
    report("uniform over options", space, lambda _, options: pick(list(options), rng), arguments.draws)
    if arguments.train:
        train(arguments.train)


if __name__ == "__main__":
    main()
