"""The paired design: every module type in the same randomly drawn contexts.

A block is a context with all types at the same shape (E1) and again at equal FLOPs (E2), each trained with
the same seeds, so that differences within a block are due to the type. Where the space searches learning rate
or weight decay, each network of a block is trained under every recipe: the grid that a grade asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import NasError
from nas.graph.cost import cost
from nas.modules import MODULE_TYPES
from nas.recipe import fields_text
from nas.searchers.base import SearcherSettings
from nas.searchers.designs.base import TRIES, Context, Design, module_types
from nas.searchers.designs.flops_matching import at_flops
from nas.space.candidate import under
from nas.space.genotype import Genotype, expand
from nas.space.spec import options_of
from nas.stats import power
from nas.study.trial import Proposal

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

ARMS = ("same_shape", "equal_flops")
MIN_CONTEXTS = 20
"""Contexts that a claim needs, and that are planned by default."""

REFERENCE = "plain"
"""Module type whose network of the same shape sets the budget of a context, whether it takes part or not."""

SUPPOSED_SD = (0.01, 0.02)
"""Standard deviations of a paired difference of errors for which a plan states the detectable effect."""

SEED_STREAM, CONTEXT_STREAM, RARE_STREAM = 2, 3, 5
"""Keep the random generators of seeds and contexts apart from those of other searchers."""

GRID = ("lr", "weight_decay")
"""Fields of the recipe that are crossed with contexts and types."""

FIELDS_DRAWN = 4
"""Draws of the fields that one type alone has, around each network that draws hardly ever find."""


@dataclass(frozen=True)
class Block:
    """A context with its networks as (type, arms, genotype).

    One network stands for both arms if it has the budget's FLOPs already. draws: contexts drawn to find this
    one; budget: FLOPs of the reference network. uniform: whether the context is a random draw."""

    number: int
    draws: int
    budget: int
    networks: tuple[tuple[str, tuple[str, ...], Genotype], ...]
    uniform: bool = True


class Paired(Design):
    """Plans block after block, with `repeats` training seeds per network."""

    name = "paired"

    def __init__(self, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self.repeats: int = settings.repeats
        self._key: tuple[SearchSpace, int] | None = None
        self._blocks: list[Block] = []
        self._recipes: Sequence[Mapping[str, Any]] = ({},)
        self._drawn: Iterator[Block] = iter(())

    def proposal(self, space: SearchSpace, seed: int, number: int) -> Proposal | None:
        first, context = 0, 0
        while (block := self._block(space, seed, context)) is not None:
            size = self._trainings(block)
            if number < first + size:
                rest, index = divmod(number - first, len(block.networks))
                repeat, recipe = divmod(rest, len(self._recipes))
                return self._proposal(block, seed, repeat, index, self._recipes[recipe])
            first, context = first + size, context + 1
        return None

    def default_trials(self, space: SearchSpace, seed: int) -> int:
        if self._block(space, seed, 0) is None:
            types = ", ".join(module_types(space))
            message = f"no shape lets {types} meet the constraints, also with widths for equal FLOPs"
            hint = "nas spaces NAME --input SIZE shows which limits bind; give wider ones"
            raise NasError(message, where=space.name, hint=hint)
        self._block(space, seed, MIN_CONTEXTS - 1)
        return sum(map(self._trainings, self._blocks[:MIN_CONTEXTS]))

    def _trainings(self, block: Block) -> int:
        return len(block.networks) * len(self._recipes) * self.repeats

    def summary(self, space: SearchSpace, seed: int, trials: int) -> dict[str, Any]:
        types = module_types(space)
        contexts, left, block = 0, trials, self._block(space, seed, 0)
        while block is not None and left >= self._trainings(block):
            left -= self._trainings(block)
            contexts += 1
            block = self._block(space, seed, contexts)
        draws = sum(block.draws for block in self._blocks[:contexts])
        figures = {
            "design": self.name,
            "types": list(types),
            "contexts": contexts,
            "seeds": self.repeats,
            "acceptance": contexts / draws if draws else None,
            "detectable": _detectable(contexts, len(types)),
        }
        if len(self._recipes) > 1:
            figures["recipes"] = [dict(recipe) for recipe in self._recipes]
        return figures | {"lines": _lines(figures, left if block is not None else 0)}

    def _proposal(
        self, block: Block, seed: int, repeat: int, index: int, recipe: Mapping[str, Any]
    ) -> Proposal:
        kind, arms, genotype = block.networks[index]
        stream = np.random.default_rng([seed, block.number, repeat, SEED_STREAM])
        design = {
            "design": self.name,
            "context": block.number,
            "type": kind,
            "arms": list(arms),
            "repeat": repeat,
            "seed": int(stream.integers(2**31)),
            "draws": block.draws,
            "reference": REFERENCE,
            "budget": block.budget,
        }
        return Proposal(under(genotype, recipe), self.name, uniform=block.uniform, design=design)

    def _block(self, space: SearchSpace, seed: int, context: int) -> Block | None:
        """Return the block of a context, None if the space has no more."""
        if self._key is None or self._key[0] is not space or self._key[1] != seed:
            self._recipes = _recipes(space)
            self._key, self._blocks = (space, seed), []
            self._drawn = _blocks(space.without_recipe() if space.spec.recipe else space, seed)
        while len(self._blocks) <= context:
            block = next(self._drawn, None)
            if block is None:
                return None
            self._blocks.append(block)
        return self._blocks[context]


def _recipes(space: SearchSpace) -> list[dict[str, Any]]:
    """Return every recipe of the space, the usual one first; NasError for fields that no grade asks for."""
    module_types(space)  # refuses types with recipes of their own
    searched = space.spec.recipe_decisions
    if others := [name for name in searched if name not in GRID]:
        message = f"the paired design crosses {' and '.join(GRID)} alone, not {others[0]}"
        hint = f"give {others[0]} one value, or choose --searcher balanced, which draws a recipe per network"
        raise NasError(message, where=f"{space.name}: recipe", hint=hint)
    options = [options_of(value, {}) for value in searched.values()]
    recipes = [dict(zip(searched, chosen, strict=True)) for chosen in product(*options)]
    return sorted(recipes, key=lambda recipe: not recipe.items() <= space.spec.usual_recipe.items())


def _blocks(space: SearchSpace, seed: int) -> Iterator[Block]:
    """Yield blocks in the order of drawing, no two of the same networks."""
    types, seen = module_types(space), set[tuple[str, ...]]()
    number = draws = 0
    attempts = count()
    drawn = ((Context(space, types, seed, CONTEXT_STREAM, attempt), True) for attempt in attempts)
    for contexts in (drawn, _rare_contexts(space, types, seed, attempts)):
        for context, uniform in contexts:
            draws += 1
            shaped = [context.network(kind) for kind in types]
            digests = tuple(genotype.digest for genotype in shaped)
            matched = None
            if digests not in seen and not any(map(space.violations, shaped)):
                seen.add(digests)
                budget = reference_flops(shaped[0], space)
                matched = _matched(space, shaped, budget)
            if matched is not None:
                yield Block(number, draws, budget, tuple(_networks(types, shaped, matched)), uniform)
                number, draws = number + 1, 0
            elif contexts is drawn and draws == TRIES:
                break


def _rare_contexts(
    space: SearchSpace, types: Sequence[str], seed: int, attempts: Iterator[int]
) -> Iterator[tuple[Context, bool]]:
    """Yield contexts of networks that draws hardly ever find, and whether they are random draws."""
    for index, kind in enumerate(types):
        for genotype, uniform in space.of_type(kind).rare(np.random.default_rng([seed, RARE_STREAM, index])):
            for _ in range(FIELDS_DRAWN):
                known = genotype, kind
                yield Context(space, types, seed, CONTEXT_STREAM, next(attempts), known=known), uniform


def reference_flops(genotype: Genotype, space: SearchSpace) -> int:
    """Return the FLOPs of the network of the same shape whose blocks are all of the reference type.

    They are the budget of a context at equal FLOPs, which so depends on no type that takes part.
    """
    reference: Any = MODULE_TYPES[REFERENCE]
    nodes = []
    for node in genotype.nodes:
        module: Any = node.module
        nodes.append(replace(node, module=reference(width=module.width, stride=module.stride)))
    same_shape = replace(genotype, nodes=tuple(nodes))
    return cost(expand(same_shape, space.input_shape, space.num_classes)).flops


def _matched(space: SearchSpace, shaped: Sequence[Genotype], budget: int) -> list[Genotype] | None:
    """Return the networks scaled to the FLOPs of the budget; None if one cannot be."""
    matched = []
    for genotype in shaped:
        scaled = at_flops(genotype, budget, space.input_shape, space.num_classes)
        if scaled is None or space.violations(scaled):
            return None
        matched.append(scaled)
    return matched


def _networks(
    types: Sequence[str], shaped: Sequence[Genotype], matched: Sequence[Genotype]
) -> Iterator[tuple[str, tuple[str, ...], Genotype]]:
    for kind, genotype, scaled in zip(types, shaped, matched, strict=True):
        yield kind, ARMS if genotype == scaled else ARMS[:1], genotype
    for kind, genotype, scaled in zip(types, shaped, matched, strict=True):
        if genotype != scaled:
            yield kind, ARMS[1:], scaled


def _detectable(contexts: int, types: int) -> list[dict[str, float]]:
    """Return the effects that so many contexts detect, alone and after Holm over all contrasts."""
    tests = types * (types - 1) // 2
    rows = [
        {
            "sd": sd,
            "effect": power.detectable(contexts, sd, two_tests=True),
            "after_holm": power.detectable(contexts, sd, tests, two_tests=True),
        }
        for sd in SUPPOSED_SD
    ]
    return [row for row in rows if all(map(isfinite, row.values()))]


def _lines(figures: dict[str, Any], left: int) -> list[str]:
    seeds = f"{figures['seeds']} training seed{'s' * (figures['seeds'] > 1)}"
    types = ", ".join(figures["types"])
    lines = [f"{figures['contexts']} contexts x {types}, at the same shape and at equal FLOPs, {seeds}"]
    if "recipes" in figures:
        first = fields_text(figures["recipes"][0])
        lines.append(f"each under {len(figures['recipes'])} recipes; {first} is that of the study")
    if left:
        lines.append(f"the last {left} trainings do not complete a context")
    if figures["contexts"] < MIN_CONTEXTS:
        lines.append(f"fewer than {MIN_CONTEXTS} contexts support no claim; raise --trials")
    if figures["seeds"] < 2:
        lines.append("one training seed per network leaves seed noise unknown; --seeds 2 measures it")
    if figures["acceptance"] is not None:
        lines.append(f"{figures['acceptance']:.0%} of the contexts drawn meet constraints and equal FLOPs")
    for row in figures["detectable"]:
        lines.append(
            f"if paired differences have an SD of {100 * row['sd']:g} points, 4 of 5 studies detect an "
            f"effect of {100 * row['effect']:.2f} points, or of {100 * row['after_holm']:.2f} points after "
            "Holm's correction; failures, untuned recipes and short schedules lower the grade"
        )
    return lines
