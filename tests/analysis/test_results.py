"""Results of any trainer: what a table says, what is refused, and what is printed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from testing.generators import Truth, table, with_evidence

import nas
from nas.analysis.results_table import read_csv
from nas.analysis.text.ranking import analysis_dict, analysis_text
from nas.errors import NasError, NotFoundError

EFFECTS = (0.0, 0.0, 0.03)


def rows(seed=0, **changes):
    return table(Truth(effects=EFFECTS, contexts=30, **changes), np.random.default_rng(seed))


def contrasts(frame, **options):
    found = nas.analyze(frame, **options).paired.contrasts
    return {(c.a, c.b, c.estimand): c for c in found}


def test_rows_of_one_context_are_paired():
    found = contrasts(rows())
    assert set(found) == {("type0", "type1", "E1"), ("type0", "type2", "E1"), ("type1", "type2", "E1")}
    better = found["type0", "type2", "E1"]
    assert better.contexts == 30
    assert better.effect.value == pytest.approx(0.03, abs=0.008)
    assert better.separated
    assert better.grade == "C"
    assert better.claim.startswith("type0 is associated with an error lower than that of type2 by")
    assert "in the same context" in better.claim
    assert not found["type0", "type1", "E1"].separated


def test_the_order_of_rows_and_columns_and_the_kind_of_labels_change_nothing():
    frame = rows()
    shuffled = frame.sample(frac=1, random_state=0)[frame.columns[::-1]].assign(
        context=lambda f: f["context"].astype(float)
    )
    effects = [{key: c.effect.value for key, c in contrasts(each).items()} for each in (frame, shuffled)]
    assert effects[0] == pytest.approx(effects[1])


def test_flops_that_are_equal_make_both_estimands_of_the_same_trainings():
    frame = rows().assign(flops=1e7)
    frame.loc[frame["type"] == "type2", "flops"] = 2e7
    found = contrasts(frame)
    assert found["type0", "type1", "E2"].same_trainings
    assert ("type0", "type2", "E2") not in found
    assert found["type0", "type2", "E1"].flops_change == pytest.approx(1)
    assert "with 50% fewer FLOPs" in found["type0", "type2", "E1"].claim
    assert nas.analyze(frame).grade == {"C": 3}


def test_leaving_out_a_type_changes_no_effect_of_the_others():
    frame = rows().assign(
        flops=lambda f: 1e6 * (1 + f["context"]) * f["type"].map({"type0": 1, "type1": 1.01, "type2": 3})
    )
    found, fewer = (contrasts(each) for each in (frame, frame[frame["type"] != "type2"]))
    for estimand in ("E1", "E2"):
        key = ("type0", "type1", estimand)
        assert found[key].effect.value == fewer[key].effect.value


def budgeted():
    """Each context at the same shape, where type2 has thrice the FLOPs, and scaled to the budget."""
    shape = rows().assign(
        budget=1e7, flops=lambda f: 1e7 * f["type"].map({"type0": 1, "type1": 1, "type2": 3})
    )
    scaled = shape[shape["type"] == "type2"].assign(flops=1.01e7, error=lambda f: f["error"] - 0.05)
    return pd.concat([shape, scaled], ignore_index=True)


def test_a_budget_tells_equal_flops_from_the_same_shape():
    found = contrasts(budgeted())
    assert found["type0", "type2", "E1"].effect.sign == 1
    assert found["type0", "type2", "E2"].effect.sign == -1
    assert found["type0", "type1", "E2"].same_trainings
    assert not found["type0", "type2", "E2"].same_trainings


def test_two_networks_of_a_type_in_a_context_need_a_budget():
    with pytest.raises(NasError, match="several networks of type 'type2'") as caught:
        nas.analyze(budgeted().drop(columns="budget"))
    assert "budget" in caught.value.hint


def test_pooled_runs_of_one_context_are_further_seeds():
    frame = rows()
    frame = frame[frame["context"] < 10]
    pooled = pd.concat(
        [frame.assign(run=run, seed=run, error=frame["error"] + 1e-4 * run) for run in range(4)]
    )
    found = contrasts(pooled)["type0", "type2", "E1"]
    assert found.contexts == 10
    assert found.grade == "X"
    digests = pooled.assign(digest=pooled["context"].astype(str) + pooled["type"])
    assert contrasts(digests)["type0", "type2", "E1"].contexts == 10
    networks = digests.assign(digest=digests["digest"] + digests["run"].astype(str))
    assert contrasts(networks)["type0", "type2", "E1"].contexts == 40


def test_rows_that_repeat_another_are_counted_once_and_said():
    frame = rows()
    analysis = nas.analyze(pd.concat([frame, frame[:12]]))
    assert analysis.trials == len(frame)
    assert "Rows that repeat another training exactly were counted once: 12." in analysis.notes


def test_failed_and_missing_rows_lower_the_grade():
    frame = table(Truth(effects=EFFECTS, contexts=50, diverging=0.4), np.random.default_rng(0))
    worse = contrasts(frame)["type1", "type2", "E1"]
    assert worse.failures.failed == (0, 20)
    assert worse.contexts == 30
    assert worse.grade == "C"
    assert worse.failures.differ
    assert worse.failures.bound.sign == 1
    frame.loc[frame["type"] == "type2", "error"] -= 0.08
    better = contrasts(frame)["type1", "type2", "E1"]
    assert better.effect.sign == -1
    assert better.grade == "D"
    assert better.claim.startswith("among contexts where both train")
    silent = contrasts(frame[frame["state"] == "complete"])["type1", "type2", "E1"]
    assert silent.failures.absent == (0, 20)
    assert silent.grade == "D"


def test_longer_trainings_and_a_grid_of_recipes_open_grade_b():
    found = contrasts(with_evidence(rows()))["type0", "type2", "E1"]
    assert found.contexts == 30
    assert found.grade == "B"
    assert found.change.contexts == 10
    assert found.tuned.best == {"type0": (0.1, 5e-4), "type2": (0.1, 5e-4)}
    assert "at 8 epochs, in this space and recipe" in found.claim
    assert [gate.name for gate in found.refused] == ["learning curves"]


def test_rows_without_contexts_describe_the_table():
    frame = rows().drop(columns="context")
    analysis = nas.analyze(frame)
    assert analysis.paired is None
    assert {c.grade for c in analysis.unpaired} == {"D"}
    first = analysis_dict(analysis)["contrasts"][1]
    assert (first["a"], first["b"], first["estimand"]) == ("type0", "type2", "raw")
    assert first["interval"][0] < 0.03 < first["interval"][1]
    assert (
        "among the networks of the table, type0 had a mean error lower than that of type2" in first["claim"]
    )
    few = nas.analyze(frame.groupby("type").head(4))
    assert {c.grade for c in few.unpaired} == {"X"}


def test_unknown_columns_are_named_and_ignored():
    analysis = nas.analyze(rows().assign(colour="red"))
    assert "Columns that are not understood were ignored: colour." in analysis.notes


BAD = {
    "percent": (lambda f: f.assign(error=f["error"] * 100), "row 0: column 'error'", "not percent"),
    "no error": (
        lambda f: f.assign(error=f["error"].where(f.index != 7)),
        "row 7: column 'error': is empty",
        "failed",
    ),
    "some epochs": (
        lambda f: f.assign(epochs=np.where(f.index % 2, 4, np.nan)),
        "row 0: column 'epochs': is empty, but known of other rows",
        "leave it out",
    ),
    "text": (
        lambda f: f.assign(error=f["error"].astype(object).where(f.index != 3, "high")),
        "row 3: column 'error': 'high'",
        "",
    ),
    "negative": (lambda f: f.assign(error=-f["error"]), "is below 0", ""),
    "state": (lambda f: f.assign(state="done"), "unknown state 'done'", "complete, failed, stopped"),
    "type": (lambda f: f.assign(type=f["type"].where(f.index != 2)), "row 2: column 'type': is empty", ""),
    "context": (
        lambda f: f.assign(context=f["context"].where(f.index != 2)),
        "row 2: column 'context': is empty",
        "",
    ),
    "flops": (lambda f: f.assign(flops=0), "column 'flops': must be above 0", ""),
    "one type": (lambda f: f[f["type"] == "type0"], "all rows are of one type", "two types"),
    "no rows": (lambda f: f[:0], "no rows", ""),
    "all failed": (lambda f: f.assign(state="failed"), "no training is complete", ""),
    "accuracy": (lambda f: f.rename(columns={"error": "accuracy"}), "no column 'error'", "1 - accuracy"),
    "case": (lambda f: f.rename(columns={"type": "Type"}), "no column 'type'", "rename the column 'Type'"),
    "twice": (lambda f: pd.concat([f, f[["error"]]], axis=1), "two columns are called 'error'", ""),
    "mixed": (lambda f: f.assign(blocks="type0+type1"), "blocks of another type", ""),
    "budget of unknown FLOPs": (
        lambda f: f.assign(budget=1e7, flops=np.where(f.index != 4, 1e7, np.nan)),
        "row 4: column 'flops': is empty beside a budget",
        "failed trainings too",
    ),
    "recipe by type": (
        lambda f: f.assign(lr=f["type"].map({"type0": 0.1, "type1": 0.01, "type2": 0.02})),
        "no training of type0, type1 with lr 0.02",
        "the same epochs",
    ),
    "budgets": (
        lambda f: f.assign(flops=1e6, budget=1e6 * (1 + f["seed"] + (f["type"] == "type0"))),
        "several budgets",
        "",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused_with_the_place_and_the_way_out(name):
    change, said, hint = BAD[name]
    with pytest.raises(NasError) as caught:
        nas.analyze(change(rows()))
    assert said in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("source", [None, "results.csv", [], {"type": ["a"]}, pd.Series([0.1])])
def test_what_is_neither_runs_nor_a_table_is_refused(source):
    with pytest.raises(NasError, match="neither runs nor a table"):
        nas.analyze(source)


def test_a_file_of_results_is_read_with_its_lines(tmp_path):
    path = tmp_path / "results.csv"
    frame = rows().assign(type=lambda f: f["type"].replace("type1", "none"))
    frame.to_csv(path, index=False)
    found = contrasts(read_csv(path))
    assert found["none", "type0", "E1"].effect.value == pytest.approx(
        -contrasts(rows())["type0", "type1", "E1"].effect.value
    )
    path.write_text("type,error\na,0.1\nb,12\n")
    with pytest.raises(NasError, match=r"results\.csv:3: column 'error': 12 is above 1"):
        nas.analyze(read_csv(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NasError, match="is no table"):
        read_csv(path)
    with pytest.raises(NotFoundError):
        read_csv(tmp_path / "none.csv")


@pytest.mark.slow
def test_the_command_line_prints_claims_of_a_table(tmp_path):
    path = tmp_path / "results.csv"
    rows().to_csv(path, index=False)
    command = [sys.executable, "-c", "from nas.cli import main; main()", "analyze", str(path)]
    printed = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True).stdout)
    assert len(printed["contrasts"]) == 3
    for row in printed["contrasts"]:
        assert row.keys() >= {"a", "b", "estimand", "effect", "interval", "p", "grade", "claim", "missing"}
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "type0 is associated with an error lower than that of type2" in " ".join(text.split())
    path.write_text("type,error\na,0.1\nb,12\n")
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_the_text_of_a_table_names_its_estimand_and_what_it_does_not_know():
    text = " ".join(analysis_text(nas.analyze(rows())).split())
    assert "when module type a is replaced by type b in the same context" in text
    assert "The table does not say how its contexts were chosen" in text
    assert "multiply-adds" not in text
    assert "nan" not in text


def test_skewed_differences_are_said_to_be():
    rng = np.random.default_rng(0)
    frame = rows()
    tail = rng.exponential(0.05, 30)
    frame["error"] += tail[frame["context"]] * (frame["type"] == "type2")
    analysis = nas.analyze(frame)
    printed = {(row["a"], row["b"]): row["skewed"] for row in analysis_dict(analysis)["contrasts"]}
    assert set(printed.values()) == {True}
    text = " ".join(analysis_text(analysis).split())
    assert "Intervals are approximate, as the differences have a skewness of up to" in text
    assert "30 contexts may hold none of what happens in fewer than 10% of the space" in text
    assert not any(c.skewed for c in contrasts(rows()).values())


def test_contexts_of_unknown_flops_are_left_out_of_equal_flops_and_said():
    frame = rows().assign(flops=1e6)
    frame.loc[frame["context"] < 5, "flops"] = np.nan
    analysis = nas.analyze(frame)
    found = {(c.a, c.b, c.estimand): c for c in analysis.paired.contrasts}
    assert found["type0", "type1", "E2"].contexts == 25
    assert found["type0", "type1", "E1"].contexts == 30
    assert found["type0", "type1", "E2"].failures.absent == (0, 0)
    assert "Contexts with networks of unknown FLOPs are left out of E2: 5." in analysis.notes


def test_equal_rows_without_a_seed_are_said_to_count():
    frame = rows().drop(columns="seed")
    assert (
        "Without a column 'seed', rows that equal another count as further trainings: 12."
        in nas.analyze(pd.concat([frame, frame[:12]])).notes
    )


def test_a_type_of_another_schedule_is_left_out_and_said():
    frame = rows().assign(epochs=lambda f: np.where(f["type"] == "type2", 8, 4))
    analysis = nas.analyze(frame)
    assert [(c.a, c.b) for c in analysis.paired.contrasts] == [("type0", "type1")]
    assert "There is no training of type2 with epochs 4, as most rows have it: left out." in analysis.notes


def test_contexts_that_may_be_seeds_of_one_network_are_said_to():
    same = rows().drop(columns=["depth", "width"]).assign(flops=1e6, params=1e5)
    assert any("If the contexts differ by the seed alone" in note for note in nas.analyze(same).notes)
    wider = same.assign(flops=1e6 * (1 + same["context"]))
    assert not any("the seed alone" in note for note in nas.analyze(wider).notes)


def test_failures_may_hide_a_difference_of_types_that_are_not_separated():
    """The worst half of the trainings of a worse type is lost."""
    frame = table(Truth(effects=(0.0, 0.0), contexts=40, seeds=4), np.random.default_rng(1))
    worst = frame[frame["type"] == "type1"].sort_values("error").groupby("context").tail(2).index
    frame.loc[worst, ["error", "state"]] = [np.nan, "failed"]
    found = contrasts(frame)["type0", "type1", "E1"]
    assert not found.separated
    assert found.failures.bound.sign == 1
    assert found.grade == "D"
    assert found.claim.startswith("among contexts where both train, type0 and type1 are")


GRID = [(rate, decay) for rate in (0.02, 0.1, 0.5) for decay in (1e-4, 5e-4, 2e-3)]


def with_grid(order):
    """The effect of type2 is 3 points, but for the largest rate, where it is the reverse."""
    parts = []
    for rate, decay in order:
        part = rows().assign(lr=rate, weight_decay=decay)
        worse = (part["type"] == "type2") & (rate == 0.5)
        parts.append(part.assign(error=part["error"] - 0.06 * worse))
    return pd.concat(parts, ignore_index=True)


def test_the_recipe_of_a_whole_grid_is_its_middle_whatever_the_order_of_rows():
    found = [nas.analyze(with_grid(order)) for order in (GRID, GRID[::-1])]
    assert [a.paired.evidence.usual for a in found] == [(0.1, 5e-4)] * 2
    effects = [[c.effect.value for c in a.paired.contrasts] for a in found]
    assert effects[0] == pytest.approx(effects[1])
    assert "Of 9 recipes, the effects are those with lr 0.1 and weight decay 0.0005" in " ".join(
        found[0].notes
    )


@pytest.mark.parametrize("column", ["context", "digest"])
def test_long_names_of_contexts_and_networks_are_told_apart(column):
    frame = rows().assign(digest=lambda f: f["context"].astype(str) + f["type"])
    long = frame.assign(**{column: "a name that all of them begin with, " * 4 + frame[column].astype(str)})
    effects = [{key: c.effect for key, c in contrasts(each).items()} for each in (frame, long)]
    assert effects[0] == effects[1]


def test_networks_that_nothing_tells_apart_are_no_repeats():
    frame = pd.DataFrame({"type": ["a"] * 20 + ["b"] * 20, "error": [0.2, 0.21] * 10 + [0.1, 0.3] * 10})
    plain, seeded = nas.analyze(frame), nas.analyze(frame.assign(seed=0))
    assert seeded.trials == plain.trials == 40
    assert [c.effect for c in seeded.unpaired] == [c.effect for c in plain.unpaired]
    assert "Without a column 'context' or 'digest', rows that equal another count" in " ".join(seeded.notes)


def test_rows_of_a_longer_schedule_are_said_to_be_left_out_without_contexts():
    short = rows().drop(columns="context").assign(epochs=10)
    found = nas.analyze(pd.concat([short, short[:7].assign(epochs=30)]))
    assert found.trials == len(short)
    assert "Rows of 30 epochs are evidence in contexts alone: left out: 7." in found.notes


def test_a_failure_of_unknown_schedule_counts_with_the_others():
    frame = rows().assign(epochs=10, state="complete")
    frame.loc[:2, ["state", "epochs", "error"]] = ["failed", np.nan, np.nan]
    found = nas.analyze(frame)
    assert found.failed == 3
    assert sum(sum(c.failures.failed) for c in found.paired.contrasts) == 2 * 3  # of a type in two pairs
    assert not any("other schedules" in note for note in found.notes)


def test_lines_with_more_fields_than_names_are_refused(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("type,error\nplain,0.2,ok\nresidual,0.1,ok\n")
    with pytest.raises(NasError, match="more fields than the line of column names"):
        read_csv(path)
