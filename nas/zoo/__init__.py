"""Published networks as genotypes, for warm starts and comparison."""

from functools import lru_cache

from nas.errors import NotFoundError, did_you_mean
from nas.zoo import (
    alexnet,
    densenet,
    fcn,
    fractalnet,
    googlenet,
    inception_v3,
    mobile,
    modern,
    resnet,
    resnext,
    squeezenet,
    vgg,
)
from nas.zoo.base import Entry

__all__ = ["Entry", "zoo", "zoo_entry"]


@lru_cache
def zoo() -> dict[str, Entry]:
    """Return every entry by name, in the order of publication."""
    families = (
        *(alexnet, vgg, googlenet, resnet, inception_v3, squeezenet, resnext),
        *(fractalnet, fcn, densenet, mobile, modern),
    )
    return {entry.name: entry for family in families for entry in family.ENTRIES}


def zoo_entry(name: str) -> Entry:
    """Return the entry of this name; NotFoundError suggests the nearest."""
    if name not in zoo():
        hint = f"{did_you_mean(name, zoo())}; nas zoo lists them"
        raise NotFoundError(f"no network {name!r} in the zoo", hint=hint)
    return zoo()[name]
