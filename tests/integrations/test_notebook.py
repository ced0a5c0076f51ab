"""Representations as HTML in Jupyter, and the example notebook."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from testing.paths import ROOT

import nas
from nas.controller.search import search
from nas.integrations import notebook

EXAMPLE = ROOT / "examples" / "search.ipynb"


def test_a_genotype_is_drawn_with_its_layers() -> None:
    genotype = nas.load_space("residual_vs_fractal").sample(0)
    html = notebook.genotype_html(genotype)
    assert html.count("<svg") == 1
    layers = nas.expand(genotype, (3, 32, 32), 10).primitives
    assert html.count("<tr>") > len(layers)


def test_a_space_lists_its_decisions() -> None:
    space = nas.load_space("residual_vs_fractal")
    html = notebook.space_html(space)
    assert all(f">{path}</td>" in html for path in space.domains())


def test_names_are_escaped() -> None:
    space = nas.load_space("residual_vs_fractal")
    named = replace(space, spec=space.spec.model_copy(update={"description": "<script>alert(1)</script>"}))
    assert "<script>" not in notebook.space_html(named)


def test_runs_and_trials_have_representations(tmp_path: Path) -> None:
    run = search(
        "residual_vs_fractal",
        data="digits?limit=150",
        trials=2,
        epochs=1,
        workers=0,
        results_dir=tmp_path,
    )
    with run.study as study:
        shown = notebook.run_html(run)
        assert shown.count("<svg") == 1
        assert run.name in shown
        assert "trial 0" in notebook.trial_html(study.trials[0])


@pytest.mark.slow
def test_the_example_notebook_runs(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient runs the example notebook")
    nbformat = pytest.importorskip("nbformat")
    text = EXAMPLE.read_text(encoding="utf-8")
    assert "epochs=3" in text
    book = nbformat.reads(text.replace("epochs=3", "epochs=1"), 4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=resources).execute()
    shown = [
        output.get("data", {}).get("text/html", "")
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert sum("<svg" in html for html in shown) == 2  # the genotype, and the front of the run
    assert any("8 of 8" in html for html in shown)
