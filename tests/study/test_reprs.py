"""What people see when they print results: ten lines at most, and HTML in a notebook."""

from testing.configs import make_config
from testing.histories import study

from nas.analysis.analyze import analyze
from nas.formatting import metric
from nas.integrations.notebook import analysis_html, study_html
from nas.space.load import load_space
from nas.study.history import History
from nas.study.run import Run
from nas.study.run_folder import RunFolder


def test_results_print_in_ten_lines_at_most(tmp_path):
    history = study(40)
    run = Run(RunFolder(tmp_path), make_config(trials=40), history)
    front, analysis = run.pareto_front(), analyze(history)
    known = run.expected()
    assert known is not None
    space = load_space("residual_vs_fractal")
    for shown in (run, history, front, analysis, History(), known, space, *history.trials):
        assert len(repr(shown).splitlines()) <= 10
        assert len(repr(shown)) < 1000
    assert repr(history).startswith(
        "<History of error, flops: 40 trials (39 complete, 1 failed), 39 networks"
    )
    lines = repr(front).splitlines()
    for name in ("trial", "expected, %", "likely on front", "FLOPs", "module types"):
        assert name in lines[0]
    assert lines[1].split()[0] == str(run.best().number)
    assert "fractal + residual" in repr(front)
    assert "residual + fractal" not in repr(front)
    assert repr(analysis).splitlines()[0] == "Analysis of 40 trials: 39 distinct networks"
    assert analysis.frame()["claim"][0][:60] in repr(analysis)


def test_trials_spaces_and_runs_say_what_they_are(tmp_path):
    history = study()
    best = history.trials[0]
    cost = f"{metric(best.flops)} FLOPs, {metric(best.params)} parameters"
    assert repr(best).startswith(f"<Trial 0: complete, error {best.error:.2%}, {cost}, ")
    assert repr(history.trials[3]).startswith("<Trial 3: failed, diverged, ")
    assert repr(load_space("residual_vs_fractal")) == (
        "<SearchSpace residual_vs_fractal: 37 decisions, 3x32x32 images, 10 classes>"
    )
    run = Run(RunFolder(tmp_path), make_config(trials=24), history)
    assert ", 24 of 24 trials, in " in repr(run)


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
