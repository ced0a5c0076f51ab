"""The page docs/how_to/bring_your_own.md: its files are short, and its commands work as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from testing.paths import ROOT

import nas
from nas import plugins
from nas.errors import NasError, NotFoundError
from nas.plugins import load_function, load_plugin

PAGE = (ROOT / "docs" / "how_to" / "bring_your_own.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```\w+ title="(.+?)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)
MOST_LINES = 40

DRIVER = """
import json, runpy, shlex, sys
from nas.cli import run

sys.path.insert(0, "")
for line in json.load(sys.stdin):
    program, *arguments = shlex.split(line)
    print("$", line, flush=True)
    if arguments[:2] == ["-m", "pytest"]:
        import pytest
        assert pytest.main(arguments[2:]) == 0, line
    elif program == "python":
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        assert run(arguments) == 0, line
"""
"""All commands in one process: each would import torch and pandas again."""


def write_files(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")


def in_fresh_process(code: str, folder: Path, *, given: str = "", path: str = "") -> str:
    paths = os.pathsep.join(filter(None, (path, str(ROOT), os.environ.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_file_is_short() -> None:
    assert set(FILES) == {
        *("stripes.py", "save_stripes.py", "ghost.py", "calibration.py", "own_loop.py"),
        *("small_first.py", "ghost_or_residual.yaml", "pyproject.toml", "test_own.py"),
    }
    for name, text in FILES.items():
        assert text.count("\n") < MOST_LINES, name


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The folder in which the commands of the page have run, and what they printed."""
    folder = tmp_path_factory.mktemp("own")
    write_files(folder)
    return folder, in_fresh_process(DRIVER, folder, given=json.dumps(COMMANDS))


@pytest.mark.slow
def test_the_commands_of_the_page_work(page) -> None:
    folder, said = page
    assert all(f"$ {line}" in said for line in COMMANDS)
    configs = {
        path.parent.name: json.loads(path.read_text()) for path in folder.glob("results/*/config.json")
    }
    assert configs["arrays"]["classes"] == ["horizontal", "vertical"]
    assert configs["folder"]["input_shape"] == [1, 12, 12]
    assert configs["calibrated"]["objectives"] == ["error", "python:calibration:calibration"]
    assert any(config["recipe"]["batch_size"] == 32 for config in configs.values())
    exported = next((folder / "chosen").glob("*/network.py")).read_text()
    assert "import torch" in exported
    assert "import nas" not in exported
    assert "best error" in said


@pytest.mark.slow
def test_an_objective_of_ones_own_is_recorded_and_nothing_runs_on_opening(page) -> None:
    folder, _ = page
    (folder / "calibration.py").write_text("raise SystemExit('this must not run')")
    name = "python:calibration:calibration"
    run = nas.open_run(folder / "results" / "calibrated")
    for trial in run.study.complete:
        assert 0 <= trial.objective(name) <= 1
        assert trial.values(run.study.objectives) == (trial.error, trial.measured[name])
    assert set(nas.pareto_front(run)[name]) == {trial.measured[name] for trial in run.front()}
    with pytest.raises(NasError, match=r"runs only where you name it too\n.*--objectives error,python:cal"):
        nas.search(name="calibrated", results_dir=folder / "results", resume=True, workers=0)


@pytest.mark.slow
def test_a_run_with_an_unknown_type_says_which_option_brings_it(page) -> None:
    """Figures are told without it; a network that holds the type cannot be read."""
    folder, _ = page
    with nas.open_run(folder / "results" / "ghost").study as study:
        assert any("ghost" in trial.module_types for trial in study.trials)
        with pytest.raises(NasError, match=r"unknown module 'ghost'(.|\n)*--plugin FILE.py") as raised:
            _ = [trial.genotype.nodes for trial in study.trials]
    assert raised.value.exit_code == 2


SEARCH = """
import nas
run = nas.search("ghost_or_residual.yaml", data="digits?limit=60", trials=3, epochs=1, workers=1, name="ray")
print(run.study.complete and sorted({name for trial in run.study.trials for name in trial.module_types}))
print([trial.message for trial in run.study.trials])
"""


@pytest.mark.slow
def test_types_and_objectives_travel_to_workers_that_have_no_copy(tmp_path) -> None:
    """The file is gone when the workers start: what is loaded is sent, also of a type that only its file
    describes."""
    write_files(tmp_path)
    text, docstring = FILES["ghost.py"], re.search(r'    """.+"""\n\n', FILES["ghost.py"])
    assert docstring
    (tmp_path / "ghost.py").write_text(docstring[0].strip() + "\n" + text.replace(docstring[0], ""))
    code = "from pathlib import Path; from nas.plugins import load_plugin; load_plugin('ghost.py')\n"
    code += "Path('ghost.py').unlink()\n" + SEARCH.replace(
        "workers=1", "workers=1, objectives=['error', 'python:calibration:calibration']"
    )
    said = in_fresh_process(code, tmp_path)
    assert "['ghost', 'residual']\n['', '', '']" in said, said


@pytest.mark.slow
def test_a_module_that_was_imported_anew_is_sent_as_it_is_now(tmp_path) -> None:
    """As in a notebook: the file is mended, and its module dropped and named again."""
    write_files(tmp_path)
    code = "import sys\nfrom nas.plugins import load_function\n"
    code += "load_function('calibration:calibration', '')\ndel sys.modules['calibration']\n" + SEARCH.replace(
        "workers=1", "workers=1, objectives=['error', 'python:calibration:calibration']"
    ).replace("ghost_or_residual.yaml", "residual_vs_fractal")
    said = in_fresh_process(code, tmp_path)
    assert "['', '', '']" in said, said


def test_an_installed_package_brings_its_types(tmp_path) -> None:
    """As pip would leave it: the module and its entry points on the path, and no option."""
    site = tmp_path / "site"
    info = site / "ghost_modules-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ghost.py").write_text(FILES["ghost.py"])
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ghost-modules\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nas.modules]\nghost = ghost\n")
    write_files(tmp_path)
    (tmp_path / "ghost.py").unlink()
    code = "import nas; print(nas.load_space('ghost_or_residual.yaml').sample(1).module_types)"
    assert "ghost" in in_fresh_process(code, tmp_path, path=str(site))
    (site / "ghost.py").write_text("1 / 0")
    code = f"import nas\ntry:\n    {code.partition('; ')[2]}\nexcept nas.NasError as error:\n    print(error)"
    said = in_fresh_process(code, tmp_path, path=str(site))
    assert "entry point 'ghost' of ghost-modules: cannot be imported: ZeroDivisionError" in said


def test_what_is_wrong_with_a_plugin_is_told_with_its_line(tmp_path) -> None:
    with pytest.raises(NotFoundError, match="there is no such file"):
        load_plugin(tmp_path / "absent.py")
    broken = tmp_path / "broken_plugin.py"
    broken.write_text("import nas\n\nnas.nothing\n")
    with pytest.raises(NasError, match=r"broken_plugin.py:3: AttributeError"):
        load_plugin(broken)
    assert "broken_plugin" not in sys.modules
    taken = tmp_path / "taken_plugin.py"
    taken.write_text(FILES["ghost.py"].replace('name="ghost"', 'name="plain"'))
    with pytest.raises(NasError, match=r"taken_plugin.Ghost: 'plain' is the name of nas.modules.plain.Plain"):
        load_plugin(taken)
    shadow = tmp_path / "json.py"
    shadow.write_text("")
    with pytest.raises(NasError, match="a module 'json' is loaded already"):
        load_plugin(shadow)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("json", "names no function"),
        ("json:absent", "json has no function 'absent'"),
        ("absent_module:f", "cannot be imported"),
    ],
)
def test_what_is_wrong_with_a_function_is_told_before_the_search(target, message, tmp_path) -> None:
    with pytest.raises(NasError, match=message):
        load_function(target, "objective")
    with pytest.raises(NasError, match=message):
        nas.search("residual_vs_fractal", objectives=["error", f"python:{target}"], results_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_modules_of_python_itself_are_not_sent() -> None:
    load_function("os:abort", "objective")
    assert sys.modules["os"] not in plugins.own


def test_an_objective_that_gives_no_number_fails_the_trial(tmp_path, monkeypatch) -> None:
    from nas.data import load_data
    from nas.training.candidate import train_candidate
    from nas.training.recipe import default_recipe
    from nas.training.task import Task

    dataset = load_data("digits?limit=60")
    space = nas.load_space("residual_vs_fractal").with_input(dataset.input_shape, dataset.num_classes)
    measures = {"python:m:f": lambda network, dataset: float("nan")}
    task = Task(0, space.sample(0), 0, measures=measures)
    result = train_candidate(task, dataset, default_recipe(dataset, 1))
    assert (result.state, result.reason) == ("failed", "exception")
    assert "python:m:f gave nan" in result.message
