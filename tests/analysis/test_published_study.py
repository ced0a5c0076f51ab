"""The study of module types as it is published: its controls, and that its texts follow from its table."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import pandas as pd
import pytest
from testing.paths import ROOT

import nas

FOLDER = ROOT / "results" / "published" / "module_types"
BUDGET = 200_000


@pytest.fixture(scope="module")
def contrasts() -> pd.DataFrame:
    table = pd.read_csv(FOLDER / "digits.csv", dtype={"digest": str, "reason": str})
    rows = table[table.budget.isin([0, BUDGET])].assign(budget=float(BUDGET))
    return nas.analyze(rows.drop(columns=["reason", "network"])).frame()


def of(contrasts: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    return contrasts[(contrasts.a == a) & (contrasts.b == b)].set_index("estimand")


def test_the_same_networks_with_other_seeds_are_not_separated_and_change_nowhere(
    contrasts: pd.DataFrame,
) -> None:
    twins = of(contrasts, "residual", "residual_again")
    assert (twins.p > 0.05).all()
    assert (twins.p_equivalent < 0.05).all()
    assert not twins.claim.str.contains("changes with|differs").any()


def test_networks_without_batch_norm_are_worse(contrasts: pd.DataFrame) -> None:
    bare = of(contrasts, "residual", "residual_without_norm")
    assert (bare.p < 0.05).all()
    assert (bare.effect_low > 0.05).all()


def test_which_of_plain_and_bottleneck_is_better_depends_on_what_is_held_constant(
    contrasts: pd.DataFrame,
) -> None:
    found = of(contrasts, "bottleneck", "plain")
    assert (found.p < 0.05).all()
    assert found.effect_high["E1"] < 0 < found.effect_low["E2"]


def test_the_contrasts_follow_from_the_table(contrasts: pd.DataFrame) -> None:
    published = pd.read_csv(FOLDER / f"digits_{BUDGET}_contrasts.csv")
    for name in ("effect", "effect_low", "effect_high", "p"):
        assert contrasts[name].tolist() == pytest.approx(published[name].tolist(), abs=1e-4), name
    assert contrasts.grade.tolist() == published.grade.tolist()


@pytest.fixture
def study_page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("study_page")


def test_the_tables_of_the_pages_are_those_of_the_contrasts(
    study_page: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["digits", "cifar10", "cifar100"]
    for page, print_tables in (
        ("module_types.md", lambda: study_page.summary(names)),
        ("module_types_data.md", lambda: [study_page.table(name) for name in names]),
    ):
        print_tables()
        rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        text = (ROOT / "docs" / "studies" / page).read_text(encoding="utf-8")
        assert [line for line in text.splitlines() if line.startswith("|")] == rows, page


def test_all_grades_are_those_that_the_page_names() -> None:
    tables = [pd.read_csv(path) for path in sorted(FOLDER.glob("*_contrasts.csv"))]
    assert len(tables) == 9
    assert {grade for table in tables for grade in table.grade} == {"C"}


SMALLER = ROOT / "results" / "published" / "five_types_cifar10"
MINUS = "\N{MINUS SIGN}"


def test_the_table_of_the_smaller_study_is_that_of_its_runs() -> None:
    names = ("main", "longer", "slow", "decayed", "slow_decayed")
    frame = nas.analyze([nas.open_run(SMALLER / name) for name in names]).frame()
    found = {(row.a, row.b, row.estimand): row for row in frame.itertuples()}
    text = (ROOT / "docs" / "studies" / "paired_study.md").read_text(encoding="utf-8").replace(MINUS, "-")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 9
    for a, b, *cells in rows:
        sign = 1 if (a, b, "E1") in found else -1
        for estimand, effect, p in (("E1", *cells[:2]), ("E2", *cells[2:4])):
            row = found[(a, b, estimand) if sign == 1 else (b, a, estimand)]
            limits = sorted((sign * row.effect_low, sign * row.effect_high))
            figures = [float(figure) / 100 for figure in re.findall(r"-?\d+\.\d+", effect)]
            assert figures == pytest.approx([sign * row.effect, *limits], abs=1.1e-4), (a, b)
            assert float(p) == pytest.approx(row.p, abs=0.0006), (a, b)
