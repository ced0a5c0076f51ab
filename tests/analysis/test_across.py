"""Runs on several data sets: sorted, summarised with the variance between them, and ranked."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from testing.configs import make_config
from testing.paired_trials import blocks

from nas.analysis.across import across_data, by_data
from nas.analysis.analyze import analyze
from nas.analysis.text.across import across_dict, across_text
from nas.errors import NasError
from nas.space.load import load_space

SPACE = load_space("five_types")
RECIPE = {"epochs": 8, "cutout": 0, "lr": 0.2, "weight_decay": 5e-4, "batch_size": 128}


def run(data, effect=0.02, fingerprint="", types=("plain", "residual"), rng=0):
    config = make_config(RECIPE, data=data, data_fingerprint=fingerprint or data)
    frame = blocks(contexts=24, effect=effect, types=types, rng=rng)
    return SimpleNamespace(name=f"run-{data}", config=config, study=frame, space=SPACE)


def across(*effects, **settings):
    return across_data(
        by_data([run(f"data{at}", effect, rng=at, **settings) for at, effect in enumerate(effects)])
    )


def test_runs_are_sorted_by_their_images():
    same = [
        run("digits"),
        run("copy", fingerprint="digits"),
        run("digits?limit=300", fingerprint="part"),
        run("cifar10"),
    ]
    groups = by_data(same)
    assert {name: len(runs) for name, runs in groups.items()} == {"digits": 3, "cifar10": 1}
    with pytest.raises(NasError, match="differs from run-digits"):  # parts of one data set are no second one
        across_data(groups)


def test_an_effect_that_differs_between_data_sets_has_an_interval_that_says_so():
    alike, unlike = across(0.02, 0.02, 0.02, 0.02), across(0.0, 0.01, 0.03, 0.04)
    (same,), (other,) = alike.contrasts, unlike.contrasts
    assert same.summary.mean.value == pytest.approx(-0.02, abs=0.003)
    assert other.summary.mean.value == pytest.approx(-0.02, abs=0.003)
    assert same.p < 0.01
    assert other.p > 0.05
    assert other.summary.between == pytest.approx(np.std([0, 0.01, 0.03, 0.04], ddof=1), abs=0.004)
    assert other.summary.prediction.low < -0.04 < 0 < other.summary.prediction.high


def test_text_words_what_may_be_said_over_data_sets():
    text = " ".join(across_text(across(0.02, 0.021, 0.019, 0.02)).split())
    assert "replacing plain by residual lowers error by" in text
    assert "at equal FLOPs on average over 4 data sets" in text
    assert "4 data sets say little about others" in text
    assert "Mean ranks (1 is best): residual 1.00, plain 2.00" in text
    assert "plain and residual are not separated over 2 data sets" in across_text(across(0.02, -0.02))


def test_json_holds_the_summary_the_ranks_and_the_analysis_of_each_data_set():
    found = json.loads(json.dumps(across_dict(across(0.02, 0.02)), allow_nan=False))
    assert list(found["analyses"]) == ["data0", "data1"]
    assert found["contrasts"][0]["data_sets"] == 2
    assert found["contrasts"][0]["prediction"]["low"] is None
    assert found["ranks"]["mean"] == {"plain": 2.0, "residual": 1.0}


def test_data_sets_without_common_types_are_refused():
    runs = [run("a"), run("b", types=("fractal", "resnext"))]
    with pytest.raises(NasError, match="fewer than two module types"):
        across_data(by_data(runs))


def mixed(rng, whole):
    """Networks of ten blocks, all residual ones worth 10 points; whole: of one type each."""
    rows = []
    for number in range(80):
        residual = int(rng.integers(2)) * 10 if whole else int(rng.integers(11))
        types = ["plain"] * (10 - residual) + ["residual"] * residual
        error = 0.4 - 0.01 * residual + rng.normal(0, 0.01)
        row = {"digest": str(number), "state": "complete", "error": error, "params": 1, "seed": number % 2}
        row |= {"flops": 1e6 * np.exp(rng.uniform(0, 2)), "uniform": True, "reason": None, "design": {}}
        rows.append(row | {"module_types": "+".join(types)})
    return pd.DataFrame(rows)


def across_mixed(monkeypatch, *whole):
    tables = {f"data{at}": mixed(np.random.default_rng(at), own) for at, own in enumerate(whole)}
    monkeypatch.setattr("nas.analysis.across.analyze", lambda runs, **_: analyze(runs[0]))
    return across_data({name: [table] for name, table in tables.items()})


def test_effects_of_one_block_are_said_to_be(monkeypatch):
    found = across_mixed(monkeypatch, False, False, False)
    assert found.contrasts[0].summary.mean.value == pytest.approx(-0.01, abs=0.002)
    assert "per block that changes from one type to the other" in " ".join(across_text(found).split())
    assert across_dict(found)["contrasts"][0]["per_block"]


def test_effects_of_blocks_and_of_networks_have_no_mean(monkeypatch):
    with pytest.raises(NasError, match="networks on data0 mix module types, those on data1 hold one each"):
        across_mixed(monkeypatch, False, True)
