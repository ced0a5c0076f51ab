"""Structured fields of modules: small immutable values with an inside, such as the wiring of a cell.

A `choice` field holds one of a few options. A `structure` field holds a value that a program of decisions
builds, as a search space builds a genotype. So sampling, mutation, crossover, enumeration and the features of
models and analyses see its decisions by their paths, like those of any other field.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar, Self

Bounds = Mapping[str, Sequence[Any]]
"""Options by key, as a space file lists them for a structured field."""
Choose = Callable[[str, Sequence[Any]], Any]


class Weighted(tuple[Any, ...]):
    """Options with a prior: the probability of each in a draw.

    Without weights, options are drawn uniformly.
    """

    weights: tuple[float, ...]
    cumulated: tuple[float, ...]

    def __new__(cls, options: Sequence[Any], weights: Sequence[float]) -> Self:
        made = super().__new__(cls, options)
        made.weights, made.cumulated = tuple(weights), tuple(accumulate(weights))
        return made


class Structure(ABC):
    """Value of a structured field. Subclasses are frozen dataclasses.

    keys: the keys that a space file gives for the field, each with every option that it may list;
    optional: keys that it may leave out.
    figures: names of the figures that constraints of a space can limit.
    """

    keys: ClassVar[Bounds]
    optional: ClassVar[tuple[str, ...]] = ()
    figures: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def build(cls, bounds: Bounds, choose: Choose) -> Self:
        """Run the program of decisions: `choose(path, options)` answers each.

        A path has the same options wherever it comes up; what they depend on stands in brackets at its end.
        """

    @abstractmethod
    def answers(self) -> Mapping[str, Any]:
        """Return the answers that build the value, by path without brackets."""

    @classmethod
    @abstractmethod
    def count(cls, bounds: Bounds) -> int:
        """Count the different sequences of answers."""

    @classmethod
    @abstractmethod
    def read(cls, text: object) -> Self:
        """Return the value of a text that `str` wrote. NasError for any other."""

    @classmethod
    def problem(cls, bounds: Mapping[str, Any]) -> str:
        """Return what is wrong with keys that belong together, as a space file has them, or ""."""
        return ""

    @abstractmethod
    def measure(self) -> Mapping[str, int]:
        """Return the `figures` of the value."""


def structure(kind: type[Structure], default: str) -> Any:
    """Declare a structured field. `default` is the text of its default."""
    return dataclasses.field(default=kind.read(default), metadata={"structure": kind})
