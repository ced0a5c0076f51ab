import json
import math
from dataclasses import replace

import pytest
from testing.histories import study

from nas.analysis.analyze import analyze
from nas.analysis.table import dominating_type
from nas.analysis.text.pareto import pareto_dict, pareto_text, shrinkage_text
from nas.analysis.text.ranking import analysis_dict, analysis_text
from nas.errors import NasError
from nas.formatting import SCHEMA, metric, to_text
from nas.study.front import front_table
from nas.study.history import History
from nas.training.latency import Latency
from nas.visualization.plots import plot_front


def test_the_front_as_json_has_the_keys_of_the_contract():
    found = json.loads(json.dumps(pareto_dict(study()), allow_nan=False))
    assert found["schema"] == SCHEMA
    assert set(found["front"][0]) == {
        *("trial", "error", "flops", "params", "seeds", "digest", "module_types")
    }
    assert found["knee"] in [row["trial"] for row in found["front"]]
    assert found["hypervolume"] > 0
    assert len(found["reference_point"]) == 2
    assert found["failed"] == 1


def test_the_front_is_that_of_the_study_by_ascending_flops():
    history = study()
    rows = pareto_dict(history)["front"]
    assert {row["trial"] for row in rows} == {trial.number for trial in history.front()}
    assert [row["flops"] for row in rows] == sorted(row["flops"] for row in rows)
    errors = [row["error"] for row in rows]
    assert errors == sorted(errors, reverse=True)
    assert front_table(history)["knee"].sum() == 1


def test_it_is_said_where_a_model_takes_most_differences_for_luck():
    measured = [0.9, 0.9, 0.4875, 0.9, 0.92]
    assert shrinkage_text(measured, [0.86, 0.85, 0.78, 0.86, 0.87]) == (
        "The model takes most of the differences between measured errors for luck: these span 48.75 to "
        "92.00 %, expected errors 78.00 to 87.00 %. More validation images or further seeds tell networks "
        "apart; near chance, longer trainings (--epochs) do."
    )
    assert shrinkage_text(measured, [0.88, 0.88, 0.6, 0.88, 0.9]) == ""


def test_text_is_not_turned_into_pictures():
    assert to_text("main:100: [b]") == "main:100: [b]"


def test_a_network_counts_by_its_mean_over_seeds_wherever_a_front_is_taken():
    def trainings(errors):
        history = study(count=4, failing=())
        first = {trial.number: trial for trial in history.trials}
        history = History()
        for at, (number, error) in enumerate(errors):
            history.record(replace(first[number], number=at, seed=at, error=error))
        return history

    lucky = [(0, 0.1), (1, 0.3), (2, 0.35), (3, 0.4), (0, 0.7), (1, 0.3), (2, 0.35), (3, 0.4)]
    found = trainings(lucky)
    rows = pareto_dict(found)["front"]
    shown = {row["trial"]: (row["error"], row["seeds"]) for row in rows}
    assert shown == {trial.number: (found.means(trial)[0], 2) for trial in found.front()}
    single = trainings([(number, mean) for number, mean in enumerate((0.4, 0.3, 0.35, 0.4))])
    assert set(shown) == {trial.number for trial in single.front()}
    assert pareto_dict(found)["hypervolume"] == pytest.approx(pareto_dict(single)["hypervolume"])
    assert "means over the training seeds" in pareto_text(found)
    assert "means over" not in pareto_text(single)


def test_more_objectives_are_taken_from_the_study_and_shown():
    history = study(objectives=("error", "flops", "params", "peak_memory"))
    found = pareto_dict(history)
    assert found["objectives"] == ["error", "flops", "params", "peak_memory"]
    assert len(found["reference_point"]) == 4
    assert "peak_memory" in found["front"][0]
    assert "peak memory, bytes" in pareto_text(history)


def test_the_table_marks_the_knee_and_says_what_flops_are():
    text = pareto_text(study())
    assert text.count("knee") == 1
    assert "FLOPs are multiply-adds of convolutions and linear layers." in text.replace("\n", " ")
    assert "1 trial failed." in text.replace("\n", " ")
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("count", [2, 24])
def test_the_knee_does_not_depend_on_the_order_of_the_objectives(count):
    """Of two networks on a front each is as far from the line through both: the error decides."""
    rows = study(count, failing=()).frame()
    rows = rows.assign(error=rows["flops"].rank(ascending=False) / 100)  # all lie on the front
    tables = [front_table(rows, order) for order in (("error", "flops"), ("flops", "error"))]
    knees = [table.loc[table["knee"], "number"].tolist() for table in tables]
    assert knees[0] == knees[1]
    assert len(knees[0]) == 1


def test_a_study_without_a_complete_trial_has_no_front(tmp_path):
    empty = study(count=3, failing=range(3))
    found = pareto_dict(empty)
    assert found["front"] == []
    assert found["hypervolume"] is found["reference_point"] is found["knee"] is None
    assert pareto_text(empty).startswith("No trial is complete (3 failed: ")
    with pytest.raises(NasError, match="no trial is complete"):
        plot_front(empty, tmp_path / "front.png")


def test_the_analysis_begins_with_its_estimand_and_names_its_grades():
    analysis = analyze(study())
    text = analysis_text(analysis)
    assert text.startswith("Estimand. Change of validation error")
    assert analysis.grade == {"D": 1}
    assert "Grades: 1 D." in text
    assert "Uniform samples alone" in text
    assert "describe what the search visited" in text.replace("\n", " ")
    assert "PED-ANOVA" in text


def test_the_analysis_as_json_is_complete_and_free_of_nan():
    found = json.loads(json.dumps(analysis_dict(analyze(study())), allow_nan=False))
    assert found["schema"] == SCHEMA
    first = found["comparisons"][0]
    assert {row["name"] for row in first["types"]} <= {"residual", "fractal"}
    assert set(first["contrasts"][0]) >= {
        "a",
        "b",
        "raw",
        "equal_flops",
        "grade",
        "claim",
        "refused",
        "gates",
    }
    assert sum(row["top"] or 0 for row in found["factors"]["rows"]) == pytest.approx(1)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_front_is_plotted_in_the_format_of_the_suffix(tmp_path, suffix):
    file = plot_front(study(), tmp_path / "new" / f"front.{suffix}")
    head = file.read_bytes()[:8]
    assert head.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


def test_the_plot_says_what_it_shows(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        text = plot_front(study(), tmp_path / "front.svg").read_text()
    for words in (
        "multiply-adds",
        "validation error, %",
        "front by measured error",
        "knee",
        "1 failed trial not",
    ):
        assert words in text


def test_other_objectives_and_a_single_point_can_be_plotted(tmp_path):
    assert plot_front(study(), tmp_path / "a.png", ("params", "peak_memory")).stat().st_size > 1000
    assert plot_front(study(count=1, failing=()), tmp_path / "b.png").stat().st_size > 1000


def test_an_unknown_format_is_refused_with_those_known(tmp_path):
    with pytest.raises(NasError, match=r"known: \.png, \.svg, \.pdf"):
        plot_front(study(count=2), tmp_path / "front.jpeg2000")


def test_the_dominating_type_is_the_most_frequent():
    assert dominating_type(("a", "b", "a")) == "a"
    assert dominating_type(("a", "b")) == "mixed"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (40_551_040, "40.6M"), (999_600_000, "1000M"), (4.09e9, "4.09G")],
)
def test_large_numbers_are_short(value, text):
    assert metric(value) == text
    assert not math.isnan(value)


def test_tables_keep_their_figures_whatever_the_width():
    narrow = analysis_text(analyze(study()), width=60)
    assert "…" not in narrow
    assert "fractal -> residual" in narrow
    assert "overlap  grade" in narrow


def measured(history):
    """The same trials with latencies that follow FLOPs, as from a search that asked for them."""
    timed = History(("error", "latency"))
    for trial in history.trials:
        seconds = 1e-9 * trial.flops
        latency = Latency(seconds, 0.98 * seconds, 1.02 * seconds, runs=50, batch=1, threads=1, device="cpu")
        timed.record(replace(trial, latency=latency if trial.complete else None))
    return timed


def test_latency_stands_beside_flops_with_its_spread_and_rank_correlation():
    found = pareto_dict(measured(study()))
    assert all({"latency", "latency_spread", "flops"} <= row.keys() for row in found["front"])
    assert found["latency"]["rank_correlation_with_flops"][0] == pytest.approx(1)
    assert found["latency"]["spread"] == pytest.approx(0.04)
    text = pareto_text(measured(study()))
    assert "rank correlation with FLOPs is 1.00" in " ".join(text.split())
    assert "batch 1 on cpu, 1 thread" in " ".join(text.split())
    assert " ms" in text
    assert "latency" not in pareto_dict(study())


def test_a_latency_that_was_not_measured_is_no_objective():
    with pytest.raises(NasError, match="not measured"):
        pareto_dict(study(), ("error", "latency"))


def test_latency_can_be_plotted(tmp_path):
    assert plot_front(measured(study()), tmp_path / "a.png", ("latency", "error")).stat().st_size > 1000
