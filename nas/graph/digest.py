"""Digest of a network: equal exactly for isomorphic graphs of primitives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

from nas.graph.symmetry import certificate

Links = Sequence[tuple[Any, tuple[int, ...]]]
"""Operation and inputs of each primitive in topological order; inputs as in `Primitive`."""
MASK = (1 << 128) - 1
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
"""The multiplier of the 128-bit generator PCG (O'Neill, 2014)."""


def digest(links: Links, output: int) -> str:
    """Return 32 hex digits for the graph of these primitives, with the output at index `output`.

    Colours that are all different determine the graph. Where some are equal, the certificate of
    `nas.graph.symmetry` is added to them.
    """
    colours = _colours(links, output)
    whole = b"".join([colour.to_bytes(16, "big") for colour in sorted(colours)])
    if len(set(colours)) < len(colours):
        whole += certificate(colours, _edges(links))
    return hashlib.blake2b(whole, digest_size=16).hexdigest()


def _colours(links: Links, output: int) -> list[int]:
    """Colour every primitive by what it computes and by how that is used.

    A colour of 128 bits flows forward over the inputs, then backward over the consumers, so that a
    value used twice differs from the same value computed twice. Colours are mixed by multiplying
    and folding, which is quicker than a cryptographic hash of each; its two lines are repeated in
    place of a function, because the calls would dominate.
    """
    factor, mask = MULTIPLIER, MASK
    forward: list[int] = []
    for op, inputs in links:
        sources = [forward[i] if i >= 0 else -i for i in inputs]
        if len(sources) > 1 and op.commutative:
            sources.sort()
        colour = op.identity
        for source in sources:
            colour = ((colour ^ source) * factor + 1) & mask
            colour ^= colour >> 67
        forward.append(colour)
    uses: list[list[int]] = [[] for _ in links]
    for at in range(len(links) - 1, -1, -1):
        colour, used = ((forward[at] ^ (at == output)) * factor + 1) & mask, uses[at]
        colour ^= colour >> 67
        if len(used) > 1:
            used.sort()
        for use in used:
            colour = ((colour ^ use) * factor + 1) & mask
            colour ^= colour >> 67
        forward[at] = colour
        op, inputs = links[at]
        for slot, i in enumerate(inputs):
            if i >= 0:
                use = ((colour ^ (0 if op.commutative else slot)) * factor + 1) & mask
                uses[i].append(use ^ use >> 67)
    return forward


def _edges(links: Links) -> Iterator[tuple[int, int, int]]:
    """Yield source, target and slot of each edge; the slot is 0 where the order makes no difference."""
    for target, (op, inputs) in enumerate(links):
        for slot, source in enumerate(inputs):
            if source >= 0:
                yield source, target, 0 if op.commutative else slot


@lru_cache(maxsize=4096)
def identity(op: Any) -> int:
    """Return 128 bits that stand for an operation: its name and the fields that differ from their
    defaults, so that a field added later leaves old digests as they are."""
    parts = [type(op).__name__]
    for item in fields(op):
        value = getattr(op, item.name)
        if item.metadata.get("in_digest", True) and (item.default is MISSING or value != item.default):
            parts.append(f"{item.name}={value!r}")
    return int.from_bytes(hashlib.blake2b(",".join(parts).encode(), digest_size=16).digest(), "big")
