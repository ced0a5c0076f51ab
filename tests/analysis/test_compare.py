"""Two networks and two runs side by side: laws, and small searches."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from testing.small_spaces import TINY

import nas
from nas.analysis.compare.genotypes import differences
from nas.analysis.compare.networks import Network, compare_networks
from nas.analysis.compare.runs import _volumes, compare_runs, quantile
from nas.analysis.text.comparison import networks_text
from nas.cli import run as nas_command
from nas.errors import NasError
from nas.modules import Plain, Residual
from nas.pareto import hypervolume
from nas.space.genotype import Genotype, Node
from nas.space.load import load_space
from nas.study.config_diff import differences as setting_differences
from nas.zoo import zoo_entry


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two searchers on the same images, and one on other images."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(TINY)
    for name, settings_of in {
        "first": {"trials": 6},
        "second": {"trials": 4, "searcher": "random"},
        "other": {"trials": 1, "seed": 1},
    }.items():
        chosen = {"data": "digits?limit=150", "epochs": 1, "workers": 0} | settings_of
        nas.search(folder / "tiny.yaml", results_dir=folder / "results", name=name, **chosen).study.close()
    return folder / "results"


@pytest.fixture
def runs(results: Path) -> Any:
    with nas.open_run("first", results).study, nas.open_run("second", results).study:
        yield nas.open_run("first", results), nas.open_run("second", results)


def built(name: str) -> Genotype:
    return zoo_entry(name).build()


def network(name: str) -> Network:
    entry = zoo_entry(name)
    return Network(name, entry.build(), entry.input_shape, entry.num_classes)


def mirrored(text: str) -> str:
    """`width 16 -> 32` as `width 32 -> 16`"""
    name, _, rest = text.partition(" ")
    before, _, after = rest.partition(" -> ")
    return f"{name} {after} -> {before}"


SPACES = [load_space(name) for name in ("residual_vs_fractal", "all_modules")]
genotypes = st.builds(lambda space, seed: space.sample(seed), st.sampled_from(SPACES), st.integers(0, 10**6))


@settings(max_examples=40, deadline=None)
@given(genotypes, genotypes)
def test_differences_mirror_with_the_order(a: Genotype, b: Genotype) -> None:
    opposite = {"only in a": "only in b", "only in b": "only in a"}
    there, back = ({row.place: row for row in differences(*pair)} for pair in ((a, b), (b, a)))
    assert there.keys() == back.keys()
    for place, row in there.items():
        turned = back[place]
        assert (row.a, row.b) == (turned.b, turned.a)
        assert opposite.get(row.state, row.state) == turned.state
        assert sorted(row.changes) == sorted(map(mirrored, turned.changes))


@settings(max_examples=40, deadline=None)
@given(genotypes, genotypes)
def test_all_places_are_the_same_where_networks_are_equal_and_only_there(a: Genotype, b: Genotype) -> None:
    assert {row.state for row in differences(a, a)} == {"same"}
    same = all(row.state == "same" for row in differences(a, b))
    assert same == (a == b)


def test_modules_are_aligned_by_stage_and_position() -> None:
    rows = {row.place: row for row in differences(built("plain20"), built("resnet32"))}
    assert list(rows)[:6] == ["stem", "stage1.1", "stage1.2", "stage1.3", "stage1.4", "stage1.5"]
    assert rows["stage1.3"].changes == ("type plain -> residual",)
    assert (rows["stage1.4"].state, rows["stage2.1"].state) == ("only in b", "changed")
    assert rows["head"].state == "same"


def test_places_of_one_network_stand_in_their_stage() -> None:
    places = [row.place for row in differences(built("alexnet"), built("fractalnet20"))]
    assert places.index("stage3.4") < places.index("stage4.1") < places.index("head")


def test_taps_and_auxiliary_heads_are_compared() -> None:
    (head,) = [r for r in differences(built("fcn16s"), built("fcn8s")) if r.state != "same"]
    assert head.changes == ("skips 1 -> 2", "taps stage4.2 -> stage4.2, stage3.2")
    added = [r.place for r in differences(built("googlenet"), built("googlenet_aux")) if r.state != "same"]
    assert added == ["aux1", "aux2"]


def test_wiring_and_nested_genotypes_are_compared() -> None:
    def net(inputs: tuple[str, ...], inner: Any) -> Genotype:
        a, b = Node("stage1.a", Plain(8), ("stem",)), Node("stage1.b", Residual(8), ("stage1.a",))
        return replace(built("plain20"), nodes=(a, b, Node("stage1.c", inner, inputs)))

    cell = Genotype(None, (Node("part1", Plain(8), ("stem",)),))
    chain, skip = net(("stage1.b",), Plain(8)), net(("stage1.a", "stage1.b"), Plain(8))
    (row,) = [r for r in differences(chain, skip) if r.state != "same"]
    assert row.changes == ("inputs none -> stage1.1 add stage1.2",)
    (row,) = [r for r in differences(chain, net(("stage1.b",), cell)) if r.state != "same"]
    assert (row.place, row.b) == ("stage1.3", "[plain 8]")


def test_costs_are_those_of_the_zoo_with_ratios() -> None:
    found = compare_networks(network("resnet20"), network("resnet56"))
    assert found.costs["params"] == (269_722, 853_018)
    assert found.costs["depth"] == (20, 56)
    assert (found.input_shape, found.equal, found.errors) == ((3, 32, 32), False, ())
    assert "resnet20 and resnet56 belong to no run" in networks_text(found)


def test_equal_networks_are_called_equal_whatever_their_nodes_are_called() -> None:
    a = network("plain20")
    names = {node.name: node.name.replace("block", "b") for node in a.genotype.nodes} | {"stem": "stem"}
    nodes = [replace(n, name=names[n.name], inputs=(names[n.inputs[0]],)) for n in a.genotype.nodes]
    found = compare_networks(a, replace(a, genotype=replace(a.genotype, nodes=tuple(nodes))))
    assert found.equal
    assert {row.state for row in found.rows} == {"same"}
    assert "the same network" in networks_text(found)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=8))
def test_a_resampled_hypervolume_is_that_of_what_was_drawn(points: list[tuple[int, int]]) -> None:
    array = np.array(points, float)
    volumes = _volumes(array, np.array([10.0, 10.0]), 200)
    assert volumes.max() <= hypervolume(array, (10, 10)) + 1e-9
    assert volumes.min() >= min(hypervolume([p], (10, 10)) for p in points) - 1e-9
    if len(points) == 1:
        assert set(volumes) == {hypervolume(array, (10, 10))}


@pytest.mark.slow
def test_a_run_does_not_differ_from_itself(runs: Any) -> None:
    found = compare_runs(runs[0], runs[0])
    assert found.settings == {}
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert (found.a.hypervolume, found.a.best) == (found.b.hypervolume, found.b.best)
    assert found.a.early == pytest.approx(found.a.hypervolume.value)


def test_runs_compare_alike_in_either_order(runs: Any) -> None:
    there, back = compare_runs(*runs), compare_runs(*runs[::-1])
    turned = [-back.difference.value, -back.difference.high, -back.difference.low]
    assert [there.difference.value, there.difference.low, there.difference.high] == pytest.approx(turned)
    assert there.settings == {name: pair[::-1] for name, pair in back.settings.items()}
    assert there.settings["searcher"] == ("hypervolume", "random")
    assert there.reference == back.reference
    assert there.trials == 4


def test_hypervolumes_and_quantiles_are_those_of_the_trials(runs: Any) -> None:
    found = compare_runs(*runs)
    for side in (found.a, found.b):
        errors = side.run.trials.drop_duplicates("digest")["error"].to_numpy()
        assert quantile(side.raw, 0.5).value == np.sort(errors)[int(np.ceil(0.5 * len(errors))) - 1]
        assert quantile(side.raw, 1).value == errors.max()
        assert side.best.error == errors.min()
        for share in (0.25, 0.75):
            at = quantile(side.raw, share)
            assert at.low <= at.value
            assert not at.high < at.value
    both = np.concatenate([found.a.points, found.b.points])
    box = np.prod(np.array(found.reference) - both.min(axis=0))
    assert found.b.hypervolume.value == pytest.approx(hypervolume(found.b.points, found.reference) / box)


def test_settings_are_compared_by_name() -> None:
    a, b = (
        {"x": 1, "recipe": {"lr": 0.1, "pad": 1}},
        {"x": 1, "recipe": {"lr": 0.2, "pad": 1}, "seed_with": []},
    )
    assert setting_differences(a, b) == {"recipe.lr": (0.1, 0.2), "seed_with": (None, [])}


def compare(results: Path, *arguments: str) -> int:
    return nas_command(["compare", *arguments, "--results-dir", str(results)])


def test_two_trials_are_compared_in_every_form(
    results: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert compare(results, "first", "0", "1", "--json") == 0
    short = json.loads(capsys.readouterr().out)
    assert compare(results, "first:0", "first:1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == short
    assert (short["kind"], short["input_shape"]) == ("networks", [1, 8, 8])
    assert short["errors"][0]["seeds"] == {"a": 1, "b": 1, "shared": 0}
    assert short["errors"][0]["difference"]["low"] is None
    file = tmp_path / "net.json"
    file.write_text(json.dumps(short["a"]["genotype"]))
    assert compare(results, str(file), "first:0", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"]
    assert "belongs to no run" in found["no_errors"]


def test_the_command_that_gives_an_interval_is_named_and_gives_it(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(results, "second", "0", "1") == 0
    out = capsys.readouterr().out
    assert "no interval is supported" in out
    advice = shlex.split(out[out.index("nas compare") :])
    assert nas_command([*advice[1:], "--workers", "0"]) == 0
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "An interval takes" not in shown
    assert re.search(r"within seed noise|has a lower error", shown)
    assert compare(results, "second:0", "second:1", "--json") == 0
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert error["seeds"] == {"a": 3, "b": 3, "shared": 3}
    assert error["difference"]["low"] <= error["difference"]["value"] <= error["difference"]["high"]
    assert compare(results, "second:1", "second:0", "--json") == 0
    (turned,) = json.loads(capsys.readouterr().out)["errors"]
    assert turned["difference"]["value"] == pytest.approx(-error["difference"]["value"])


def test_two_runs_are_shown_and_drawn(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = results / "both.png"
    assert compare(results, "first", "second", "--plot", str(plot)) == 0
    out = " ".join(capsys.readouterr().out.split())
    for said in ("searcher", "the same after 4 trials", "resamples of each run's", "--reseed 3"):
        assert said in out
    assert plot.stat().st_size > 1000
    assert compare(results, "first", "second", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    steered = not (found["a"]["uniform"] and found["b"]["uniform"])
    assert ("were chosen by results" in out) == steered
    assert found["settings"]["searcher"] == {"a": "hypervolume", "b": "random"}
    assert [row["share"] for row in found["a"]["error_quantiles"]] == [0.1, 0.25, 0.5, 0.75, 0.9]


def test_errors_of_other_splits_are_not_compared(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(results, "first", "other") == 2
    said = capsys.readouterr().err
    assert "data_fingerprint" in said
    assert "seed: 0 against 1" in said
    assert compare(results, "first:0", "other:0") == 0
    assert "Errors are not compared: the runs differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["first"], 2, "two things are compared, not 1"),
        (["first", "0", "x"], 2, "two things are compared, not 3"),
        (["first", "0"], 3, "no run and no network of the zoo '0'"),
        (["first", "resnet21"], 3, "did you mean 'resnet"),
        (["first:0", "second"], 2, "name two networks, such as first:0 and second:0"),
        (["first:0", "first:99"], 3, "no trial 99"),
        (["first:0", "nothing.json"], 3, "no nothing.json"),
        (["first:0", "first:1", "--plot", "x.png"], 2, "draws two runs, not two networks"),
        (["first:0", "first:1", "--epochs", "2"], 2, "--reseed K"),
        (["first:0", "resnet20", "--reseed", "2"], 2, "only trials of runs"),
        (["first", "second", "--plot", "x.gif"], 2, ".gif"),
    ],
)
def test_bad_requests_are_refused(
    results: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert compare(results, *arguments) == code
    assert said in capsys.readouterr().err


def test_networks_that_take_no_image_in_common_are_refused() -> None:
    tiny = replace(network("plain20"), input_shape=(3, 4, 4))
    with pytest.raises(NasError, match="accept no common input size"):
        compare_networks(tiny, replace(network("alexnet"), input_shape=(3, 8, 8)))
