"""Networks of the zoo brought into a space, and first in a search."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import run
from nas.errors import NasError, NotFoundError
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.searchers.warm_start import find_warm_starts, project, warm_start_proposals
from nas.space.genotype import Genotype
from nas.space.load import load_space, parse_space, space_names
from nas.study.history import History
from nas.training.task import Result
from nas.zoo import zoo, zoo_entry
from nas.zoo.network_file import setting_network

SPACE = """
name: tiny
vary: block
stem: {type: conv, width: 4}
modules:
  residual: {shortcut: [A, B]}
  fractal: {columns: [1, 2]}
stages:
  - {depth: [1, 2], width: [4, 8]}
  - {depth: 1, width: 8, stride: 2}
head: {type: pool}
"""
SETTINGS: dict[str, Any] = {"data": "digits?limit=150", "epochs": 1, "workers": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(SPACE)
    return path


@pytest.mark.parametrize("name", ["plain20", "resnet20", "resnet56", "plain44"])
def test_a_network_inside_the_space_is_not_changed(name: str) -> None:
    (seed,) = find_warm_starts(load_space("plain_vs_residual"), [name])
    assert seed.genotype == zoo_entry(name).build()
    assert not seed.changes
    assert str(seed) == f"{name}: lies in the space"


@pytest.mark.parametrize("name", space_names())
def test_every_projection_lies_in_the_space_and_stays_there(name: str) -> None:
    space = load_space(name)
    for entry in zoo().values():
        genotype, changes = project(space, entry.build())
        assert genotype in space, entry.name
        assert changes or genotype == entry.build(), entry.name
        assert project(space, genotype) == (genotype, [])


def test_a_network_that_no_change_brings_into_a_space_is_refused() -> None:
    text = load_space("plain_vs_residual").to_yaml().partition("constraints:")[0]
    space = parse_space(text + "constraints: {flops: {max: 1k}}\n", "tight.yaml")
    with pytest.raises(NasError, match=r"cannot be brought into plain_vs_residual: flops .* is above 1,000"):
        project(space, zoo_entry("vgg16").build())


@pytest.mark.parametrize(
    ("space", "name", "changes"),
    [
        ("plain_vs_residual", "resnet110", [f"stage{at}.depth 18 -> 9" for at in (1, 2, 3)]),
        ("bn_placement", "resnet20", ["shortcut A -> B in every block"]),
        ("residual_vs_fractal", "plain20", ["stage3.depth 3 -> 2", "type plain -> residual in every block"]),
        (
            "resnext_cardinality",
            "resnext29_8x64d",
            [
                "stem.width 64 -> 32",
                "stage1.width 256 -> 128",
                "base_width 64 -> 14 in every block",
                "stage2.width 512 -> 256",
                "stage3.width 1024 -> 512",
            ],
        ),
        (
            "all_modules",
            "fractalnet20",
            [
                "stem none -> conv 16",
                "without stage1.pool, stage2.pool, stage3.pool, stage4.pool, stage5.pool",
                "stages 5 -> 3",
                "stage1.width 64 -> 32",
                "stage2.width 128 -> 64",
                "stage3.width 256 -> 128",
                "stage3.dropout 0.2 -> 0.1",
            ],
        ),
    ],
)
def test_changes_are_reported_decision_by_decision(space: str, name: str, changes: list[str]) -> None:
    assert project(load_space(space), zoo_entry(name).build())[1] == changes


def test_constraints_reduce_numbers_and_keep_types() -> None:
    text = SPACE.replace("[4, 8]", "[4, 8, 64]") + "constraints: {flops: {max: 2M}}\n"
    space = parse_space(text, "tiny")
    genotype, changes = project(space, zoo_entry("fractalnet20").build())
    assert not space.violations(genotype)
    assert set(genotype.module_types) == {"fractal"}
    assert "stage1.width 64 -> 8" in changes


def test_constraints_that_no_network_meets_are_an_error() -> None:
    space = parse_space(SPACE + "constraints: {flops: {max: 1k}}\n", "tiny")
    with pytest.raises(NasError, match=r"seed resnet20: cannot be brought into tiny: flops .* above"):
        find_warm_starts(space, ["resnet20"])


def test_a_network_with_branches_is_refused() -> None:
    space = load_space("skip_connections")
    branched = next(g for seed in range(50) if "<-" in str(g := space.sample(seed)))
    with pytest.raises(NasError, match="is not a chain"):
        project(load_space("plain_vs_residual"), branched)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'resnet20'"):
        find_warm_starts(load_space("plain_vs_residual"), ["resnet_20"])


def test_equal_networks_are_proposed_once() -> None:
    names = ["resnet20", "resnet110", "resnet20", "resnet56"]
    seeds = find_warm_starts(load_space("plain_vs_residual"), names)
    assert [seed.same_as for seed in seeds] == ["", "", "resnet20", "resnet110"]
    assert str(seeds[3]) == "resnet56: lies in the space; skipped, because it is then the same as resnet110"
    assert [proposal.proposer for proposal in warm_start_proposals(seeds)] == [
        "seed:resnet20",
        "seed:resnet110",
    ]


def test_warm_starts_are_the_first_proposals_by_number() -> None:
    space, searcher = load_space("plain_vs_residual"), make_searcher("random", ("error",))
    seeds = warm_start_proposals(find_warm_starts(space, ["resnet20", "plain56"]))

    def proposals(first: int) -> list[Any]:
        history, proposals = History(("error",)), []
        for number in range(first, 4):
            proposal = propose(searcher, space, history, seed=3, number=number, seeds=seeds)
            assert proposal is not None
            proposals.append((proposal.proposer, proposal.uniform, proposal.genotype))
            history.mark_running(number, proposal.genotype.digest)
        return proposals

    whole = proposals(0)
    assert [(name, uniform) for name, uniform, _ in whole[:2]] == [
        ("seed:resnet20", False),
        ("seed:plain56", False),
    ]
    assert whole[2][0] == "random"
    assert proposals(1)[0] == whole[1]


def quick(genotypes: list[Genotype]) -> Any:
    """Notes what it is given to train, and says how it went without training."""

    def trainer(task: Any, *_: Any) -> Result:
        genotypes.append(task.genotype)
        return Result(task.number, "complete", error=1 / (2 + task.number))

    return trainer


@pytest.mark.slow
def test_a_search_begins_with_its_warm_starts_and_resumes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Genotype] = []
    monkeypatch.setattr("nas.controller.evaluators.local.train_candidate", quick(trained))
    common = ["search", "--results-dir", str(tmp_path), "--name", "seeded", "--json"]
    start = ["--space", str(tiny), "--data", "digits?limit=150", "--epochs", "1", "--workers", "0"]
    seeds = ["--seed-with", "resnet20,fractalnet20,resnet20"]
    assert run([*common, *start, *seeds, "--trials", "1"]) == 0
    said = capsys.readouterr().err
    assert "seed resnet20: stem.width 16 -> 4, stages 3 -> 2, stage1.depth 3 -> 2" in said
    assert "skipped, because it is then the same as resnet20" in said
    assert run([*common, "--resume", "--workers", "0", "--trials", "3"]) == 0
    assert "seed resnet20" not in capsys.readouterr().err
    with nas.open_run("seeded", tmp_path).study as study:
        proposals = [trial.proposal for trial in study.trials]
    proposers = [proposal.proposer for proposal in proposals]
    assert proposers == ["seed:resnet20", "seed:fractalnet20", "hypervolume"]
    assert [proposal.uniform for proposal in proposals] == [False, False, False]
    assert [proposal.genotype for proposal in proposals] == trained
    assert run([*common, "--resume", "--seed-with", "plain20"]) == 2
    assert "seed_with: was resnet20, fractalnet20, resnet20, now plain20" in capsys.readouterr().err


@pytest.mark.slow
def test_the_dry_run_lists_the_changes_of_warm_starts(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["search", "--space", str(tiny), "--data", "digits?limit=150", "--dry-run"]
    assert run([*arguments, "--seed-with", "plain20"]) == 0
    assert "seed        plain20: stem.width 16 -> 4" in capsys.readouterr().out
    assert run([*arguments, "--seed-with", "resnet20", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["config"]["seed_with"] == ["resnet20"]
    assert document["seeds"][0]["changes"][0] == "stem.width 16 -> 4"
    assert run([*arguments, "--seed-with", "resnet21"]) == 3
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_begins_with_networks_of_files_and_needs_the_files_no_more(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Genotype] = []
    monkeypatch.setattr("nas.controller.evaluators.local.train_candidate", quick(trained))
    monkeypatch.chdir(tmp_path)
    space = load_space(tiny)
    Path("mine.json").write_text(space.sample(3).to_json(indent=2))
    assert run(["export", "--zoo", "resnet20", "--to", "exported"]) == 0
    start = ["search", "--space", str(tiny), "--data", "digits?limit=150", "--epochs", "1", "--workers", "0"]
    seeds = ["--seed-with", "mine.json,exported/resnet20,fractalnet20", "--trials", "3"]
    assert run([*start, *seeds, "--name", "first"]) == 0
    assert "seed mine: lies in the space" in capsys.readouterr().err
    assert trained[0] == space.sample(3)
    Path("mine.json").unlink()
    shutil.rmtree("exported")
    assert run(["search", "--resume", "--name", "first", "--workers", "0", "--trials", "4"]) == 0
    assert run(["search", "--config", "results/first/search.yaml", "--name", "again", "--workers", "0"]) == 0
    with nas.open_run("first").study as first, nas.open_run("again").study as again:
        proposers = [trial.proposal.proposer for trial in first.trials]
        assert [trial.digest for trial in again.trials] == [trial.digest for trial in first.trials]
    assert proposers == ["seed:mine", "seed:resnet20", "seed:fractalnet20", "hypervolume"]
    capsys.readouterr()
    assert run(["analyze", "first", "--json"]) == 0
    assert [found["name"] for found in json.loads(capsys.readouterr().out)["scaled"]] == [
        "mine", "resnet20", "fractalnet20",
    ]  # fmt: skip
    Path("mine.json").write_text(space.sample(5).to_json())
    resume = ["search", "--resume", "--name", "first", "--seed-with", "mine.json,resnet20,fractalnet20"]
    assert run(resume) == 2
    assert "seed_with: was mine={" in capsys.readouterr().err


@pytest.mark.parametrize("recorded", ["mine.json", "exported", "../mine.json", "/etc/passwd"])
def test_a_recorded_seed_is_no_path(
    recorded: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    genotype = load_space(tiny).sample(3)
    Path("mine.json").write_text(genotype.to_json())
    Path("exported").mkdir()
    Path("exported", "network.py").write_text("")
    Path("exported", "config.json").write_text(genotype.to_json())
    with pytest.raises(NotFoundError):
        setting_network(recorded)


TEXTS = """
name: texts
vary: stage
stem: {type: conv, width: 8}
modules:
  cell: {graph: ["edges add/add: conv3x3(0)", "edges add/add: conv1x1(0)"]}
stages: [{depth: 1, width: [8, 16]}]
head: {type: pool}
"""


def test_a_cell_keeps_its_graph_where_the_space_lists_it_as_a_text() -> None:
    space = parse_space(TEXTS, "texts")
    wider = next(genotype for genotype in space.enumerate() if "conv1x1" in str(genotype)).to_dict()
    wider["nodes"][0]["module"]["width"] = 24
    genotype, changes = project(space, Genotype.from_dict(wider))
    assert "conv1x1" in str(genotype)
    assert [str(change) for change in changes] == ["stage1.width 24 -> 16"]
