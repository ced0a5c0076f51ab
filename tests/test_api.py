"""The names at the top of the package, as the README uses them."""

import doctest
import inspect
import io
import re

import pytest
from testing.paths import ROOT
from testing.small_spaces import TINY

import nas


def test_from_space_to_source():
    space = nas.load_space("residual_vs_fractal")
    genotype = space.sample(seed=0)
    assert nas.Genotype.from_json(genotype.to_json()) == genotype
    graph = nas.expand(genotype, (3, 32, 32), 10)
    figures = nas.cost(graph)
    assert figures.params > 0
    assert figures.flops > 0
    assert re.search(r"^class (Res|Fractal)\w*Net\d+\(nn.Module\):$", nas.source(graph), re.MULTILINE)
    network = nas.build(genotype, (3, 32, 32), 10)
    assert sum(p.numel() for p in network.parameters()) == figures.params


def test_every_name_is_found():
    for name in nas.__all__:
        assert callable(getattr(nas, name))


FUNCTIONS = sorted(name for name in nas.__all__ if not isinstance(getattr(nas, name), type))


def test_every_public_function_explains_itself():
    """Each parameter one by one, with what is returned and raised."""
    for name in FUNCTIONS:
        function = getattr(nas, name)
        sections = inspect.getdoc(function).split("\n\n")
        explained = next(text for text in sections if text.startswith("Args:\n"))
        for parameter in inspect.signature(function).parameters:
            assert f"\n    {parameter}: " in explained, f"nas.{name} does not explain {parameter}"
        assert any(text.startswith("Returns:\n") for text in sections), name


def test_the_reference_page_lists_every_public_name():
    page = (ROOT / "docs" / "reference" / "python.md").read_text().splitlines()
    for name in nas.__all__:
        public = getattr(nas, name)
        assert f"::: {public.__module__}.{public.__qualname__}" in page, name


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """The folder in which examples run: it holds the run `first`, of six trials."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "tiny.yaml").write_text(TINY)
    settings = {"data": "digits?limit=150", "trials": 6, "epochs": 1, "workers": 0}
    nas.search(folder / "tiny.yaml", results_dir=folder / "results", name="first", **settings).study.close()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_every_public_function_runs(name, finished_run, monkeypatch):
    monkeypatch.chdir(finished_run)
    function = getattr(nas, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert len(example.examples) >= 2
    told = io.StringIO()
    doctest.DocTestRunner().run(example, out=told.write)
    assert not told.getvalue(), told.getvalue()
