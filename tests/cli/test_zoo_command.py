"""nas zoo, and exports of the zoo and of runs in other forms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from testing.exports import CLASSES, CONFIG, SHAPE

import nas
from nas.cli import run
from nas.codegen.build import build
from nas.data import load_data
from nas.exporters.run import export_trials
from nas.exporters.variants import Variant
from nas.exporters.zoo import export_zoo
from nas.graph.cost import cost
from nas.modules import ConvStem, FcnHead, Fractal, Pool, PoolHead
from nas.space.genotype import Genotype, expand
from nas.study.trial import Proposal, Trial
from nas.training.loop import evaluate
from nas.zoo import zoo
from nas.zoo.base import Entry, chain

MEMORY = 300 << 10
"""KiB that showing the largest network may take."""


def test_the_list_has_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["networks"]
    assert [row["name"] for row in rows] == list(zoo())
    assert next(row["params"] for row in rows if row["name"] == "resnet50") == 25_557_032
    assert run(["zoo"]) == 0
    assert " 25,557,032 " in capsys.readouterr().out


@pytest.mark.slow
def test_a_map_that_is_cut_from_a_larger_one_is_exported(tmp_path: Path) -> None:
    def build() -> Genotype:
        head = FcnHead(hidden=32, kernel=3, geometry="paper")
        return chain(
            ConvStem(4, padding=100, norm="none"),
            [(f"stage{at}.pool", Pool(4, stride)) for at, stride in enumerate((8, 4), start=1)],
            head,
        )

    entry = Entry("cut", build, (3, 64, 64), 2, "a small FCN-32s")
    assert export_zoo(entry, tmp_path).folder == tmp_path / "cut"


def test_a_network_is_shown_at_its_own_size_and_at_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "resnet20"]) == 0
    assert "input 3x32x32: 269,722 parameters, 40,551,040 FLOPs" in capsys.readouterr().out
    assert run(["zoo", "resnet20", "--input", "1x16x16", "--classes", "5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["input_shape"] == [1, 16, 16]
    assert shown["layers"][-1]["shape"] == [5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zoo", "gogglenet"], "did you mean 'googlenet'"),
        (["zoo", "--classes", "3"], "need the name of a network"),
        (["export", "--zoo", "resnet20", "latest"], "--zoo: takes neither a run"),
        (["export", "--zoo", "resnet20", "--best"], "--zoo: takes neither a run"),
        (["export", "--zoo", "resnet20", "--weights"], "name the file"),
        (["export", "--zoo", "resnet20", "--column", "deepest"], "no fractal module"),
        (["export", "--best"], "name one run"),
        (["export", "latest", "--best", "--weights", "file.pth"], "there is no such file"),
        (["export", "--best", "--weights", "no_such_run"], "no_such_run"),
    ],
)
def test_refusals(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    to = ["--to", str(tmp_path)] if arguments[0] == "export" else []
    assert run([*arguments, *to]) in (2, 3)
    assert message in capsys.readouterr().err


def test_a_network_is_drawn_open_and_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    for options in ([], ["--closed"]):
        file = tmp_path / f"{len(options)}.svg"
        assert run(["zoo", "resnet20", "--plot", str(file), *options]) == 0
        sizes.append(file.stat().st_size)
    assert sizes[1] < sizes[0]
    assert run(["zoo", "resnet20", "--closed"]) == 2
    assert "add --plot FILE" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_showing_needs_no_torch_and_little_memory() -> None:
    script = (
        "import sys; from nas.cli import run; run(['zoo', 'resnet152']); run(['zoo']);"
        "status = open('/proc/self/status').read();"
        "print(sorted({'torch', 'ray', 'optuna', 'pandas'} & set(sys.modules)),"
        "status.partition('VmHWM:')[2].split()[0], file=sys.stderr)"  # ru_maxrss counts the parent too
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded, _, peak = done.stderr.splitlines()[-1].rpartition(" ")
    assert loaded == "[]"
    assert int(peak) < MEMORY


@pytest.mark.slow
def test_a_network_of_the_zoo_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "resnet20", "--export", str(tmp_path)]) == 0
    folder = tmp_path / "resnet20"
    assert capsys.readouterr().out.splitlines()[0] == str(folder)
    assert {path.name for path in folder.iterdir()} == {"network.py", "config.json", "README.md"}
    assert "He et al. (2015)" in (folder / "README.md").read_text()
    assert run(["show", str(folder / "config.json")]) == 0
    assert "269,722 parameters" in capsys.readouterr().out


@pytest.fixture(scope="module")
def trained() -> tuple[Trial, bytes]:
    modules = [("stage1.block1", Fractal(8, columns=3, drop_path="local"))]
    genotype = chain(ConvStem(8), modules, PoolHead())
    torch.manual_seed(1)
    network = build(genotype, SHAPE, CLASSES)
    network(torch.rand(64, *SHAPE))  # moves the running statistics away from their initial values
    trial = Trial(
        number=4,
        proposal=Proposal(genotype, "random"),
        state="complete",
        cost=cost(expand(genotype, SHAPE, CLASSES)),
        decisions={},
        seed=5,
        epochs=2,
        error=0.0625,
    )
    return trial, save(network.state_dict())


@pytest.mark.slow
def test_the_deepest_column_is_exported_and_measured(trained: tuple[Trial, bytes], tmp_path: Path) -> None:
    trial, weights = trained
    data = load_data("digits")
    [made] = export_trials([trial], tmp_path, CONFIG, {4: weights}, Variant(column=True, fold_bn=True), data)
    assert made.folder == tmp_path / "trial-4-deepest-folded"
    assert made.weights
    assert made.difference <= 1e-5
    config = json.loads((made.folder / "config.json").read_text())
    column = Genotype.from_dict(config["genotype"])
    assert str(column) == "conv 8 | plain(convs=4) 8 | pool"
    assert (config["validation_error"], config["whole_network_error"]) == (made.error, 0.0625)
    card = (made.folder / "README.md").read_text()
    assert f"{made.error:.2%} alone, 6.25% of the whole network" in card
    namespace = nas.codegen.build.load_source((made.folder / "network.py").read_text(), "network.py")
    network = namespace["Network"](CLASSES, SHAPE[0])
    from safetensors.torch import load_file

    network.load_state_dict(load_file(made.folder / "model.safetensors"))
    assert evaluate(network, data.val_images, data.val_labels, data).error == pytest.approx(
        made.error, abs=0.003
    )


@pytest.mark.slow
def test_a_column_without_weights_is_not_measured(trained: tuple[Trial, bytes], tmp_path: Path) -> None:
    [made] = export_trials([trained[0]], tmp_path, CONFIG, {}, Variant(column=True))
    assert made.error is None
    assert not made.weights
    assert "not measured alone" in (made.folder / "README.md").read_text()


def test_show_names_blocks_as_the_exported_code_does(capsys):
    assert run(["show", "resnet20"]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[3:] if line[:1].isalpha()]
    assert shown[:10] == ["stem", *(f"stage{i}.{j}" for i in (1, 2, 3) for j in range(3))]
