"""`nas modules`, on the published runs."""

import json
import re

import pytest
from testing.paths import ROOT

from nas.cli import run

PUBLISHED = ROOT / "results" / "published" / "five_types_cifar10" / "main"
PAGE = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("nas.analysis.recurrent.DRAWS", 200)


def test_json_has_the_keys_of_the_page_and_known_types_are_named(capsys):
    assert run(["modules", str(PUBLISHED), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (section,) = re.findall(r"^## nas modules\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    documented = set(re.findall(r"`(\w+)`", section))
    assert set(document) - {"schema"} | set(document["modules"][0]) == documented
    assert all(row["known_as"] == row["module"]["type"] for row in document["modules"])
    assert all(row["p"] == 1 for row in document["modules"] if row["families"] == 1)


def test_a_type_is_taken_where_a_name_is_given(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["modules", str(PUBLISHED), "--take", "1"]) == 2
    assert "--take and --name belong together" in capsys.readouterr().err
    assert run(["modules", str(PUBLISHED), "--take", "1", "--name", "a-b"]) == 2
    assert not list(tmp_path.iterdir())
