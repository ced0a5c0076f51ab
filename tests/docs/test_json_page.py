"""The page docs/reference/json.md lists exactly the keys that the commands print."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from testing.paths import ROOT

from nas.cli import run

PAGE = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
SEARCH = (
    "search --space residual_vs_fractal --data digits?limit=60 --trials 2 --epochs 1 --workers 0 --name a"
)
COMMANDS = {
    "search": SEARCH,
    "pareto": "pareto a --reseed 1 --workers 0",
    "analyze": "analyze a",
    "runs": "runs",
    "show": "show a --trial 0",
    "cost": "cost resnet20",
    "train": "train a --trial 0 --epochs 1 --to trained",
    "evaluate": "evaluate trained/trial-0",
    "predict": "predict trained/trial-0 trained/trial-0/curve.png",
    "data": "data digits",
    "replay": "replay a",
    "spaces": "spaces",
    "zoo": "zoo",
    "report": "report a --to report.html",
    "cache": "cache",
}
"""A command for each section, in an order in which each finds what it needs."""

WHERE_RECIPES_VARY = {"show": {"recipe"}}
"""Keys of runs whose space searches recipes, too."""


def documented(section: str) -> set[str]:
    (text,) = re.findall(rf"^## nas {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return {
        key
        for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", cell)
    }


@pytest.mark.slow
def test_each_command_prints_the_keys_of_the_page(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for section, command in COMMANDS.items():
        assert run([*shlex.split(command), "--json"]) == 0, capsys.readouterr().err
        keys = set(json.loads(capsys.readouterr().out)) - {"schema"}
        assert keys == documented(section) - WHERE_RECIPES_VARY.get(section, set()), section
