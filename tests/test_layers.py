"""Imports go downward only, and light modules stay light."""

import ast
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

import nas

ROOT = Path(nas.__file__).parent
LAYERS = [
    {"errors", "extras", "garbage", "plugins"},
    {"storage"},
    {"graph"},
    {"ops"},
    {"complexity", "draw", "layout", "modules", "estimate", "statistics", "power", "pareto", "yaml_file"},
    {"latency", "mps", "profile"},
    {"codegen"},
    {"node"},
    {"genotype_json"},
    {"genotype"},
    {"columns", "fold", "space_spec", "zoo"},
    {"space_program"},
    {"space"},
    {"projection", "trial", "zoo_weights"},
    {"forecast", "history", "older_rows", "study_rows"},
    {"study", "searchers", "fidelity"},
    {"shared_study"},
    {
        "augment",
        "checkpoint",
        "convolutions",
        "cuda",
        "data",
        "memory",
        "network",
        "recipe",
        "scoring",
        "training",
    },
    {"candidate", "evaluation", "local_evaluation"},
    {"ray_cluster", "ray_worker", "ray_evaluation"},
    {"run_config", "run_folder", "record", "rungs", "signals", "progress", "controller"},
    {"report", "full_training", "setup", "tracking"},
    {"analysis"},
    {"compare", "plots", "export"},
    {"html"},
    {"run"},
    {"plan", "launch", "doctor"},
    {"integrations", "replay", "reseed"},
    {"notebook"},
    {"cli"},
    {"__main__"},
]
"""From the lowest to the highest; modules of one layer may import each other without a cycle."""


def layer_of(name):
    found = [at for at, layer in enumerate(LAYERS) if name in layer]
    assert found, f"nas/{name} stands in no layer of tests/test_layers.py"
    return found[0]


def imports_of(path):
    """Modules of the package that a file imports when it runs, not those for types only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nas."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("nas."))


def test_imports_go_downward():
    edges = set()
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).with_suffix("").parts[0]
        if name != "__init__":
            edges |= {(name, used) for used in imports_of(path) if used != name}
    assert edges
    upward = sorted((a, b) for a, b in edges if layer_of(b) > layer_of(a))
    assert not upward
    same = {(a, b) for a, b in edges if layer_of(b) == layer_of(a)}
    assert not [edge for edge in same if edge[::-1] in same]


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
