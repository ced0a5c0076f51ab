"""The code blocks of the documentation work, in the order in which they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from testing.paths import ROOT

from nas.cli import run
from nas.space.load import parse_space

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SHORT = {"search": ["--trials", "2", "--epochs", "1", "--workers", "0"], "train": ["--epochs", "1"]}
"""Options that shorten the commands of tutorials here; `scripts/record_docs.py` runs them as they stand."""


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


PAGES = [
    page.relative_to(DOCS)
    for page in sorted(DOCS.rglob("*.md"))
    if any(kind == "python" or code.startswith("nas ") for kind, code in blocks(page))
]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, code in blocks(DOCS / page):
        if kind == "python":
            exec(compile(code, str(page), "exec"), {"__name__": "__main__"})
        elif kind == "bash" and code.startswith("nas "):
            for line in code.splitlines():
                words = shlex.split(line)[1:]
                words += SHORT.get(words[0], []) if page.parts[0] == "tutorials" else []
                assert run(words) == 0, f"{line}\n{capsys.readouterr().err}"


def test_the_space_of_the_concepts_is_one() -> None:
    text, recipe = [code for kind, code in blocks(DOCS / "reference/space_yaml.md") if kind == "yaml"]
    assert parse_space(text, "docs").sample(0)
    joint = parse_space(re.sub("vary: block.*", "", text) + recipe, "docs")
    assert joint.sample(0) in joint


def test_every_page_is_in_the_navigation() -> None:
    navigation = (DOCS.parent / "mkdocs.yml").read_text()
    assert all(page.relative_to(DOCS).as_posix() in navigation for page in DOCS.rglob("*.md"))


def test_every_test_that_a_promise_names_is_one() -> None:
    (table,) = re.findall(
        r"## Promises\n(.*)", (DOCS / "engineering" / "reliability.md").read_text(), re.DOTALL
    )
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    promises = [row for row in rows if not row[0].startswith("| **")]
    assert len(promises) > 30
    for promise, tests in promises:
        named = re.findall(r"`(test_\w+\.py)::(\w+)`", tests)
        assert named, promise
        for file, test in named:
            (path,) = (ROOT / "tests").rglob(file)
            assert re.search(rf"(def|class) {test}\(", path.read_text()), f"{file} has no {test}"
