"""Histories of random networks."""

import numpy as np

from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.study.history import History
from nas.study.trial import Proposal, Trial


def study(count=24, failing=(3,), objectives=("error", "flops")):
    """A history of random networks, whose error falls with FLOPs but for noise."""
    space = load_space("residual_vs_fractal")
    history = History(objectives)
    rng = np.random.default_rng(0)
    for number in range(count):
        genotype = space.sample(number)
        figures = cost(expand(genotype, space.input_shape, space.num_classes))
        failed = number in failing
        history.record(
            Trial(
                number=number,
                proposal=Proposal(genotype, "random", uniform=number % 5 == 4),
                state="failed" if failed else "complete",
                reason="diverged" if failed else "",
                error=None if failed else float(0.5 - 0.02 * np.log(figures.flops) + rng.uniform(0, 0.1)),
                cost=figures,
                decisions=space.decisions(genotype),
                seed=number,
                epochs=1,
            )
        )
    return history
