"""Searchers by name: those that come along, and those of plug-ins."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from testing.paths import ROOT
from testing.toy_space import ToySpace, toy_trial

from nas.cli.search import command
from nas.controller.config import prepare
from nas.errors import NasError
from nas.plugins import load_plugin
from nas.searchers import SEARCHERS, design_names, make_searcher, register_searcher, searcher_names
from nas.searchers.base import propose
from nas.study.history import History

PLUGIN = """
from nas.searchers import register_searcher
from nas.searchers.base import Searcher
from nas.study.trial import Proposal


class Enumeration(Searcher):
    name = "enumeration"

    def ask(self, space, history, *, seed, number, scheduler):
        new = (genotype for genotype in space.enumerate() if not history.seen(genotype.digest))
        return [Proposal(genotype, self.name) for genotype in new][:1]


register_searcher("enumeration", Enumeration)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A searcher that one file adds, forgotten after the test."""
    monkeypatch.setattr("nas.searchers.SEARCHERS", SEARCHERS.copy())
    path = tmp_path / f"plugin_{tmp_path.name}.py"
    path.write_text(PLUGIN)
    load_plugin(path)


@pytest.mark.usefixtures("plugin")
class TestPlugin:
    def test_it_is_known_by_name_like_any_other(self):
        assert "enumeration" in searcher_names()
        assert "enumeration" in CliRunner().invoke(command, ["--help"]).output
        with pytest.raises(NasError, match="unknown searcher") as caught:
            make_searcher("enumeratoin", ("error",))
        assert "did you mean 'enumeration'" in caught.value.hint

    def test_it_proposes_beside_the_uniform_share(self):
        space, history = ToySpace(), History()
        searcher = make_searcher("enumeration", ("error", "flops"))
        for number in range(10):
            proposal = propose(searcher, space, history, seed=0, number=number)
            history.record(toy_trial(space, number, proposal))
        proposers = [trial.proposal.proposer for trial in history.trials]
        assert proposers == [*["enumeration"] * 4, "random"] * 2
        assert [trial.digest for trial in history.trials[:2]] == ["0-0-0", "0-0-1"]

    def test_a_search_is_prepared_with_it(self):
        config, _ = prepare("residual_vs_fractal", searcher="enumeration", data="digits?limit=60")
        assert config.searcher.name == "enumeration"

    def test_a_name_that_is_taken_is_refused(self):
        with pytest.raises(NasError, match="'enumeration' exists already"):
            register_searcher("enumeration", SEARCHERS["random"])


def test_every_searcher_is_named_in_the_help():
    words = CliRunner().invoke(command, ["--help"]).output.replace("\n", " ").replace(",", " ").split()
    assert {*searcher_names(), *design_names()} <= {word.strip(";.") for word in words}


def test_designs_plan_every_trial_and_the_others_none():
    assert design_names() == ["balanced", "paired"]
    assert searcher_names()[:3] == ["hypervolume", "evolution", "random"]
    for name in (*searcher_names(), *design_names()):
        assert make_searcher(name, ("error",)).plans_every_trial == (name in design_names())
    assert make_searcher("paired", ("error",), 3).repeats == 3
    assert make_searcher("evolution", ("error",)).repeats is None


def test_no_code_asks_whether_a_searcher_is_a_design():
    sources = [path.read_text() for path in (ROOT / "nas").rglob("*.py")]
    assert not any("isinstance" in line and "Design" in line for text in sources for line in text.split("\n"))
