"""Several drivers on one study in PostgreSQL: one budget, nothing lost, nothing done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from testing.configs import make_config
from testing.paths import ROOT
from testing.postgres import PASSWORD, server
from testing.trials import OBJECTIVE_NAMES, SPACE, a_trial

import nas
from nas.cli import run as nas_command
from nas.errors import NasError, NotFoundError, StorageError
from nas.study.run import open_study
from nas.study.run_folder import RunFolder, read_config
from nas.study.shared import SharedStudy
from nas.study.storage_url import parse_storage, without_password
from nas.study.study import Study

TRIALS = 40


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as found:
        os.environ["PGPASSWORD"] = PASSWORD
        yield found
        del os.environ["PGPASSWORD"]


@pytest.fixture
def name(url: str, request: pytest.FixtureRequest) -> str:
    """Of a new, empty study."""
    name = request.node.name[:60]
    Study.create(url, objectives=OBJECTIVE_NAMES, domains=SPACE.domains(), meta={}, name=name).close()
    return name


def claimed(study: SharedStudy, seed: int, below: int = 9) -> int | None:
    with study.reserve_number(below) as number:
        if number is not None:
            study.mark_running(number, SPACE.sample(seed).digest)
    return number


def test_two_drivers_see_the_same_trials_in_the_same_order(url: str, name: str) -> None:
    with SharedStudy.open(url, name=name) as one, SharedStudy.open(url, name=name) as two:
        assert [claimed(one, 0), claimed(two, 1), claimed(one, 2)] == [0, 1, 2]
        assert two.pending == {0: SPACE.sample(0).digest, 1: SPACE.sample(1).digest}
        two.record(a_trial(1))
        one.record(a_trial(2, reason="diverged"))
        one.record(a_trial(0))
        assert claimed(two, 3) == 3
        assert [t.number for t in one.trials] == [t.number for t in two.trials] == [1, 2, 0]
        assert two.seen(SPACE.sample(0).digest)
        with Study.open(url, name=name) as read:
            assert list(read.trials) == [a_trial(1), a_trial(2, reason="diverged"), a_trial(0)]


def test_all_drivers_train_in_the_precision_of_the_first(url: str, name: str) -> None:
    with SharedStudy.open(url, name=name) as one, SharedStudy.open(url, name=name) as two:
        suited = [(one, "bfloat16"), (two, "float32"), (one, "float32")]
        assert [study.resolve_precision(name) for study, name in suited] == ["bfloat16"] * 3
    with SharedStudy.open(url, name=name) as later:
        assert later.resolve_precision("float32") == "bfloat16"


def test_what_a_driver_gives_up_another_takes(url: str, name: str) -> None:
    with SharedStudy.open(url, name=name) as one, SharedStudy.open(url, name=name) as two:
        assert claimed(one, 0, below=1) == 0
        assert claimed(two, 0, below=1) is None
        two.discard(0)  # not its own
        assert claimed(two, 0, below=1) is None
        one.discard(0)
        assert claimed(two, 0, below=1) == 0


def wait_until_gone(study: SharedStudy, process: int) -> None:
    """Wait until the server has ended a process whose connection was lost."""
    query, alive = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {process}", 1
    while alive:
        with study._connection.begin():  # what a transaction has seen of the activity stays as it was
            alive = study._connection.exec_driver_sql(query).scalar()


def test_the_claims_of_a_lost_connection_are_free_and_no_longer_recorded(url: str, name: str) -> None:
    with SharedStudy.open(url, name=name) as one, SharedStudy.open(url, name=name) as two:
        assert [claimed(one, 0), claimed(one, 1)] == [0, 1]
        process = one._connection.connection.dbapi_connection.info.backend_pid
        one._connection.invalidate()  # as the network would
        wait_until_gone(two, process)
        assert claimed(two, 2) == 0
        with pytest.raises(StorageError, match="connection was lost"):
            one.record(a_trial(1))
        assert not two.trials


def test_an_error_within_a_turn_frees_the_turn_and_claims_nothing(url: str, name: str) -> None:
    with SharedStudy.open(url, name=name) as one, SharedStudy.open(url, name=name) as two:

        def failing() -> None:
            with one.reserve_number(9):
                one.mark_running(0, "digest")
                raise RuntimeError("of a searcher")

        with pytest.raises(RuntimeError, match="of a searcher"):
            failing()
        assert claimed(two, 0) == 0


def test_the_study_of_a_run_is_opened_on_the_server_that_its_user_names(
    url: str, name: str, tmp_path: Path
) -> None:
    config = make_config(storage=without_password(url), study=name)
    with open_study(RunFolder(tmp_path), config, url) as study:
        assert study.name == name
    with pytest.raises(NasError, match="storage"):
        open_study(RunFolder(tmp_path), config)


def test_a_study_is_made_once_and_found_by_name(url: str, name: str) -> None:
    with pytest.raises(NasError, match="exists already") as caught:
        Study.create(url, objectives=OBJECTIVE_NAMES, domains={}, name=name)
    assert "--resume" in caught.value.hint
    with pytest.raises(NotFoundError, match="no study 'nobodys'"):
        Study.open(url, name="nobodys")
    with pytest.raises(NotFoundError) as missing:
        Study.open(url, name=name[:-1])
    assert f"did you mean '{name}'" in missing.value.hint
    with pytest.raises(NotFoundError, match="several"):
        Study.open(url)


DRIVER = """
    import os, sys, time
    import numpy as np
    from pathlib import Path
    from nas.controller.config import SearchConfig
    from nas.controller.loop import run_search
    from nas.training.recipe import Recipe
    from nas.controller.evaluators.base import Result
    from nas.controller.evaluators.local import LocalEvaluator
    from nas.searchers import make_searcher
    from nas.study.shared import SharedStudy
    from nas.space.load import load_space

    def train(task, dataset, recipe, device, on_epoch, on_batch):
        def log(event):
            with open(sys.argv[3], "a") as file:
                file.write(f"{event} {task.number} {os.getpid()}\\n")
        log("start")
        while len({line.split()[2] for line in open(sys.argv[3])}) < 3:  # until all three are at work
            time.sleep(0.02)
        time.sleep(0.1)
        log("end")
        return Result(task.number, "complete", error=float(np.random.default_rng(task.seed).random()))

    space = load_space("residual_vs_fractal")
    with SharedStudy.open(sys.argv[1], name=sys.argv[2]) as study:
        searcher = make_searcher("evolution", study.objectives)
        evaluator = LocalEvaluator(None, None, trainer=train)
        run_search(SearchConfig(space, searcher, Recipe(epochs=1), int(sys.argv[4])), study, evaluator)
"""


@pytest.mark.slow
def test_drivers_share_the_budget_also_where_one_is_killed(url: str, name: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = [sys.executable, "-c", textwrap.dedent(DRIVER), url, name, str(log), str(TRIALS)]
    with open(tmp_path / "stderr", "w") as stderr:
        drivers = [subprocess.Popen(words, cwd=ROOT, stderr=stderr) for _ in range(3)]

    def events() -> list[list[str]]:
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    while len({process for _, _, process in events()}) < 3:  # all are at work
        assert all(driver.poll() is None for driver in drivers), (tmp_path / "stderr").read_text()
        time.sleep(0.02)
    drivers[0].kill()
    drivers[0].wait()
    for driver in drivers[1:]:
        assert driver.wait(120) == 0, (tmp_path / "stderr").read_text()
    starts = Counter(int(number) for event, number, _ in events() if event == "start")
    assert sorted(starts) == list(range(TRIALS))
    in_flight = {
        int(number)
        for _, number, process in events()
        if process == str(drivers[0].pid) and ["end", number, process] not in events()
    }
    with Study.open(url, name=name) as study:
        assert sorted(trial.number for trial in study.trials) == list(range(TRIALS))
        assert len({trial.digest for trial in study.trials}) == TRIALS
    again = {number for number, count in starts.items() if count > 1}
    lost = [number for number in again if number not in in_flight]
    assert len(again) <= 1, "more than what was in flight was trained again"
    assert len(lost) <= 1  # one that had ended may have been killed before it was recorded


@pytest.mark.slow
def test_the_command_line_shares_a_search(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with_password = url.replace("nas@", "nas:a%20secret@")
    line = "search --space residual_vs_fractal --data digits?limit=60 --epochs 1 --workers 0 --name shared"
    first = [*line.split(), "--trials", "4"]
    monkeypatch.delenv("PGPASSWORD")
    assert nas_command([*first, "--results-dir", "one", "--storage", with_password]) == 0
    assert "secret" not in "".join(p.read_text() for p in Path("one/shared").glob("*.*") if p.is_file())
    assert nas_command(["pareto", "shared", "--results-dir", "one"]) == 2
    assert f"NAS_STORAGE={url}" in capsys.readouterr().err
    monkeypatch.setenv("NAS_STORAGE", url)
    assert nas_command(["pareto", "shared", "--results-dir", "one"]) == 6
    assert "PGPASSWORD" in capsys.readouterr().err
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert nas_command([*first, "--results-dir", "two", "--storage", url]) == 2
    assert "--resume" in capsys.readouterr().err
    assert not Path("two/shared").exists()

    words = ["search", "--resume", "--name", "shared", "--results-dir", "two", "--workers", "0"]
    assert nas_command([*words, "--trials", "6", "--storage", url]) == 0
    assert nas_command([*words, "--trials", "7"]) == 0  # NAS_STORAGE names the server of the folder
    capsys.readouterr()
    configs = [read_config(nas.study.run_folder.find_run("shared", folder)) for folder in ("one", "two")]
    assert [config.storage for config in configs] == [url, url]
    for command in ("analyze", "replay", "export --best"):
        assert nas_command([*command.split(), "shared", "--results-dir", "two"]) == 0
    fronts = []
    for folder in ("one", "two"):
        capsys.readouterr()
        assert nas_command(["pareto", "shared", "--results-dir", folder, "--json"]) == 0
        fronts.append(json.loads(capsys.readouterr().out))
        assert nas_command(["runs", "--results-dir", folder, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["runs"][0]["storage"] == url
        monkeypatch.delenv("NAS_STORAGE", raising=False)
        with nas.open_run("shared", folder, storage=with_password).study as study:
            assert sorted(trial.number for trial in study.trials) == list(range(7))
        monkeypatch.setenv("NAS_STORAGE", url)
    assert fronts[0] == fronts[1]


def test_joining_needs_a_name_and_a_study(
    url: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--resume", "--storage", url, "--results-dir", str(tmp_path)]
    assert nas_command(words) == 2
    assert "--name" in capsys.readouterr().err
    assert nas_command([*words, "--name", "nobodys"]) == 3
    assert "no study 'nobodys'" in capsys.readouterr().err
    assert nas_command([*words, "--name", name]) == 3  # of another program
    assert "is no study of nas search" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgres", "is not the URL"),
        ("sqlite:///x.db", "sqlite cannot be shared"),
        ("postgresql+psycopg2://u@h/d", "cannot be shared"),
        ("postgresql://u@h", "names no database"),
        ("postgresql://u@h/d?password=x", "unknown option 'password'"),
        ("postgresql://u@h:port/d", "is not the URL"),
    ],
)
def test_a_storage_is_a_plain_url_of_postgresql(text: str, said: str) -> None:
    with pytest.raises(NasError, match=said.replace("?", ".")):
        parse_storage(text)


def test_the_password_is_left_out() -> None:
    text = "postgresql+psycopg://me:a%20secret@host:5433/db?sslmode=require"
    assert without_password(text) == "postgresql://me@host:5433/db?sslmode=require"


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.plugins.find_spec", lambda name: None)
    with pytest.raises(NasError, match=r"pip install 'nas-modules\[postgresql\]'"):
        Study.open("postgresql://u@nowhere/d")


def test_a_server_that_is_not_there_is_an_error_of_storage() -> None:
    with pytest.raises(StorageError, match="see that the server answers"):
        Study.open("postgresql://u:secret@127.0.0.1:1/d")
