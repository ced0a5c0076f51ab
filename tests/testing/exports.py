"""Trials and settings of a run to export."""

from __future__ import annotations

import nas
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.study.trial import Proposal, Trial
from testing.configs import make_config

SHAPE, CLASSES = (1, 8, 8), 10

CONFIG = make_config({"epochs": 2})


def make_trial(number: int = 0) -> Trial:
    space = nas.load_space("residual_vs_fractal").with_input(SHAPE, CLASSES)
    genotype = space.sample(number)
    return Trial(
        number=number,
        proposal=Proposal(genotype, "random", uniform=True),
        state="complete",
        cost=cost(expand(genotype, SHAPE, CLASSES)),
        decisions=space.decisions(genotype),
        seed=5,
        epochs=2,
        error=0.0625,
    )


def trained_weights(trial: Trial) -> bytes:
    import torch
    from safetensors.torch import save

    from nas.codegen.build import build

    torch.manual_seed(1)
    network = build(trial.genotype, SHAPE, CLASSES)
    network(torch.rand(4, *SHAPE))  # moves the running statistics away from their initial values
    return save(network.state_dict())
