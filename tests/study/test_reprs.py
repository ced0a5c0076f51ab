"""What people see when they print results: ten lines at most, and HTML in a notebook."""

from testing.configs import make_config
from testing.histories import study

from nas.analysis.analyze import analyze
from nas.integrations.notebook import analysis_html, study_html
from nas.study.history import History
from nas.study.run import Run
from nas.study.run_folder import RunFolder


def test_results_print_in_ten_lines_at_most(tmp_path):
    history = study(40)
    run = Run(RunFolder(tmp_path), make_config(trials=40), history)
    front, analysis = run.pareto_front(), analyze(history)
    for shown in (run, history, front, analysis, History()):
        assert len(repr(shown).splitlines()) <= 10
    assert repr(history).startswith(
        "<History of error, flops: 40 trials (39 complete, 1 failed), 39 networks"
    )
    lines = repr(front).splitlines()
    for name in ("trial", "expected, %", "likely on front", "FLOPs", "module types"):
        assert name in lines[0]
    assert lines[1].split()[0] == str(run.best().number)
    assert repr(analysis).splitlines()[0] == "Analysis of 40 trials: 39 distinct networks"
    assert analysis.frame()["claim"][0][:60] in repr(analysis)


def test_a_selection_of_a_front_is_an_ordinary_frame(tmp_path):
    front = Run(RunFolder(tmp_path), make_config(trials=24), study()).pareto_front()
    assert list(front[["number", "error"]].columns) == ["number", "error"]
    assert "expected, %" not in repr(front[["number", "error"]])
    assert "<table" in front._repr_html_()


def test_a_notebook_shows_tables(tmp_path):
    history = study()
    assert "<td" in study_html(history)
    assert "<td" not in study_html(History())
    html = analysis_html(analyze(history))
    assert "what would strengthen it" in html
    assert "D = descriptive" in html
