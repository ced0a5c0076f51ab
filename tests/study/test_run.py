"""A small search in this process: opened, resumed, exported, and read by every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from testing.small_spaces import TINY

import nas
from nas.cli import run as nas_command
from nas.controller.record import kept_weights
from nas.errors import AllTrialsFailedError, LockedError, NasError, NotFoundError
from nas.study import run_folder
from nas.study.config_diff import BECAME, differences, lines
from nas.study.run_config import VERSION
from nas.training.precision import hardware_precision
from nas.training.recipe import Recipe

SETTINGS: dict[str, Any] = {"data": "digits?limit=150", "epochs": 1, "workers": 0}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space and a finished run of six trials."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(TINY)
    search(folder, trials=6, name="first").study.close()
    return folder


def search(home: Path, **settings: Any) -> Any:
    chosen = {"results_dir": home / "results"} | SETTINGS | settings
    return nas.search(home / "tiny.yaml", **chosen)


@pytest.fixture
def first(home: Path) -> Any:
    with (run := nas.open_run("first", home / "results")).study:
        yield run


def test_the_frame_has_one_row_per_trial(first: Any) -> None:
    assert list(first.trials["number"]) == list(range(6))
    assert set(first.trials["state"]) == {"complete"}
    assert first.trials["error"].between(0, 1).all()


def test_the_front_is_sorted_and_nothing_dominates_it(first: Any) -> None:
    front, trials = nas.pareto_front(first), first.trials
    assert front["error"].is_monotonic_increasing
    for row in front.itertuples():
        no_worse = (trials["error"] <= row.error) & (trials["flops"] <= row.flops)
        better = (trials["error"] < row.error) | (trials["flops"] < row.flops)
        assert not (no_worse & better).any()
    assert first.best().error == trials["error"].min()
    assert first.knee().number in set(front["number"])


def test_the_analysis_counts_the_trials(first: Any) -> None:
    assert nas.analyze(first).trials == 6


def test_the_config_holds_the_settings_of_the_search(first: Any) -> None:
    config = first.config
    assert config.layout == VERSION
    assert config.space == "tiny"
    assert config.data == SETTINGS["data"]
    assert config.recipe.epochs == 1
    assert {"nas", "python", "torch", "ray", "optuna"} <= set(config.versions)
    assert first.space.name == "tiny"
    assert first.space.input_shape == (1, 8, 8)


def test_the_weights_of_the_front_are_kept(first: Any) -> None:
    kept = {path.name for path in first.files.weights.iterdir()}
    assert kept == kept_weights(first.study)
    assert kept >= {f"{number}.safetensors" for number in nas.pareto_front(first)["number"]}
    assert first.weights(first.best())


@pytest.mark.parametrize("given", ["first", "latest", "path"])
def test_a_run_is_found_by_name_by_path_and_as_latest(home: Path, given: str) -> None:
    target = str(home / "results" / "first") if given == "path" else given
    with nas.open_run(target, home / "results").study as study:
        assert len(study.trials) == 6


def test_a_trial_that_is_missing_is_named(first: Any) -> None:
    with pytest.raises(NotFoundError, match="no trial 99\n  recorded are 0 to 5"):
        first.trial(99)


def test_equal_seeds_give_equal_runs(home: Path, first: Any) -> None:
    second = search(home, trials=6, name="again", results_dir=home / "other")
    with second.study:
        columns = ["digest", "error", "flops", "seed"]
        assert second.trials[columns].equals(first.trials[columns])


def test_an_existing_run_is_refused_with_a_hint_at_resume(home: Path) -> None:
    with pytest.raises(NasError, match="--resume"):
        search(home, trials=6, name="first")


def test_trials_is_the_total_of_a_resumed_run(home: Path) -> None:
    search(home, trials=2, name="grows", results_dir=home / "grown").study.close()
    grown = nas.search(name="grows", results_dir=home / "grown", resume=True, trials=4, workers=0)
    with grown.study:
        assert list(grown.trials["number"]) == [0, 1, 2, 3]
        assert grown.config.trials == 4
    straight = search(home, trials=4, name="straight", results_dir=home / "grown")
    with straight.study:
        assert list(straight.trials["digest"]) == list(grown.trials["digest"])


def test_the_precision_is_decided_once_in_a_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []
    settings: dict[str, Any] = {"results_dir": home / "precision", "on_precision": named.append}
    monkeypatch.setattr("nas.training.precision.hardware_precision", lambda device: "float32")
    begun = search(home, trials=2, name="precision", **settings)
    with begun.study:
        assert begun.config.recipe.precision == "float32"
    monkeypatch.setattr("nas.training.precision.hardware_precision", lambda device: "bfloat16")
    again = nas.search(name="precision", resume=True, trials=3, workers=0, **settings)
    assert named == ["float32", "float32"]
    with again.study:
        assert len(again.study.complete) == 3
        assert again.config.recipe.precision == "float32"


def test_a_finished_run_resumes_to_nothing(home: Path) -> None:
    told: list[Any] = []
    done = nas.search(
        name="first", results_dir=home / "results", resume=True, on_start=lambda *args: told.append(args)
    )
    with done.study:
        assert len(done.study.trials) == 6
    assert told == []


def test_a_finished_run_says_so_and_is_not_ranked_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--resume", "--name", "first", "--results-dir", str(home / "results")]
    assert nas_command(words) == 0
    out = capsys.readouterr().out
    assert "All 6 trials are recorded already. Add some with --trials N or --time 30m." in out
    assert "Pareto front" in out
    assert "What it says" not in out
    assert nas_command([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["analysis"]["estimand"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": 2}, "recipe.epochs: was 1, now 2"),
        ({"seed": 1}, "seed: was 0, now 1"),
        ({"searcher": "random"}, "searcher: was hypervolume, now random"),
        ({"objectives": ("error", "params")}, "objectives: was error, flops, now error, params"),
        ({"data": "digits?limit=160"}, "data_fingerprint"),
        ({"space": "plain_vs_residual"}, "space: was tiny, now plain_vs_residual"),
    ],
)
def test_resume_refuses_other_settings_and_names_them(home: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(NasError, match="cannot resume") as caught:
        nas.search(name="first", results_dir=home / "results", resume=True, workers=0, **changed)
    assert said in str(caught.value)


def test_a_changed_setting_is_named_by_its_path() -> None:
    before = {"recipe": {"lr": 0.1, "pad": 1}, "trials": 5, "seed": 0}
    after = {"recipe": {"lr": 0.2, "pad": 1}, "trials": 9, "seed": 0}
    changes = differences(before, after, frozenset({"trials"}))
    assert lines(changes, BECAME) == ["recipe.lr: was 0.1, now 0.2"]
    assert differences(before, before) == {}


def test_a_run_that_is_being_written_is_locked(home: Path) -> None:
    files = run_folder.find_run("first", home / "results")
    with run_folder.lock_run(files), pytest.raises(LockedError, match="held by process"):
        nas.search(name="first", results_dir=home / "results", resume=True, trials=9, workers=0)


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from nas.cli import run
print(run(sys.argv[2:]), "ray" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("results", "size"), [("file/below", 1 << 30), ("full", 10_000)], ids=["unwritable", "half a study"]
)
def test_a_run_that_cannot_be_made_fails_before_ray_and_leaves_no_folder(
    tmp_path: Path, results: str, size: int
) -> None:
    (tmp_path / "file").write_text("")
    options = "--space plain_vs_residual --data digits?limit=150 --workers 2 --results-dir"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(size), "search", *options.split(), results],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(nas.__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "6 False\n", done.stderr
    assert results in done.stderr
    assert list(tmp_path.glob("*/*")) == []


def test_two_runs_of_one_machine_pool(home: Path, first: Any) -> None:
    """Both were trained in the precision that the machine suits, and say so when they are opened."""
    with search(home, trials=2, searcher="random", name="second").study:
        pass
    with (second := nas.open_run("second", home / "results")).study:
        assert second.config.recipe.precision == first.config.recipe.precision != "auto"
        assert nas.analyze([first, second]).networks == len(
            {t.digest for t in (*first.study.trials, *second.study.trials)}
        )


def test_a_refused_start_leaves_no_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NasError("the cluster refuses")

    monkeypatch.setattr("nas.controller.search.make_evaluator", refuse)
    with pytest.raises(NasError, match="the cluster refuses"):
        search(home, trials=1, results_dir=home / "refused")
    assert list((home / "refused").iterdir()) == []


def test_a_search_ends_if_all_trials_fail(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("nas.codegen.build.build", broken)
    with pytest.raises(AllTrialsFailedError, match="no such luck"):
        search(home, trials=3, results_dir=home / "failing")


def test_every_command_reads_the_run(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    for command in ("pareto first", "analyze latest", "show first --trial 0", "runs"):
        assert nas_command(command.split()) == 0
        text = capsys.readouterr().out
        assert len(text.splitlines()) >= 2
        assert nas_command([*command.split(), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["schema"] == 1


def test_pareto_json_has_the_documented_keys(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert nas_command(["pareto", "first", "--json", "--plot", "front.svg"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"trial", "error", "flops", "params", "digest", "module_types"} <= set(found["front"][0])
    assert found["hypervolume"] > 0
    assert len(found["reference_point"]) == 2
    assert (home / "front.svg").read_text().startswith("<?xml")


def test_search_ends_with_commands_that_work(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    line = (
        "search --space tiny.yaml --data digits?limit=150 --trials 2 --epochs 1 --workers 0 --results-dir b"
    )
    assert nas_command(line.split()) == 0
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert lines[0].startswith("data        digits?limit=150: classification, 10 classes")
    start = next(at for at, text in enumerate(lines) if text.startswith("2 candidates"))
    progress = lines[start:]
    assert progress[0].startswith("2 candidates on digits?limit=150, 1 epoch each")
    assert progress[1] == f"precision: {hardware_precision('cpu')}"
    assert [row.split()[:2] for row in progress[2:]] == [["1/2", "#0"], ["2/2", "#1"]]
    commands = captured.out.split("\nNext\n")[1].splitlines()
    assert [row.split()[1] for row in commands] == ["pareto", "analyze", "report", "export", "train"]
    for row in commands[:2]:
        assert nas_command(row.split()[1:]) == 0
    assert (home / "front.png").is_file()
    capsys.readouterr()
    assert nas_command([*line.replace("/b", "/c").split(), "--json", "--name", "json"]) == 0
    assert {"exhausted", "networks", "schema", "run", "pareto", "analysis"} == set(
        json.loads(capsys.readouterr().out)
    )


@pytest.mark.slow
def test_export_and_training_of_a_trial(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert nas_command(["export", "first", "--pareto", "--weights", "--json"]) == 0
    exports = json.loads(capsys.readouterr().out)["exports"]
    assert all(export["weights"] and export["difference"] <= 1e-5 for export in exports)
    source = Path(exports[0]["folder"]) / "network.py"
    assert nas_command(["train", str(source), "--epochs", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert 0 <= report["test_error"] <= 1
    assert [row["epoch"] for row in report["curve"]] == [1, 2]
    assert {path.name for path in source.parent.iterdir()} >= {
        "model.safetensors",
        "training.json",
        "curve.png",
    }
    assert nas_command(["train", str(source), "--epochs", "2", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report
    assert nas_command(["train", "first", "--trial", "0", "--epochs", "1"]) == 0
    assert "test error" in capsys.readouterr().out


def test_a_config_is_frozen_and_copied_to_change_it(first: Any) -> None:
    with pytest.raises(ValueError, match="frozen"):
        first.config.trials = 7
    longer = first.config.model_copy(update={"trials": 7})
    assert (first.config.trials, longer.trials) == (6, 7)
    recorded = json.loads(first.files.config.read_text())
    assert first.config.to_dict() == {key: value for key, value in recorded.items() if key != "checksum"}
    assert first.config.recipe == Recipe(**recorded["recipe"])
