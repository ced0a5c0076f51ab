"""Generated source holds only code on the whitelist, whatever a stranger's genotype says."""

from __future__ import annotations

import ast
import copy
import json
import sys
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from nas.codegen.build import build, load_source
from nas.codegen.source import source
from nas.codegen.whitelist import MODULE_ATTRIBUTES, checked
from nas.errors import NasError
from nas.space.genotype import Genotype, expand
from nas.space.load import load_space

SPACE = load_space("all_modules")
GENOTYPE = SPACE.sample(3).to_dict()

HOSTILE = [
    "import os",
    "import torch.hub",
    "from os import system",
    "import torch as nn",
    "open('canary', 'w')",
    "class Network(nn.Module):\n    x = open('canary', 'w')",
    "def f(x=open('canary', 'w')):\n    return x",
    "@eval\ndef f():\n    return 1",
    "class Network(nn.Module, metaclass=f):\n    x = 1",
    "class Network(eval('canary')):\n    x = 1",
    "def f():\n    return __import__('os')",
    "def f():\n    return eval('1')",
    "def f():\n    return getattr(nn, 'Module')",
    "def f(x):\n    return x.__class__",
    "def f(self):\n    return self.__dict__",
    "def f(x):\n    return x.numpy().tofile('canary')",
    "def f():\n    return torch.load('canary')",
    "def f():\n    return torch.hub.load('canary', 'x')",
    "def f():\n    return F.torch.load('canary')",
    "def f():\n    return nn.modules.module.os.system('x')",
    "def f():\n    return nn.Module.__subclasses__()",
    "def f():\n    return super().__getattribute__('x')",
    "def f(torch):\n    return torch.cat",
    "def f(x):\n    torch = x\n    return torch.cat(x)",
    "def f(len):\n    return len(1)",
    "def range():\n    return 1",
    "class nn:\n    x = 1",
    "def f():\n    return lambda: 1",
    "def f(x):\n    return f'{x}'",
    "def f(x):\n    return (y := x)",
    "def f(x):\n    return 10 ** 10 ** 10",
    "def f(x):\n    return 1 << 99",
    "def f():\n    return [0] * 99999999999",
    "def f():\n    return {1: 2}",
    "def f():\n    while True:\n        return 1",
    "def f():\n    try:\n        return 1\n    except:\n        return 2",
    "def f():\n    with open('canary') as x:\n        return x",
    "async def f():\n    return 1",
    "def f():\n    yield 1",
    "def f():\n    global torch",
    "def f(x):\n    del x",
    "def f(x: open('canary', 'w')):\n    return x",
    "def f(x):\n    return b'bytes'",
    "def f(x:\n",
    "x = " + "(" * 500 + ")" * 500,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_code_off_the_whitelist_is_refused(text):
    plain = (
        "from torch import nn\n\n\nclass Network(nn.Module):\n    def forward(self, x):\n        return x\n"
    )
    assert checked(plain) == plain
    with pytest.raises(NasError, match="not allowed in generated source") as caught:
        checked(f"{plain}\n\n\n{text}\n")
    assert "line " in caught.value.where


def test_the_attributes_of_a_module_are_reserved():
    assert {name for name in dir(nn.Module()) if not name.startswith("_")} <= MODULE_ATTRIBUTES


def test_the_source_of_a_network_only_defines():
    kinds = {type(statement) for statement in ast.parse(source(expand(Genotype.from_dict(GENOTYPE)))).body}
    assert kinds <= {ast.Expr, ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef}


WORDS = [
    "forward",
    "class",
    "train",
    "torch",
    "nn",
    "self",
    "type",
    "len",
    "to",
    "lambda",
    "crop",
    "training",
]


def renamed(name):
    """Genotype of a chain whose last but one node has a name that the generator uses itself."""
    nodes = [
        {"name": "a", "inputs": ["stem"], "module": {"type": "plain", "width": 8}},
        {"name": name, "inputs": ["a"], "module": {"type": "plain", "width": 8}},
        {"name": "z", "inputs": ["a", name], "module": {"type": "plain", "width": 8}},
    ]
    stem, head = {"type": "conv", "width": 8}, {"type": "fcn", "skips": 1, "hidden": 32, "kernel": 1}
    return {"version": 1, "stem": stem, "nodes": nodes, "head": head, "taps": [name]}


@pytest.mark.parametrize("name", WORDS)
def test_words_of_python_and_torch_are_names_like_others(name):
    import torch

    network = build(Genotype.from_dict(renamed(name)), (3, 16, 16), 4)
    assert network.eval()(torch.zeros(1, 3, 16, 16)).shape == (1, 4, 16, 16)


@pytest.mark.parametrize("name", ["stem", "head", "head.x", "classifier", "input", "aux1", "x.join", "join"])
def test_parts_that_every_network_has_are_no_names(name):
    with pytest.raises(NasError, match="part of this name"):
        Genotype.from_dict(renamed(name))


# --- every field of a genotype, filled by a stranger

CANARY = "canary"
PAYLOADS = [
    f"'); open('{CANARY}', 'w'); ('",
    f'"""\nopen("{CANARY}", "w")\n"""',
    f"\nopen('{CANARY}', 'w')\n",
    f"__import__('pathlib').Path('{CANARY}').touch()",
    "{0.__class__}",
    "x\u2028import os",
    "\0",
    "\ud800",
]
values = st.one_of(
    st.sampled_from(PAYLOADS),
    st.text(max_size=40),
    st.text("\"'\\\n\r{}()[]#;:=%\u2028\u202e aA0._", max_size=20),
    st.integers(),
    st.floats(),
    st.none() | st.booleans(),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


def places(data, path=()):
    """The path of every value and of every key in a document."""
    yield path
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield from places(data[key], (*path, key))


def put(data, path, value):
    *inner, last = path
    for key in inner:
        data = data[key]
    data[last] = value


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_field_of_a_genotype_gets_code_into_the_source(tmp_path_factory, data):
    document = copy.deepcopy(GENOTYPE)
    for path in data.draw(st.lists(st.sampled_from(list(places(GENOTYPE))[1:]), min_size=1, max_size=3)):
        value = data.draw(values)
        with suppress(KeyError, TypeError, IndexError):  # an earlier draw has put something else above it
            put(document, path, value)
    here = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        with suppress(NasError):
            graph = expand(Genotype.from_json(json.dumps(document)))
            load_source(checked(source(graph)), "<stranger>")
        assert not list(here.iterdir())


# --- sizes are refused by figure


def wide(width, kernel=7, count=1):
    nodes = [
        {
            "name": f"n{at}",
            "inputs": [f"n{at - 1}" if at else "stem"],
            "module": {"type": "plain", "width": width, "kernel": kernel},
        }
        for at in range(count)
    ]
    head = {"type": "pool"}
    return {"version": 1, "stem": {"type": "conv", "width": width}, "nodes": nodes, "head": head}


def fractals(count):
    document = wide(16, count=count)
    for node in document["nodes"]:
        node["module"] = {"type": "fractal", "width": 16, "columns": 6}
    return document


def memory():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize(
    ("document", "shape", "message"),
    [
        (wide(10**9), (3, 32, 32), "must be an integer from 1 to 65536"),
        (wide(65_536), (3, 32, 32), "too large to build"),
        (wide(16), (3, 65_536, 65_536), "too large to build"),
        (wide(16), (3, 10**9, 32), "sizes must be integers"),
        (wide(16, count=1025), (3, 32, 32), "needs 1 to 1024 nodes"),
        (fractals(1024), (3, 32, 32), "more than 16,384 primitives"),
    ],
    ids=["width", "weights", "features", "image", "nodes", "primitives"],
)
def test_a_size_is_refused_before_it_is_built(document, shape, message):
    before, start = memory(), time.monotonic()
    with pytest.raises(NasError, match=message):
        build(Genotype.from_json(json.dumps(document)), shape, 10)
    assert memory() - before < 200_000 * (1 if sys.platform == "linux" else 1024)  # kB
    assert time.monotonic() - start < 60


def test_a_file_of_many_keys_is_read_in_no_time():
    keys = ", ".join(f'"{at}": 0' for at in range(80_000))
    start = time.process_time()
    with pytest.raises(NasError, match="two keys"):
        Genotype.from_json(f'{{{keys}, "1": 0}}')
    assert time.process_time() - start < 2
    with pytest.raises(NasError, match="unknown stem"):
        Genotype.from_json(json.dumps({**GENOTYPE, "stem": {"type": "x" * 900_000}}))
    assert time.process_time() - start < 2
