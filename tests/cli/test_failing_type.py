"""A search in which one module type always fails says so where it happens, at its end, and on request."""

from __future__ import annotations

import json

from testing.small_spaces import TINY

from nas.cli import run as command

OBJECTIVES = """
def layers(network, dataset):
    if any("Fractal" in type(part).__name__ for part in network.modules()):
        raise RuntimeError("no columns \\x1b[2J here")
    return float(len(list(network.modules())))
"""


def test_a_type_that_always_fails_is_named_with_its_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "failing_objectives.py").write_text(OBJECTIVES)
    words = ["--objectives", "error,python:failing_objectives:layers", "--data", "digits?limit=200"]
    words += ["--trials", "6", "--epochs", "1", "--workers", "0", "--searcher", "random", "--name", "one"]
    assert command(["search", "--space", "tiny.yaml", *words]) == 0
    said = capsys.readouterr()
    first = next(line for line in said.err.splitlines() if "RuntimeError" in line)
    assert said.err.count("RuntimeError") == 1  # of several failures
    assert "RuntimeError: no columns" in first
    assert "\x1b" not in said.err + said.out
    assert "trials failed, among them all" in " ".join(said.out.split())
    assert "with fractal." in said.out
    show = first.partition("whole: nas ")[2].rstrip(")")
    assert command(show.split()) == 0
    shown = capsys.readouterr().out
    assert "the training failed: exception\nTraceback" in shown
    assert command([*show.split(), "--json"]) == 0
    assert "RuntimeError: no columns" in json.loads(capsys.readouterr().out)["failure"]
