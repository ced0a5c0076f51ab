"""Commands that need no run; the others are in tests/study/test_run.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from testing.paths import ROOT

import nas
from nas.cli import COMMANDS, run
from nas.cli._progress import SearchProgress

CHECKOUT = ROOT


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: nas {name}")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"nas {nas.__version__}\n"


def test_help_is_printed_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Usage: nas" in capsys.readouterr().err


@pytest.mark.parametrize("help", ["['--help']", "['search', '--help']"])
def test_help_loads_nothing_heavy(help: str) -> None:
    script = (
        f"import sys; from nas.cli import run; run({help});"
        "heavy = {'torch', 'ray', 'optuna', 'pandas', 'numpy', 'rich', 'matplotlib'} & set(sys.modules);"
        "print(*heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_a_checkout_runs_without_installation(tmp_path: Path) -> None:
    command = [sys.executable, str(CHECKOUT / "cli.py"), "spaces", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "residual_vs_fractal" in [space["name"] for space in json.loads(done.stdout)["spaces"]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["serach"], 2, "did you mean 'search'"),
        (["search", "--spcae", "x"], 2, "--space"),
        (["search"], 2, "name a search space"),
        (["search", "--space", "residual_vs_factal"], 3, "did you mean 'residual_vs_fractal'"),
        (["search", "--space", "no.yaml"], 3, "no.yaml"),
        (["search", "--space", "residual_vs_fractal", "--trials", "0"], 2, "trials: must be at least 1"),
        (["search", "--space", "residual_vs_fractal", "--data", "digit"], 2, "digits"),
        (
            ["search", "--space", "residual_vs_fractal", "--searcher", "evolutoin"],
            2,
            "did you mean 'evolution'",
        ),
        (["search", "--space", "residual_vs_fractal", "--objectives", "eror"], 2, "did you mean 'error'"),
        (["search", "--space", "residual_vs_fractal", "--name", "../up"], 2, "../up"),
        (["search", "--resume"], 3, "no runs"),
        (["pareto", "latest"], 3, "no runs"),
        (["analyze", "nowhere"], 3, "nowhere"),
        (["export", "latest"], 2, "choose one of"),
        (["train", "missing.py", "--data", "digits"], 3, "missing.py"),
        (["train", "latest"], 2, "--trial"),
        (["cost", "missing.json"], 3, "missing.json"),
    ],
)
def test_errors_say_what_is_wrong_in_few_lines(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert len(lines_of(captured.err)) <= 4
    assert list(tmp_path.iterdir()) == []


def test_spaces_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["spaces"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in nas.space.load.space_names())
    assert run(["spaces", "residual_vs_fractal", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    space = nas.load_space("residual_vs_fractal")
    assert shown["schema"] == 1
    assert shown["size"]["count"] == space.size().count
    assert set(shown["decisions"]) == set(space.domains())


def test_cost_counts_at_the_given_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    genotype = nas.load_space("residual_vs_fractal").sample(3)
    path = tmp_path / "genotype.json"
    path.write_text(genotype.to_json())
    assert run(["cost", str(path), "--input", "1x8x8", "--classes", "7", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    from nas.graph.cost import cost

    expected = cost(nas.expand(genotype, (1, 8, 8), 7))
    assert (figures["params"], figures["flops"]) == (expected.params, expected.flops)
    assert figures["digest"] == genotype.digest
    assert run(["cost", str(path), "--input", "8x8"]) == 2
    assert "3x32x32" in capsys.readouterr().err


def test_a_bad_genotype_names_file_and_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    genotype = nas.load_space("residual_vs_fractal").sample(3).to_dict()
    genotype["nodes"][0]["module"]["type"] = "resnxt"
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(genotype))
    assert run(["cost", str(path)]) == 2
    error = capsys.readouterr().err
    assert "genotype.json" in error
    assert "did you mean 'resnext'" in error


@pytest.mark.slow
def test_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["search", "--space", "residual_vs_fractal", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["costs"]["flops"]["low"] <= plan["costs"]["flops"]["median"] <= plan["costs"]["flops"]["high"]
    assert plan["seconds"] > 0
    assert plan["config"]["space"] == "residual_vs_fractal"
    assert plan["stem"] == {"type": "conv", "width": 16}
    assert plan["limits"]["flops"] == {"max": 100_000_000, "ruled_out": 0.0}
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_on_gpus_says_that_they_decide_how_many_train(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["search", "--space", "residual_vs_fractal", "--dry-run", "--gpus-per-worker", "2"]) == 0
    assert "not estimated on GPUs, as many candidates at a time as" in capsys.readouterr().out


def test_fields_of_the_recipe_are_set_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["search", "--space", "residual_vs_fractal", "--dry-run", "--json", "--epochs", "3"]
    assert run([*arguments, "--recipe", "lr=0.05, weight_decay=1e-4,flip=true"]) == 0
    recipe = json.loads(capsys.readouterr().out)["config"]["recipe"]
    assert (recipe["lr"], recipe["weight_decay"], recipe["flip"]) == (0.05, 1e-4, True)
    assert (recipe["epochs"], recipe["momentum"]) == (3, 0.9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lrr=1", "did you mean 'lr'"),
        ("lr", "write NAME=VALUE"),
        ("lr=fast", "must be a number, not 'fast'"),
        ("lr=1,lr=2", "given twice"),
    ],
)
def test_a_wrong_field_of_the_recipe_is_named(
    capsys: pytest.CaptureFixture[str], given: str, message: str
) -> None:
    assert run(["search", "--space", "residual_vs_fractal", "--dry-run", "--recipe", given]) == 2
    assert message in capsys.readouterr().err


def test_output_of_other_programs_goes_to_stderr_during_a_search(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with SearchProgress():
        print("(raylet) a dump of its state")
        print("a line of another program")
    print("data")
    assert capsys.readouterr() == ("data\n", "a line of another program\n")


@pytest.mark.parametrize(
    "command", ["runs", "analyze run", "pareto run", "search --space five_types --trials 1"]
)
def test_a_name_too_long_for_a_file_is_wrong_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--results-dir", "1" * 300]) in (2, 3)
    assert "too long" in capsys.readouterr().err
