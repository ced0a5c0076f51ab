"""Entries of the zoo, and helpers that write their chains of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nas.graph.graph import Shape
from nas.modules import Head, Module, Stem
from nas.space.genotype import INPUT_NODE, Auxiliary, Genotype, Node

IMAGENET: Shape = (3, 224, 224)
CIFAR: Shape = (3, 32, 32)


@dataclass(frozen=True)
class Entry:
    """Published network: its genotype, with the images and classes of its paper."""

    name: str
    build: Callable[[], Genotype]
    input_shape: Shape
    num_classes: int
    about: str


def chain(
    stem: Stem | None,
    modules: Iterable[tuple[str, Module]],
    head: Head,
    taps: tuple[str, ...] = (),
    auxiliary: tuple[Auxiliary, ...] = (),
) -> Genotype:
    """Return the genotype of named modules, one after the other."""
    nodes, before = [], INPUT_NODE
    for name, module in modules:
        nodes.append(Node(name, module, (before,)))
        before = name
    return Genotype(stem, tuple(nodes), head, taps, auxiliary)


def stages(
    depths: Iterable[int], make: Callable[[int, int], Module], first_stride: int = 1
) -> list[tuple[str, Module]]:
    """Return named blocks by stage. `make(stage, stride)` makes one, stages counted from 0; the first
    block of each stage but the first has stride 2."""
    return [
        (
            f"stage{stage + 1}.block{block + 1}",
            make(stage, (2 if stage else first_stride) if not block else 1),
        )
        for stage, depth in enumerate(depths)
        for block in range(depth)
    ]
