"""Trials of random networks of one space."""

from __future__ import annotations

from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.study.trial import Proposal, Trial

SPACE = load_space("residual_vs_fractal")

OBJECTIVE_NAMES = ("error", "flops")


def a_trial(number, seed=None, **changes):
    """A trial of a network drawn from SPACE; a failed one if `reason` is given."""
    genotype = SPACE.sample(number if seed is None else seed)
    failed = bool(changes.get("reason"))
    fields = {
        "number": number,
        "proposal": Proposal(genotype, "random", uniform=True, log_probability=-1 / 3),
        "state": "failed" if failed else "complete",
        "error": None if failed else 0.5 / (1 + number),
        "cost": cost(expand(genotype, SPACE.input_shape, SPACE.num_classes)),
        "decisions": SPACE.decisions(genotype),
        "seed": 2**40 + number,
        "epochs": 2,
        "duration": 1.1,
        "curve": ({"epoch": 1, "train_loss": 0.1 + 0.2, "val_error": 0.5},),
    }
    return Trial(**{**fields, **changes})
