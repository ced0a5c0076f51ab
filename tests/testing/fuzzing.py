"""Strategies that make bad input out of good, what is done with it, and what may come of it."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from nas.codegen.source import source
from nas.errors import NasError
from nas.graph.cost import cost
from nas.space.genotype import Genotype, expand
from nas.space.load import parse_space
from nas.visualization.network import layer_table

SECONDS = 2.0
"""Of work, not of waiting for a busy machine."""

words = st.sampled_from(
    [
        *(
            "",
            "by",
            "type",
            "none",
            "..",
            "../x",
            "/x",
            "\0",
            "\ud800",
            "\x1b[2J",
            "é" * 50,
            "\n",
            "True",
            "~",
        ),
        *(
            "residual",
            "fractal",
            "conv",
            "pool",
            "fcn",
            "genotype",
            "block",
            "stage1.block1",
            "stem",
            "stage1",
        ),
        *("1e999", "9" * 400, "0x" + "f" * 5000, "x" * 5000, "python:os:abort", "nan", "3x32x32"),
    ]
)
scalars = st.one_of(
    words,
    st.text(max_size=20),
    st.sampled_from([None, True, False, 0, 1, 2, 3, 4, 8, -1, 0.0, -0.0, 0.5, float("nan"), float("inf")]),
    st.sampled_from([64, 1024, 65_536, 65_537, 10**9, 2**31, 2**63, 10**400, 1e308]),
    st.integers(),
    st.floats(),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)

SYNTAX = [
    *(
        "!!int ",
        "!!bool ",
        "!!float ",
        "!!null ",
        "!!timestamp ",
        "!!binary ",
        "!!set ",
        "!!python/name:os ",
        "!x ",
    ),
    *(
        "&a ",
        "*a ",
        "? ",
        "- ",
        ": ",
        "| \n",
        "> \n",
        "<<: ",
        "=: ",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "# ",
        "\t",
    ),
    *(
        "[" * 60,
        "{" * 60,
        "- " * 60,
        "1:" * 99,
        "0x1",
        "0b1",
        "0o7",
        "1_0",
        ".inf",
        ".nan",
        "2001-01-01",
        "2001-13-01",
    ),
    *(
        "null",
        "~",
        "yes",
        "Infinity",
        "NaN",
        "-0",
        "1E400",
        '"',
        "'",
        "\\u0000",
        "\\ud800",
        "\\",
        ",",
        "true",
    ),
]


def open_space(text: str) -> None:
    """All that is done with a space before anything is sampled."""
    space = parse_space(text, "space.yaml")
    assert parse_space(space.to_yaml(), "again").spec == space.spec
    str(space.size().count)
    genotype = space.build(lambda path, options: options[0])
    space.violations(genotype)
    space.decisions(genotype)


def open_genotype(text: str) -> None:
    """All that is done with a genotype before it is built."""
    genotype = Genotype.from_json(text, "genotype.json")
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert str(genotype).isprintable()
    assert len(genotype.digest) == 32
    graph = expand(genotype, auxiliary=True)
    cost(graph)
    layer_table(graph)
    source(graph)


@contextmanager
def harmless(folder: Path) -> Iterator[None]:
    """Nothing but a NasError of exit code 2 or 3 comes out, soon, and no file appears."""
    before, start = set(folder.rglob("*")), time.process_time()
    try:
        yield
    except NasError as error:
        if error.exit_code not in (2, 3) or len(str(error)) > 20_000:
            raise AssertionError(str(error)[:1000]) from error
    assert time.process_time() - start < SECONDS
    assert set(folder.rglob("*")) == before


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document."""
    yield path
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield from places(data[key], (*path, key))


@st.composite
def changed(draw: Any, documents: list[Any], most: int = 3) -> Any:
    """One of the documents with values put in the place of others, added, removed, renamed or swapped."""
    data = {"": copy.deepcopy(draw(st.sampled_from(documents)))}
    for _ in range(draw(st.integers(1, most))):
        found = list(places(data))[2:]
        deep = draw(st.sampled_from([99, 99, 3, 2]))  # so that the few at the top have their turn
        *inner, last = draw(st.sampled_from([path for path in found if len(path) <= deep] or [("",)]))
        parent: Any = data
        for key in inner:
            parent = parent[key]
        match draw(st.integers(0, 6)):
            case 0 if inner:
                del parent[last]
            case 1 if isinstance(parent, dict) and inner:
                parent[draw(words)] = parent.pop(last)
            case 2 if isinstance(parent, dict) and inner:
                parent[draw(words)] = draw(values)
            case 3 if isinstance(parent, list):
                parent.extend(copy.deepcopy([parent[last]]) * draw(st.sampled_from([1, 2, 70, 1025])))
            case 4:
                parent[last] = [parent[last]]
            case 5:
                *above, other = draw(st.sampled_from(found))
                taken: Any = data
                for key in above:
                    taken = taken[key] if isinstance(taken, dict) and key in taken else {}
                if isinstance(taken, dict):
                    parent[last] = copy.deepcopy(taken.get(other))
            case _:
                parent[last] = draw(values)
    return data[""]


@st.composite
def torn(draw: Any, texts: list[str]) -> str:
    """One of the texts with parts of it cut, doubled, turned round, or replaced."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        tokens = re.split(r"(\W)", text)
        start = draw(st.sampled_from(range(len(tokens))))
        end = start + draw(st.sampled_from([0, 1, 1, 1, 2, 3, 9, 99]))
        part = "".join(tokens[start:end])
        kinds = [st.sampled_from(tokens), st.sampled_from(SYNTAX), words, st.sampled_from(["", part * 2])]
        insert = draw(st.one_of(kinds))
        text = "".join([*tokens[:start], insert, *tokens[end:]])
    return text
