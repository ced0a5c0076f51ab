"""What `nas analyze` adds on request, on the published runs."""

import json
import shutil

import pytest
from testing.paths import ROOT

from nas.cli import run
from nas.study.run import open_run
from nas.study.run_folder import write_config

PUBLISHED = ROOT / "results" / "published" / "five_types_cifar10" / "main"

pytestmark = pytest.mark.slow


@pytest.fixture
def analyze(capsys):
    """Run the command and return its exit code, stdout and stderr."""

    def call(*arguments):
        code = run(["analyze", *map(str, arguments)])
        return (code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The published run as if it were of another data set."""
    folder = tmp_path_factory.mktemp("runs") / "elsewhere"
    shutil.copytree(PUBLISHED, folder)
    with (opened := open_run(folder)).study:
        changes = {"data": "elsewhere", "data_fingerprint": "0" * 32}
        write_config(opened.files, opened.config.model_copy(update=changes))
    return folder


def test_decisions_and_budgets_are_printed_and_drawn(analyze, tmp_path):
    code, stdout, stderr = analyze(PUBLISHED, "--decisions", "--budgets", "--plots", tmp_path)
    assert code == 0, stderr
    assert "Error against each decision" in stdout
    assert "Importance of the factors of main at each budget" in stdout
    assert {file.name for file in tmp_path.iterdir()} == {"decisions.png", "budgets_main.png"}


def test_json_holds_what_was_asked_for_and_nothing_else(analyze):
    document = json.loads(analyze(PUBLISHED, "--decisions", "--budgets", "--json")[1])
    assert {option["value"] for option in document["decisions"][0]["options"]} == {
        *("bottleneck", "fractal", "plain", "residual", "resnext")
    }
    assert [budget["epochs"] for budget in document["budgets"]["main"]] == [1, 2, 4]
    assert "complexities" not in document


def test_paired_networks_are_not_compared_at_another_complexity(analyze):
    code, stdout, stderr = analyze(PUBLISHED, "--complexity", "params")
    assert code == 2
    assert "paired blocks, which are matched in FLOPs" in stderr
    assert stdout == ""


def test_runs_on_two_data_sets_are_summarised_and_ranked(analyze, elsewhere, tmp_path):
    code, stdout, stderr = analyze(PUBLISHED, elsewhere, "--plots", tmp_path)
    assert code == 0, stderr
    assert "Module types over 2 data sets" in stdout
    assert "Mean ranks (1 is best): residual 1.00" in stdout
    assert (tmp_path / "ranks.png").stat().st_size > 1000
    document = json.loads(analyze(PUBLISHED, elsewhere, "--json")[1])
    assert {contrast["data_sets"] for contrast in document["contrasts"]} == {2}
    assert document["contrasts"][0]["between_sd"] == 0  # the same trainings twice


def test_what_describes_runs_is_refused_for_a_table(analyze, tmp_path):
    (tmp_path / "results.csv").write_text("type,error,context\na,0.1,1\nb,0.2,1\n")
    code, _, stderr = analyze(tmp_path / "results.csv", "--decisions")
    assert code == 2
    assert "describe runs, not a table" in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--csv", "--json"), "choose one of --csv and --json"),
        (("--csv", "--decisions"), "--csv prints the contrasts alone"),
        (("--plots", "plots"), "--plots draws what --decisions, --budgets or --complexity adds"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(analyze, arguments, message):
    code, stdout, stderr = analyze(PUBLISHED, *arguments)
    assert (code, stdout) == (2, "")
    assert message in " ".join(stderr.split())


def test_what_describes_one_data_set_is_refused_for_two(analyze, elsewhere):
    code, _, stderr = analyze(PUBLISHED, elsewhere, "--decisions")
    assert code == 2
    assert "runs on one data set" in stderr
