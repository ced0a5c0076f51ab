"""Imports go downward only, light modules stay light, and no private name of a dependency is used."""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from testing.imports import circles, imports_of, private_names, room, upward

import nas

ROOT = Path(nas.__file__).parent
ROOMS = [
    "__main__",
    "cli",
    "testing",
    "integrations",
    "reports",
    "visualization",
    "controller",
    "exporters",
    "analysis",
    "searchers",
    "schedulers",
    "study",
    "surrogate",
    "training",
    "zoo",
    "codegen",
    "data",
    "space",
    "recipe",
    "modules",
    "graph",
    "formatting",
    "text_table",
    "files",
    "plugins",
    "pareto",
    "stats",
    "recipe",
    "errors",
]
"""From the top floor down: a room imports those below it, and no room above it."""


def between_rooms(root=ROOT):
    """Imports but those of the package's own names: `nas.__version__` may be asked for everywhere."""
    return {each for each in imports_of(root) if room(each.importer) and room(each.imported)}


def test_every_room_has_its_floor():
    rooms = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__"} == set(ROOMS)


def test_imports_go_downward():
    assert len(between_rooms()) > 500
    assert upward(between_rooms(), ROOMS) == []


def test_no_circles():
    assert circles(between_rooms()) == []


def test_no_private_names_of_dependencies():
    assert private_names(ROOT) == []


@pytest.mark.parametrize(
    "line",
    [
        "import nas.cli",
        "import nas.cli.search as s",
        "from nas import cli",
        "from nas.cli import search",
        "from nas.cli.search import command",
        "from .. import cli",
        "from ..cli import search",
        "def f():\n    from nas import cli",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nas.cli.search import command",
        "import importlib\nimportlib.import_module('nas.cli.search')",
    ],
)
def test_an_upward_import_of_any_form_is_found(tmp_path, line):
    injected = copy_with(tmp_path, "graph/injected.py", line)
    assert [text.partition(" imports ")[0] for text in upward(between_rooms(injected), ROOMS)] == [
        "nas.graph.injected"
    ]


@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_circle_of_any_length_is_found(tmp_path, length):
    root = copy_with(tmp_path, "graph/ring0.py", "import nas.graph.ring1")
    for at in range(1, length):
        (root / f"graph/ring{at}.py").write_text(f"from nas.graph import ring{(at + 1) % length}")
    assert circles(between_rooms(root)) == [[f"nas.graph.ring{at}" for at in range(length)]]


@pytest.mark.parametrize(
    "line",
    [
        "from optuna.storages._rdb import models",
        "import ray._private.worker",
        "import torch\ntorch._C",
        "from optuna import storages\nstorages._rdb.models",
        "def f():\n    import numpy as np\n    return np.linalg._umath_linalg",
    ],
)
def test_a_private_name_of_a_dependency_is_found(tmp_path, line):
    found = private_names(copy_with(tmp_path, "graph/injected.py", line))
    assert found
    assert all("graph/injected.py" in text for text in found)


def copy_with(folder, file, text):
    """A copy of the package with one more file."""
    root = shutil.copytree(ROOT, folder / "nas", ignore=shutil.ignore_patterns("__pycache__"))
    (root / file).write_text(text)
    return root


def loaded_after(statement):
    script = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_nas_is_light():
    assert not loaded_after("import nas") & {"torch", "ray", "optuna", "pandas", "numpy", "networkx"}


def test_sampling_needs_neither_torch_nor_ray():
    assert not loaded_after("import nas; nas.load_space('all_modules').sample(0).digest") & {
        "torch",
        "ray",
        "optuna",
    }


def test_python_m_runs_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "nas", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"nas {nas.__version__}\n"


def test_metadata_of_the_distribution():
    """Another project owns the name `nas` on the package index; command and import keep it."""
    about = metadata.metadata("nas-modules")
    assert about["License-Expression"] == "MIT"
    assert metadata.version("nas-modules") == nas.__version__
    assert (ROOT / "py.typed").is_file()
    torch = next(Requirement(text) for text in metadata.requires("nas-modules") if text.startswith("torch"))
    assert Version("2.14.1") in torch.specifier
