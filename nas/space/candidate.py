"""Candidates: networks under fields of the training recipe, of spaces that search these too.

The recipe is no part of the network. Graph, costs, code and exported folders are those of `network`; the
digest of a candidate, by which trials are told apart, is that of the network and its recipe together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from nas.recipe import Recipe, adjusted, canonical, check_option, fields_text
from nas.space.genotype import Genotype


@dataclass(frozen=True)
class Candidate(Genotype):
    """A genotype with the fields of the recipe that it is trained under, by name; made by `under`."""

    recipe: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def network(self) -> Genotype:
        """The genotype alone."""
        return Genotype(self.stem, self.nodes, self.head, self.taps, self.auxiliary)

    @cached_property
    def digest(self) -> str:
        """32 hex digits, equal exactly for isomorphic networks under equal recipes."""
        both = self.network.digest + json.dumps(self.recipe)
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()

    def __str__(self) -> str:
        """One line: `conv 16 | residual 16 | pool @ lr=0.1,flip=false`."""
        return f"{self.network} @ {fields_text(dict(self.recipe))}"


def under(network: Genotype, recipe: Mapping[str, Any]) -> Genotype:
    """Return a network under fields of the recipe; the network itself without any.

    NasError names a field that is unknown, out of bounds, or the same for all trainings of a search.
    """
    if not recipe:
        return network
    checked = tuple(checked_recipe(recipe).items())
    return Candidate(network.stem, network.nodes, network.head, network.taps, network.auxiliary, checked)


def checked_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of the recipe by name, in their order and types; NasError as `under` raises it."""
    return dict(_checked(tuple(sorted((name, type(value), value) for name, value in recipe.items()))))


def recipe_of(genotype: Genotype) -> dict[str, Any]:
    """Return the fields of the recipe that a genotype is trained under; {} for a network alone."""
    return dict(genotype.recipe) if isinstance(genotype, Candidate) else {}


def trained_under(genotype: Genotype, recipe: Recipe) -> Recipe:
    """Return the recipe that a genotype is trained with, given that of its search."""
    own = recipe_of(genotype)
    return adjusted(recipe, own) if own else recipe


@lru_cache(maxsize=1024)
def _checked(recipe: tuple[tuple[str, type, Any], ...]) -> tuple[tuple[str, Any], ...]:
    for name, _, value in recipe:
        check_option(name, value)
    return tuple((name, canonical(name, value)) for name, _, value in recipe)
