from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from testing.disk import failures
from testing.exports import CLASSES, CONFIG, SHAPE, make_trial, trained_weights

import nas
from nas.errors import NasError, StorageError
from nas.exporters import verify as verification
from nas.exporters.run import export_trials
from nas.files import work_folder
from nas.graph.cost import cost
from nas.modules import AuxiliaryHead
from nas.space.genotype import Auxiliary, expand
from nas.study.trial import Proposal


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported?to=a#b%41")
    trials = [make_trial(0), make_trial(1)]
    export_trials(trials, folder, CONFIG, {0: trained_weights(trials[0])})
    return folder


@pytest.mark.slow
def test_each_network_gets_a_folder_with_weights_where_they_are_known(exported: Path) -> None:
    with_weights = {path.name for path in (exported / "trial-0").iterdir()}
    without = {path.name for path in (exported / "trial-1").iterdir()}
    assert with_weights == {"network.py", "config.json", "README.md", "model.safetensors", "predict.py"}
    assert without == {"network.py", "config.json", "README.md"}
    assert sorted(path.name for path in exported.iterdir()) == ["trial-0", "trial-1"]


@pytest.mark.slow
def test_the_source_imports_torch_only(exported: Path) -> None:
    tree = ast.parse((exported / "trial-0" / "network.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} == {"torch"}


@pytest.mark.slow
def test_config_names_the_genotype_and_its_figures(exported: Path) -> None:
    trial = make_trial(0)
    config = json.loads((exported / "trial-0" / "config.json").read_text())
    assert config["digest"] == trial.digest
    assert nas.Genotype.from_dict(config["genotype"]) == trial.genotype
    assert config["cost"]["params"] == trial.params
    assert config["validation_error"] == trial.error


@pytest.mark.slow
def test_the_example_of_the_model_card_runs_where_nas_is_missing(exported: Path) -> None:
    card = (exported / "trial-0" / "README.md").read_text()
    assert "6.25%" in card
    example = card.split("```python\n")[1].split("```")[0]
    script = "import sys; sys.modules['nas'] = None; sys.path.insert(0, '.')\n"
    script += f"{example}\nprint(network.num_features, network.training)"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", script],
        cwd=exported / "trial-0",
        capture_output=True,
        text=True,
        check=True,
    )
    features, training = done.stdout.split()
    assert int(features) > 0
    assert training == "False"


def test_the_verification_script_refuses_nas() -> None:
    path = verification.__file__
    script = f"import runpy, sys; sys.argv = ['x']; runpy.run_path({path!r}, run_name='__main__')\n"
    done = subprocess.run(
        [sys.executable, "-c", script + "import nas"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError: import of nas halted" in done.stderr


@pytest.mark.slow
def test_a_figure_that_differs_from_the_recorded_one_is_refused(tmp_path: Path) -> None:
    trial = make_trial()
    wrong = replace(trial, cost=replace(trial.cost, flops=1))
    with pytest.raises(NasError, match=r"trial 0: .* flops, recorded were 1"):
        export_trials([wrong], tmp_path, CONFIG, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_source_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = nas.source
    monkeypatch.setattr(
        "nas.exporters.run.source",
        lambda graph: honest(graph).replace("return self.forward_head(", "return 2 * self.forward_head("),
    )
    with pytest.raises(NasError, match="outputs differ by"):
        export_trials([make_trial()], tmp_path, CONFIG, {})


@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load, save

    weights = load(trained_weights(make_trial()))
    weights.pop("classifier.weight")
    with pytest.raises(NasError, match="trial 0: the weights do not fit"):
        export_trials([make_trial()], tmp_path, CONFIG, {0: save(weights)})


@pytest.mark.slow
def test_an_export_replaces_a_folder_but_for_what_would_be_lost(tmp_path: Path) -> None:
    trial, folder = make_trial(), tmp_path / "trial-0"
    export_trials([trial], tmp_path, CONFIG, {0: trained_weights(trial)}, origin="mine.safetensors")
    card = (folder / "README.md").read_text()
    assert "holds the weights of `mine.safetensors`" in card
    assert "6.25%" not in card  # the error of the search's weights
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in folder.iterdir()} == {(tmp_path / "plain").stat().st_mode}
    (tmp_path / "plain").unlink()
    export_trials([trial], tmp_path, CONFIG, {})
    assert {path.name for path in folder.iterdir()} == {"network.py", "config.json", "README.md"}
    for name, message in (("notes.txt", "something else: notes.txt"), ("training.json", "a full training")):
        (folder / name).write_text("a week of work")
        with pytest.raises(NasError, match=message):
            export_trials([trial], tmp_path, CONFIG, {0: trained_weights(trial)})
        assert not (folder / "model.safetensors").exists()
        (folder / name).unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["trial-0"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        export_trials([make_trial()], tmp_path / "file" / "below", CONFIG, {})


@pytest.mark.slow
def test_auxiliary_heads_stay_behind(tmp_path: Path) -> None:
    """A network that was trained with them is exported without, under the same names."""
    from safetensors import safe_open

    plain = make_trial(0)
    head = AuxiliaryHead(grid=2, channels=16, hidden=64)
    genotype = replace(plain.genotype, auxiliary=(Auxiliary(plain.genotype.nodes[0].name, head),))
    trial = replace(plain, proposal=Proposal(genotype, "random"), cost=cost(expand(genotype, SHAPE, CLASSES)))
    export_trials([trial], tmp_path, CONFIG, {0: trained_weights(trial)})
    assert "aux" not in (tmp_path / "trial-0" / "network.py").read_text()
    with safe_open(tmp_path / "trial-0" / "model.safetensors", "numpy") as file:
        assert file.keys()
        assert not [name for name in file.keys() if name.startswith("aux")]  # noqa: SIM118


def no_verification(drafts: Any, formats: Any) -> list[dict[str, Any]]:
    """Results as of drafts that hold; the verification writes nothing and takes seconds."""
    none = {"formats": {}, "lines": {}, "unrun": {}}
    return [{"params": 1, "flops": 1, "difference": 0.0, **none} for _ in drafts]


ONLY_WITH_WEIGHTS = {"trial-0/model.safetensors", "trial-0/predict.py"}


@pytest.mark.slow
def test_any_operation_that_fails_leaves_the_earlier_export_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.exporters.publish._verify", no_verification)
    trial, root, copies = make_trial(), tmp_path / "root", tmp_path / "copies"
    copies.mkdir()
    weights = trained_weights(trial)
    export_trials([trial], root, CONFIG, {0: weights})
    old, errors = _texts(root), 0
    for error, place in failures(root, copies, lambda to: export_trials([trial], to, CONFIG, {}), [True]):
        with work_folder(place):
            found = _texts(place)
        assert found == old or (set(old) - set(found) == ONLY_WITH_WEIGHTS and len(found) == 3)
        assert error is None or isinstance(error, StorageError)
        errors += error is not None
    assert errors > 10
    assert "trial-0/model.safetensors" not in found


def _texts(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
