"""A tiny search space with the interface of `SearchSpace`, for tests of searchers."""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass, replace

from nas.errors import NasError
from nas.graph.cost import Cost
from nas.testing.searcher_check import made_up_trial


@dataclass(frozen=True)
class Toy:
    """A genotype: the options chosen. The second and the third may be swapped, as in isomorphic
    networks: the digest is the same."""

    options: tuple[int, ...]

    @property
    def digest(self):
        first, *pair = self.options[:3]
        return "-".join(map(str, (first, *sorted(pair), *self.options[3:])))


class ToySpace:
    """`length` decisions of `base` options; the last is only asked where the first is not 0.
    Genotypes whose options sum to more than `limit` break the constraint."""

    name = "toy"

    def __init__(self, length=3, base=3, limit=math.inf):
        self.length, self.base, self.limit = length, base, limit

    def build(self, choose):
        options = range(self.base)
        chosen = [choose(f"d{at}", tuple(options)) for at in range(self.length - 1)]
        return Toy((*chosen, choose("last", tuple(options)) if chosen[0] else 0))

    def domains(self):
        paths = [*(f"d{at}" for at in range(self.length - 1)), "last"]
        return dict.fromkeys(paths, tuple(range(self.base)))

    def decisions(self, genotype):
        chosen = dict(zip(self.domains(), genotype.options, strict=True))
        return chosen if genotype.options[0] else {k: v for k, v in chosen.items() if k != "last"}

    def violations(self, genotype):
        return ["too large"] if sum(genotype.options) > self.limit else []

    def cost(self, genotype):
        size = sum(genotype.options)
        return Cost(params=1 + size**2, flops=10 + size, activations=5, peak_memory=7)

    def sample(self, rng):
        while self.violations(drawn := self.build(lambda _, options: int(rng.choice(options)))):
            pass
        return drawn

    def draw(self, rng):
        return self.sample(rng), True

    def mutate(self, genotype, rng):
        changed = (
            Toy((*genotype.options[:at], option, *genotype.options[at + 1 :]))
            for at in range(self.length)
            for option in range(self.base)
        )
        neighbours = [other for other in changed if other != genotype and other in self]
        if not neighbours:
            raise NasError("has no neighbour")
        return neighbours[int(rng.integers(len(neighbours)))]

    def crossover(self, a, b, rng):
        mixed = Toy(tuple(pair[int(rng.integers(2))] for pair in zip(a.options, b.options, strict=True)))
        return mixed if mixed in self else a

    def log_probability(self, genotype):
        return -len(self.decisions(genotype)) * math.log(self.base)

    def enumerate(self, looked_at=None):
        for options in itertools.product(range(self.base), repeat=self.length):
            if Toy(options) in self:
                yield Toy(options)

    def networks(self):
        return frozenset(genotype.digest for genotype in self.enumerate())

    def __contains__(self, genotype):
        return (genotype.options[0] or not genotype.options[-1]) and not self.violations(genotype)


def toy_trial(space, number, proposal, failed=False):
    """A trial with figures that follow from the genotype; `failed` without an error."""
    size = sum(proposal.genotype.options)
    noise = zlib.crc32(proposal.genotype.digest.encode()) / 2**32
    made_up = made_up_trial(space, number, proposal, failed=failed)
    return made_up if failed else replace(made_up, error=1 / (2 + size) + 0.01 * noise)
