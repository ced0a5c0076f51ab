"""What the harnesses of this folder share: half the inputs are raw text, half are good documents
with values of them replaced, so that the fuzzer gets past the parser."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

SECONDS = 2.0
"""Of work that an input may take, not of waiting for a busy machine."""
ROOT = Path(__file__).parent.parent.parent
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, 4, 8, -1, 0.5, 1e308, float("inf"), 64, 1024, 65_536, 65_537, 2**63),
    *("", "by", "type", "none", "A", "B", "..", "\0", "\ud800", "add", "mean", "concat", "genotype", "stem"),
    *("conv", "pool", "fcn", "map", "plain", "residual", "fractal", "inception", "bottleneck", "auxiliary"),
    *([], {}, [1], {"by": "norm"}, {"type": "pool"}, [[]], "9" * 400, 10**400),
]


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document, the document's own left out."""
    keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    return [found for key in keys for found in ((*path, key), *places(data[key], (*path, key)))]


def edited(provider: Any, documents: list[Any]) -> Any:
    """One of the documents, with some of its values replaced, copied from elsewhere or removed."""
    data = copy.deepcopy(provider.PickValueInList(documents))
    for _ in range(provider.ConsumeIntInRange(1, 6)):
        found = places(data)
        if not found:
            break
        *inner, last = provider.PickValueInList(found)
        parent = data
        for key in inner:
            parent = parent[key]
        kind = provider.ConsumeIntInRange(0, 7)
        if kind == 0:
            del parent[last]
        elif kind == 1 and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
        elif kind == 2:
            parent[last] = provider.ConsumeUnicodeNoSurrogates(12)
        elif kind == 3:
            parent[last] = provider.ConsumeIntInRange(-2, 300)
        elif kind == 4 and isinstance(parent, dict):
            parent[provider.ConsumeUnicodeNoSurrogates(12)] = parent.pop(last)
        elif kind == 5:
            other: Any = data
            for key in provider.PickValueInList(found):
                other = other[key]
            parent[last] = copy.deepcopy(other)
        else:
            parent[last] = copy.deepcopy(provider.PickValueInList(VALUES))
    return data


def fuzz(open_text: Callable[[str], None], documents: list[Any], write: Callable[[Any], str]) -> None:
    """Run libFuzzer with the arguments of the command line; what waits without work ends in a minute."""
    from nas.errors import NasError

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        raw = provider.ConsumeBool()
        text = provider.ConsumeUnicode(len(data)) if raw else write(edited(provider, documents))
        start = time.process_time()
        try:
            open_text(text)
        except NasError as error:
            if error.exit_code not in (2, 3):
                raise
        assert time.process_time() - start < SECONDS

    atheris.Setup([sys.argv[0], "-timeout=60", "-rss_limit_mb=4096", *sys.argv[1:]], one)
    atheris.Fuzz()
