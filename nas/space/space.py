"""Search spaces: programs of decisions that build a genotype.

`build(choose)` runs the program and asks `choose(path, options)` for every decision with
at least two options. Everything else replays the program: sampling draws, mutation changes one
answer and redraws those that then are missing, enumeration counts through the answers.

Paths read like `stage1.block2.residual.norm`; a path has the same options wherever it
comes up, so dependent options carry what they depend on: `base_width[cardinality=8]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import NasError
from nas.graph.cost import Cost, cost
from nas.graph.graph import Graph, Shape, shape_text
from nas.space.answers import read
from nas.space.constraints import broken, excess, limited
from nas.space.decisions import (
    Choose,
    build,
    count,
    domains,
    every_genotype,
    log_share,
    pick,
    replay,
)
from nas.space.fitting import adaptations, fitted
from nas.space.genotype import Genotype, expand
from nas.space.prefix import PrefixCheck
from nas.space.spec import Limits, SpaceSpec, restricted, spec_text
from nas.space.tight import TightSpace

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Decisions = dict[str, Any]
MAX_RECENT = 1024
PATIENCE = 100
"""Draws that break the constraints after which a space is asked whether it is tight."""
MAX_TRIES = 10_000
"""Draws after which a network is looked for as in a tight space."""
COUNTED = 10_000
"""Most genotypes of a space whose networks are counted."""


@dataclass(frozen=True)
class Size:
    """Number of genotypes: exact, or an upper bound where constraints take some away."""

    count: int
    exact: bool


@dataclass(frozen=True)
class SearchSpace:
    """Search space over a checked specification; see `load_space`.

    spec: for the images of the space. declared: as the file has it, which may leave the stride of the stem
    and the limits on FLOPs to the size of the images.
    """

    spec: SpaceSpec
    declared: SpaceSpec = field(compare=False)

    def __repr__(self) -> str:
        images = f"{shape_text(self.input_shape)} images, {self.num_classes} classes"
        return f"<SearchSpace {self.name}: {len(self.domains())} decisions, {images}>"

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def description(self) -> str:
        return self.spec.description

    @property
    def input_shape(self) -> Shape:
        return self.spec.input

    @property
    def num_classes(self) -> int:
        return self.spec.classes

    def with_input(self, input_shape: Shape, num_classes: int) -> SearchSpace:
        """Return the space for other images, for which its constraints then count FLOPs and parameters.

        Raises NasError if they are too small.
        """
        return SearchSpace(fitted(self.declared, tuple(input_shape), num_classes), self.declared)

    def adaptations(self) -> list[tuple[str, str]]:
        """Return a label and a text for each part that follows from the size of the images."""
        return adaptations(self.declared, self.input_shape)

    def to_yaml(self) -> str:
        """Return a file that `parse_space` reads as an equal space; nothing in it depends on the images."""
        return spec_text(self.spec)

    def build(self, choose: Choose) -> Genotype:
        """Run the program of decisions. Constraints are not checked: see `violations`."""
        return build(self.spec, choose)

    def cost(self, genotype: Genotype) -> Cost:
        """Return the costs of a genotype for one input of the space."""
        return cost(expand(genotype, self.input_shape, self.num_classes))

    def without_recipe(self) -> SearchSpace:
        """Return the space of the same networks, all under the recipe of their search."""
        spec, declared = (s.model_copy(update={"recipe": {}}) for s in (self.spec, self.declared))
        return SearchSpace(spec, declared)

    def violations(self, genotype: Genotype) -> list[str]:
        """List the constraints that a genotype breaks at the input of the space."""
        try:
            graph = expand(genotype, self.input_shape, self.num_classes)
        except NasError as error:
            return [str(error)]
        return broken(self.limited(graph))

    def allows(self, genotype: Genotype) -> bool:
        """Tell whether a genotype of the space meets the constraints; quicker than `violations` if not."""
        return not self._prefix.rules_out(genotype) and not self.violations(genotype)

    @cached_property
    def _prefix(self) -> PrefixCheck:
        return PrefixCheck(self.spec)

    def excess(self, genotype: Genotype) -> float:
        """Return the relative excess over the constraints, summed: 0 if they hold, infinite if the network
        cannot be built."""
        try:
            graph = expand(genotype, self.input_shape, self.num_classes)
        except NasError:
            return inf
        return excess(self.limited(graph))

    def limited(self, graph: Graph) -> dict[str, tuple[int, Limits]]:
        """Return each constrained figure of a network, with its limits."""
        return limited(self.spec.constraints, graph)

    def sample(self, seed: int | np.random.Generator) -> Genotype:
        """Draw each decision uniformly from its options, until the constraints hold.

        Where they are so tight that draws hardly ever do, `nas.space.tight` finds the network. NasError if
        it finds none.
        """
        return self.draw(np.random.default_rng(seed))[0]

    def draw(self, rng: np.random.Generator) -> tuple[Genotype, bool]:
        """Draw as `sample` does, and tell whether `log_probability` holds for the network: not if a walk
        led to it."""
        for tries in range(1, MAX_TRIES + 1):
            genotype = self._noted(lambda _, options: pick(options, rng))
            if self.allows(genotype):
                return genotype, True
            if tries == PATIENCE and self._constrained.tight:
                break
        return self._constrained.draw(rng)

    def rare(self, rng: np.random.Generator) -> Iterator[tuple[Genotype, bool]]:
        """Yield networks as `draw` returns them, each once, that draws hardly ever find because of the
        constraints; nothing if draws find them."""
        return self._constrained.rare(rng)

    def nothing_fits(self) -> NasError:
        """Return the error of a space without a network, which says what would do."""
        return self._constrained.nothing_fits()

    @cached_property
    def _constrained(self) -> TightSpace:
        return TightSpace(self)

    def of_type(self, kind: str) -> SearchSpace:
        """Return the space of the networks whose blocks are all of one module type."""
        return SearchSpace(restricted(self.spec, kind), restricted(self.declared, kind))

    def suggest(self, trial: BaseTrial) -> Genotype:
        """Return the genotype that an Optuna trial decides on, each decision a categorical parameter.

        Raises optuna.TrialPruned where the constraints do not hold: Optuna asks once for each
        parameter of a trial, so there is no second draw.
        """
        genotype = self.build(trial.suggest_categorical)
        violations = self.violations(genotype)
        if violations:
            from optuna import TrialPruned

            raise TrialPruned(violations[0])
        return genotype

    def log_probability(self, genotype: Genotype) -> float:
        """Return the log probability, in nats, that `sample` draws the genotype, up to the constant that
        the constraints add."""
        domains = self.domains()
        return sum(log_share(domains[path], option) for path, option in self.decisions(genotype).items())

    def decisions(self, genotype: Genotype) -> Decisions:
        """Return the answers that build a genotype, in the order of the program.

        Raises NasError, naming the first that differs, if no answers do.
        """
        if genotype not in self._recent:
            self._note(genotype, read(self.spec, genotype))
        return dict(self._recent[genotype])

    @cached_property
    def _recent(self) -> dict[Genotype, Decisions]:
        """Decisions of recent genotypes, because a search asks for its parents again and again."""
        return {}

    def _note(self, genotype: Genotype, decisions: Decisions) -> None:
        if len(self._recent) >= MAX_RECENT:
            self._recent.clear()
        self._recent[genotype] = decisions

    def _noted(self, choose: Choose) -> Genotype:
        """Build a genotype and remember its decisions, which is quicker than reading them off it later."""
        decisions: Decisions = {}

        def answer(path: str, options: Sequence[Any]) -> Any:
            decisions[path] = value = choose(path, options)
            return value

        genotype = self.build(answer)
        self._note(genotype, decisions)
        return genotype

    def __contains__(self, genotype: Genotype) -> bool:
        try:
            self.decisions(genotype)
        except NasError:
            return False
        return not self.violations(genotype)

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Change one decision within the constraints, and redraw those that then have no answer.

        Raises NasError if the space has no other genotype that close.
        """
        decisions = self.decisions(genotype)
        domains = self.domains()
        moves = [(path, o) for path in decisions for o in domains[path] if o != decisions[path]]
        # in random order, weighted so that paths with many options are not preferred
        others = np.array([len(domains[path]) - 1 for path, _ in moves])
        for i in np.argsort(-(rng.random(len(moves)) ** others)):
            path, option = moves[i]
            mutant = self._noted(replay({**decisions, path: option}, rng))
            if mutant != genotype and self.allows(mutant):
                return mutant
        raise NasError("has no neighbour within the constraints", where=f"{self.name}: {genotype}")

    def crossover(self, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
        """Take each decision from one parent or the other, and redraw those that neither answers.

        Falls back on a mutant of `a` if 100 children break the constraints.
        """
        first, second = self.decisions(a), self.decisions(b)
        for _ in range(100):
            mixed = dict(first)
            for path in (*first, *second):
                if path in second and (path not in first or rng.random() < 0.5):
                    mixed[path] = second[path]
            child = self._noted(replay(mixed, rng))
            if self.allows(child):
                return child
        return self.mutate(a, rng)

    def domains(self) -> Mapping[str, tuple[Any, ...]]:
        """Return the options of every decision that can come up, by path."""
        return self._domains

    @cached_property
    def _domains(self) -> Mapping[str, tuple[Any, ...]]:
        return domains(self.spec)

    def size(self) -> Size:
        """Count the genotypes that the decisions build; exact if nothing is constrained."""
        return Size(count(self.spec), not self.spec.constraints)

    def enumerate(self, looked_at: int | None = None) -> Iterator[Genotype]:
        """Return an iterator over every genotype that the constraints allow, the first options first.

        looked_at: end after so many genotypes, whether allowed or not; None for all.
        """
        known = self._constrained.known
        if known is not None:
            return iter(known)
        every = islice(every_genotype(self.spec), looked_at)
        return (genotype for genotype in every if self.allows(genotype))

    def networks(self) -> frozenset[str] | None:
        """Return the digests of all different networks that the constraints allow; None in a space of more
        than 10,000 genotypes, unless its constraints are so tight that they were enumerated."""
        if self.size().count > COUNTED and self._constrained.known is None:
            return None
        return self._networks

    @cached_property
    def _networks(self) -> frozenset[str]:
        return frozenset(genotype.digest for genotype in self.enumerate())
