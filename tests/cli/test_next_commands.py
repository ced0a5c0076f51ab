"""What a search prints under "Next", and how to continue it, is run as it is printed."""

from __future__ import annotations

import re
import shlex
import sys
from html import unescape

import numpy as np
import pytest
from testing.small_spaces import TINY

import nas
from nas import plugins
from nas.cli import run as command
from nas.modules import Module
from nas.study.commands import resume_command

pytestmark = pytest.mark.slow

OWN = """
import numpy as np


def saturation(network, dataset):
    return float(sum(p.detach().abs().mean() for p in network.parameters()))


def images(seed=0):
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (80, 8, 8, 1), dtype=np.uint8), np.arange(80) % 4
"""
PLUGIN = """
from dataclasses import dataclass

from nas.modules.plain import Plain


@dataclass(frozen=True)
class Mine(Plain, name="mine"):
    pass
"""
KINDS = {
    "plain": "--space tiny.yaml",
    "objective": "--space tiny.yaml --objectives error,python:next_own:saturation",
    "no error": "--space tiny.yaml --objectives flops,python:next_own:saturation --searcher random",
    "data": "--space tiny.yaml --data python:next_own:images",
    "plugin": "--space mine.yaml --plugin next_plugin.py",
    "design": "--space tiny.yaml --searcher paired --seeds 2 --trials 4",
    "rungs": "--space tiny.yaml --fidelity 1,2",
    "elsewhere": "--space tiny.yaml --data npz:own.npz --results-dir 'my results'",
}

VERIFIED = ("data", "plugin", "no error")
"""Kinds whose networks are exported and trained, too, which takes most of the time."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a space, data, objectives and a plug-in of the user's own."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "mine.yaml").write_text(TINY.replace("name: tiny", "name: mine").replace("residual", "mine"))
    (tmp_path / "next_own.py").write_text(OWN)
    (tmp_path / "next_plugin.py").write_text(PLUGIN)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "own.npz",
        images=rng.integers(0, 255, (80, 8, 8), dtype=np.uint8),
        labels=np.arange(80) % 4,
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def forget_plugins():
    """Forget the plug-ins, as a new process has loaded none."""
    plugins._files.clear()
    for module in [module for module in plugins.own if module.__name__ == "next_plugin"]:
        plugins.own.remove(module)
    Module.registry.pop("mine", None)
    sys.modules.pop("next_plugin", None)


def run_line(line, *more):
    forget_plugins()
    words = [*shlex.split(line), *more]
    assert words[0] == "nas"
    assert command(words[1:]) == 0, line


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_printed_under_next_works(kind, here, capsys):
    search = f"nas search {KINDS[kind]} --workers 0 --name 'job'"
    search += "" if "--trials" in search else " --trials 3"
    search += "" if "--fidelity" in search else " --epochs 1"
    search += "" if "--data" in search else " --data 'digits?limit=100'"
    run_line(search)
    lines = capsys.readouterr().out.partition("\nNext\n")[2].split("\n")
    assert [line.split()[1] for line in lines if line] == ["pareto", "analyze", "report", "export", "train"]
    assert all(("--plugin" in line) == (kind == "plugin") for line in lines if line)
    assert all((here / shlex.split(line)[2]).is_dir() for line in lines if line)
    for line in filter(None, lines):
        if line.split()[1] in ("pareto", "analyze") or kind in VERIFIED:
            run_line(line, *(["--epochs", "1"] if " train " in line else []))
        if line.split()[1] == "export" and kind in VERIFIED:
            run_line(capsys.readouterr().err.partition("train one fully with: ")[2].strip(), "--epochs", "1")
        if line.split()[1] == "report" and kind in VERIFIED:
            page = unescape((here / shlex.split(line)[2] / "report.html").read_text())
            shown = re.findall(r"nas (?:analyze|train|export|pareto) [^<\n\"]*", page)
            assert len(shown) > 3
            assert all(("--plugin" in text) == (kind == "plugin") for text in shown)
    assert (here / "front.png").stat().st_size > 1000
    with (run := nas.open_run("job", "my results" if kind == "elsewhere" else "results")).study:
        resume = resume_command(run)
        trials = len(run.study.trials)
    if kind != "design":
        run_line(resume, "--trials", str(trials + 1), "--workers", "0")
        assert f"{trials + 1}/{trials + 1}" in capsys.readouterr().err
