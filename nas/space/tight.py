"""Networks that satisfy tight constraints, which random draws hardly ever find.

A space is tight if fewer than `FITTING` of `DRAWS` fixed draws fit. Up to `ENUMERABLE` genotypes are then
enumerated, and drawn as often as `SearchSpace.sample` would draw them. In larger spaces a walk leads from a
random draw to a network that fits, one decision at a time. All follows from the space alone, so that a
search that is resumed draws the same.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import NasError
from nas.space.decisions import every_genotype, pick, replay
from nas.space.genotype import Genotype
from nas.space.prefix import PrefixCheck
from nas.space.unmet import unmet

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

DRAWS, FITTING = 10_000, 10
ENUMERABLE = 100_000
STEPS = 2_000
"""Networks that a walk looks at before it gives up."""
PATIENT = 0.5
"""Seconds of computing after which a person is told what takes so long."""
WALKS = 20
"""Networks that are looked for by walks where draws find none."""
GIVE_UP = 5
"""Walks after which nothing is known to fit."""


@dataclass(frozen=True)
class TightSpace:
    """A space seen from its constraints; each figure is found when it is first asked for."""

    space: SearchSpace

    @cached_property
    def sample(self) -> tuple[int, int]:
        """The numbers of fixed draws that fit, up to `FITTING`, and of all draws made."""
        rng, fitting = np.random.default_rng(0), 0
        for number in range(1, DRAWS + 1):
            fitting += self.space.allows(self._random(rng))
            self._tell()
            if fitting == FITTING:
                return fitting, number
        return fitting, DRAWS

    @property
    def tight(self) -> bool:
        return self.sample[0] < FITTING

    @cached_property
    def fitting(self) -> tuple[Genotype, ...] | None:
        """Every genotype that fits, None in a space too large to enumerate."""
        if self.space.size().count > ENUMERABLE:
            return None
        fitting = []
        for genotype in every_genotype(self.space.spec, PrefixCheck(self.space.spec)):
            self._tell()
            if not self.space.violations(genotype):
                fitting.append(genotype)
        return tuple(fitting)

    def _tell(self) -> None:
        """Warn once of what is being done, after `PATIENT` seconds of it."""
        if self._began + PATIENT < time.process_time() and not self._told:
            self._told.append(True)
            count = self.space.size().count
            size = f"{count:,}" if count < 1e9 else f"{count:.0e}"
            text = f"few of {size} genotypes meet the constraints; looking for them takes up to a minute"
            warnings.warn(f"{self.space.name}: {text}", stacklevel=2)

    @cached_property
    def _began(self) -> float:
        return time.process_time()

    @cached_property
    def _told(self) -> list[bool]:
        return []

    @property
    def known(self) -> tuple[Genotype, ...] | None:
        """Every genotype that fits, None as long as they were not enumerated."""
        return vars(self).get("fitting")

    @cached_property
    def _shares(self) -> list[float]:
        """The probability of each fitting genotype under random draws that fit."""
        weights = np.exp([self.space.log_probability(genotype) for genotype in self.fitting or ()])
        return list(weights / weights.sum())

    @cached_property
    def _first(self) -> Genotype | None:
        """A network to return where a walk ends nowhere, None if none is known."""
        walks = (self._walk(np.random.default_rng([0, number])) for number in range(GIVE_UP))
        return next((genotype for genotype, excess in walks if not excess), None)

    def draw(self, rng: np.random.Generator) -> tuple[Genotype, bool]:
        """Return a network that fits, and whether it is drawn as random draws that fit would be. NasError if
        nothing is found."""
        if self.fitting:
            return self.fitting[int(rng.choice(len(self.fitting), p=self._shares))], True
        genotype, excess = self._walk(rng)
        if excess and (self.fitting is not None or self._first is None):
            raise self.nothing_fits()
        return self._first if excess and self._first else genotype, False

    def rare(self, rng: np.random.Generator) -> Iterator[tuple[Genotype, bool]]:
        """Yield what draws hardly ever find, each as `draw` does: every network that fits where they can be
        enumerated, else those of some walks. Nothing if the space is not tight."""
        if not self.tight:
            return
        if self.fitting is None:
            walks = (self._walk(rng) for _ in range(WALKS))
            yield from ((genotype, False) for genotype, excess in walks if not excess)
        elif self.fitting:
            order = rng.choice(len(self.fitting), len(self.fitting), replace=False, p=self._shares)
            yield from ((self.fitting[i], True) for i in order)

    def _random(self, rng: np.random.Generator) -> Genotype:
        return self.space.build(lambda _, options: pick(options, rng))

    def _walk(self, rng: np.random.Generator) -> tuple[Genotype, float]:
        """Change one decision at a time wherever that brings the constraints nearer, from several draws on.
        Return the nearest network, and its excess over the constraints: 0 if they hold."""
        nearest, least, looked = self._random(rng), inf, 0
        while least and looked < STEPS:
            genotype, excess = self._random(rng), inf
            closer: tuple[Genotype, float] | None = (genotype, self.space.excess(genotype))
            while closer is not None:
                genotype, excess = closer
                closer = None
                for other in self._neighbours(genotype, rng) if excess else ():
                    looked += 1
                    if (figure := self.space.excess(other)) < excess:
                        closer = other, figure
                        break
            looked += 1
            if excess < least:
                nearest, least = genotype, excess
        return nearest, least

    def _neighbours(self, genotype: Genotype, rng: np.random.Generator) -> Iterator[Genotype]:
        """Yield the genotypes one decision away, in random order."""
        decisions, domains = self.space.decisions(genotype), self.space.domains()
        moves = [(path, o) for path, taken in decisions.items() for o in domains[path] if o != taken]
        for i in rng.permutation(len(moves)):
            path, option = moves[i]
            yield self.space.build(replay({**decisions, path: option}, rng))

    def nothing_fits(self) -> NasError:
        """Return the error, with the nearest figure to each limit among some draws and walks."""
        fitting, draws = self.sample
        message = f"no network satisfies the constraints: {fitting} of {draws:,} random draws fit"
        if self.fitting is not None:
            message += f", and none of all {self.space.size().count:,} genotypes"
        rng = np.random.default_rng(0)
        near = [self._walk(rng)[0] for _ in range(3)]
        return NasError(message, where=self.space.name, hint=unmet(self.space, near))
