"""The examples in the help of every command work, and so does completion."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from nas.cli import COMMANDS, cli, run

PREFIX = "Example: "
FIRST = "search --space residual_vs_fractal --data digits?limit=150 --trials 3 --epochs 1 --workers 0"


def example(name: str) -> str:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.epilog, f"nas {name} --help shows no example"
    return command.epilog.removeprefix(PREFIX)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_of_itself(name: str) -> None:
    assert example(name).startswith(f"nas {name}")


@pytest.mark.slow
def test_the_examples_work_as_they_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(FIRST.split()) == 0
    assert run(shlex.split(example("zoo"))[1:]) == 0  # what the other examples read
    for name in COMMANDS:
        if name == "modules":  # which needs more networks
            assert run([*FIRST.split(), "--trials", "12", "--searcher", "random", "--name", "many"]) == 0
        if name not in ("zoo", "dashboard"):  # a dashboard is served until Ctrl-C; it has tests of its own
            words = shlex.split(example(name).partition(" >>")[0])
            assert run(words[1:]) == 0, (name, capsys.readouterr().err)


def completed(line: str) -> list[str]:
    *words, incomplete = line.split(" ")[1:]
    completions = ShellComplete(cli, {}, "nas", "_NAS_COMPLETE").get_completions(words, incomplete)
    return [item.value for item in completions if item.type == "plain"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("nas sp", "spaces"),
        ("nas search --space resid", "residual_vs_fractal"),
        ("nas search --data cifar1", "cifar10"),
        ("nas search --searcher pair", "paired"),
        ("nas search --seed-with resnet20,fractalnet2", "resnet20,fractalnet20"),
        ("nas zoo googlen", "googlenet"),
        ("nas pareto lat", "latest"),
        ("nas export --zoo vgg1", "vgg11"),
    ],
)
def test_names_are_completed(line: str, offered: str) -> None:
    assert offered in completed(line)


def test_runs_are_completed_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert "mine" in completed(f"nas pareto --results-dir {tmp_path} m")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert f"_NAS_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("completion bsh", "bash"),
        ("export latest --format onx", "onnx"),
        ("export latest --column depest", "deepest"),
    ],
)
def test_a_misspelt_word_of_an_option_gets_a_suggestion(
    line: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 2
    assert f"did you mean '{meant}'?" in capsys.readouterr().err
