"""The page docs/how_to/own_data.md: each tree that it draws is read as the lines below it say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from testing.images import image_table, write_folder
from testing.paths import ROOT

from nas.cli import run

PAGE = (ROOT / "docs" / "how_to" / "own_data.md").read_text(encoding="utf-8")
LAYOUTS = re.findall(
    r"^```text\n(.*?)^```\n\n```console\n\$ (.*?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)


def make(tree: str, root: Path) -> None:
    """Create what a tree draws: folders, `N images`, `N masks`, `N rows` of a table, and other files."""
    folders = [root]
    for seed, line in enumerate(tree.splitlines()):
        marks, name, what = re.fullmatch(r"([│├└─ ]*)(\S+)\s*(.*)", line).groups()  # type: ignore[union-attr]
        path = folders[len(marks) // 4] / name
        folders[len(marks) // 4 + 1 :] = [path]
        count, _, kind = what.partition(" ")
        if kind == "images":
            write_folder(path.parent, [path.name], count=int(count), seed=seed)
        elif kind == "masks":
            path.mkdir()
            for i in range(int(count)):
                Image.fromarray(((np.indices((8, 8))[0] + i) % 3).astype(np.uint8)).save(path / f"{i}.png")
        elif kind == "rows":
            pq.write_table(image_table([0, 1] * (int(count) // 2), 100 * seed), path)
        elif name.endswith("/"):
            path.mkdir()
        else:
            path.write_text("no image")


def test_every_layout_is_drawn() -> None:
    assert len(LAYOUTS) == 7
    assert PAGE.count("```text") == PAGE.count("```console") == 7


@pytest.mark.parametrize(("tree", "command", "expected"), LAYOUTS)
def test_a_tree_is_read_as_the_page_says(
    tree: str,
    command: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    make(tree, tmp_path)
    code = run(shlex.split(command)[1:])
    output = capsys.readouterr()
    assert code == (2 if expected.startswith("error") else 0), output.err
    shown = [line.rstrip() for line in (output.out + output.err).splitlines()]
    for line in expected.splitlines():
        assert line in shown
