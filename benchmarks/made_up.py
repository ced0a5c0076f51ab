"""Learning curves that nobody trained: to choose a rule on others than those it is judged by.

A network has a final error that its FLOPs and decisions explain but for a part, larger ones learn more
slowly, and every epoch has its noise.
"""

import zlib

import numpy as np
from tabulated import Lookup, Outcome

from nas.graph.cost import cost
from nas.space.genotype import Genotype, expand
from nas.space.load import parse_space
from nas.space.space import SearchSpace

WIDE = """
name: wide_range
description: Plain and residual blocks over a range of two orders of magnitude in FLOPs.
vary: block
input: 3x16x16
stem: {type: conv, width: [4, 8, 16]}
modules:
  plain: {}
  residual: {shortcut: [A, B]}
stages:
  - {depth: [1, 2], width: [4, 8, 16]}
  - {depth: [1, 2], width: [4, 8, 16, 32, 64], stride: 2}
  - {depth: [1, 2], width: [8, 16, 32, 64, 128], stride: 2}
head: {type: pool}
"""


def made_up(seed: int, epochs: int) -> tuple[SearchSpace, Lookup]:
    """A space and what each of its networks is said to have come to, which a seed decides."""
    space = parse_space(WIDE, "WIDE")

    def normal(*key: object) -> float:
        return float(np.random.default_rng(zlib.crc32(repr((seed, *key)).encode())).normal())

    def lookup(genotype: Genotype) -> Outcome:
        graph = expand(genotype, space.input_shape, space.num_classes)
        decisions = space.decisions(genotype)
        size = np.log2(cost(graph).flops / 2e4) / 8  # from 0 to little more than 1 in this space
        explained = sum(normal(path, option) for path, option in decisions.items()) / len(decisions) ** 0.5
        final = 0.8 - 0.3 * min(size, 1.2) + 0.03 * explained + 0.015 * normal(graph.digest)
        slow = [(1 - np.log(epoch) / np.log(epochs)) * (0.06 + 0.12 * size) for epoch in range(1, epochs + 1)]
        noise = [0.02 * normal(graph.digest, epoch) for epoch in range(epochs)]
        errors = [float(np.clip(final + a + b, 0.02, 0.95)) for a, b in zip(slow, noise, strict=True)]
        return Outcome(errors, final, final)

    return space, lookup
