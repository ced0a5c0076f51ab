"""Networks of the zoo against torchvision's: the same names and shapes, the same outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from testing.generated import load
from torch import nn
from torchvision_reference import AUXILIARY, FILE, NAMES, SIZES, digest, fill, held, images

from nas.cli import run
from nas.codegen.parameter_names import by_module, module_names
from nas.errors import NasError, NotFoundError
from nas.graph.graph import Graph
from nas.space.genotype import expand
from nas.zoo import zoo_entry
from nas.zoo.torchvision_modern import is_linear_there
from nas.zoo.torchvision_names import torchvision_names
from nas.zoo.weights import from_torchvision, read_weights

REFERENCE = json.loads(FILE.read_text())["networks"]


def graph_of(name: str) -> Graph:
    """With the auxiliary heads, where the name says so."""
    entry = zoo_entry(name)
    return expand(entry.build(), entry.input_shape, entry.num_classes, name in AUXILIARY)


def state_in_their_names(name: str, device: str) -> dict[str, torch.Tensor]:
    graph = graph_of(name)
    with torch.device("meta"):
        modules = by_module(load(graph)().state_dict())
    ours = module_names(graph)
    return {
        f"{module}.{entry}": torch.zeros(
            value.shape[:2] if is_linear_there(module) else value.shape, dtype=value.dtype, device=device
        )
        for path, module in torchvision_names(name, graph).items()
        for entry, value in modules[ours[path]].items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_those_of_torchvision(name: str) -> None:
    state = state_in_their_names(name, "meta")
    assert digest({key: value.shape for key, value in state.items()}) == REFERENCE[name]["state"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_outputs_are_those_of_torchvision(name: str) -> None:
    graph, state = graph_of(name), fill(state_in_their_names(name, "cpu"))
    with torch.device("meta"):
        network = load(graph)()
    network.load_state_dict(from_torchvision(state, name, graph), assign=True, strict=True)
    with torch.no_grad():
        scores = network.eval()(images(name))
    expected = torch.tensor(REFERENCE[name]["scores"])
    assert expected.std() > 0.1
    assert torch.allclose(held(scores), expected, rtol=0, atol=1e-4 * max(1, expected.std().item()))


def small_state(name: str = "resnet18") -> dict[str, torch.Tensor]:
    return state_in_their_names(name, "meta")


def test_auxiliary_heads_are_left_out_and_missing_counts_are_zero() -> None:
    state = small_state("googlenet") | {"aux1.fc1.weight": torch.zeros(1), "aux2.fc2.bias": torch.zeros(1)}
    complete = from_torchvision(state, "googlenet", graph_of("googlenet"))
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    mapped = from_torchvision(old, "googlenet", graph_of("googlenet"))
    assert mapped.keys() == complete.keys()
    assert {int(value) for key, value in mapped.items() if key.endswith("num_batches_tracked")} == {0}


@pytest.mark.parametrize("name", AUXILIARY)
def test_auxiliary_heads_go_where_there_are_such_and_are_left_out_elsewhere(name: str) -> None:
    plain, state = name.removesuffix("_aux"), small_state(name)
    trained = from_torchvision(state, name, graph_of(name))
    with torch.device("meta"):
        load(graph_of(name))().load_state_dict(trained, strict=True)
    inference = from_torchvision(state, plain, graph_of(plain))
    assert inference.keys() == from_torchvision(small_state(plain), plain, graph_of(plain)).keys()
    assert len(inference) < len(trained)
    with pytest.raises(NasError, match=r"(?i)the file lacks aux"):
        from_torchvision(small_state(plain), name, graph_of(name))


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(NasError, match=r"not those of resnet18: .* has .*layer1\.0\.bn3"):
        from_torchvision(small_state("resnet50"), "resnet18", graph_of("resnet18"))
    state = small_state()
    del state["fc.weight"], state["fc.bias"]
    with pytest.raises(NasError, match="not those of resnet18: the file lacks fc"):
        from_torchvision(state, "resnet18", graph_of("resnet18"))


@pytest.mark.parametrize("name", ["resnet20", "resnet50_1x1", "vgg_c", "googlenet_paper", "fractalnet20"])
def test_networks_that_torchvision_does_not_have(name: str) -> None:
    with pytest.raises(NasError, match=f"torchvision has no such network as {name}"):
        torchvision_names(name, graph_of(name))


def test_both_kinds_of_files_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = nn.Linear(3, 2).state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        found = read_weights(tmp_path / name)
        assert all(torch.equal(found[key], state[key]) for key in state)


class Runs:
    """Unpickled, it would make a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return open, (str(self.file), "w")


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        read_weights(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(NasError, match="weights cannot be read"):
            read_weights(tmp_path / name)
    torch.save({"epoch": 3, "model": {}}, tmp_path / "checkpoint.pth")
    with pytest.raises(NasError, match="is not a state dict"):
        read_weights(tmp_path / "checkpoint.pth")
    torch.save({"weight": Runs(tmp_path / "made")}, tmp_path / "code.pth")
    with pytest.raises(NasError, match="weights cannot be read"):
        read_weights(tmp_path / "code.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_published_weights_are_exported_and_folded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(fill(state_in_their_names("resnet18", "cpu")), tmp_path / "resnet18.pth")
    command = ["export", "--zoo", "resnet18", "--weights", str(tmp_path / "resnet18.pth"), "--fold-bn"]
    assert run([*command, "--to", str(tmp_path), "--json"]) == 0
    [export] = json.loads(capsys.readouterr().out)["exports"]
    folder = tmp_path / "resnet18-folded"
    assert Path(export["folder"]) == folder
    assert export["weights"]
    assert export["difference"] <= 1e-5
    assert "BatchNorm" not in (folder / "network.py").read_text()
    config = json.loads((folder / "config.json").read_text())
    assert (config["zoo"], config["fold_bn"], config["std"]) == ("resnet18", True, [0.229, 0.224, 0.225])
    card = (folder / "README.md").read_text()
    assert "`resnet18.pth`" in card
    assert "\nnetwork.eval()\n" in card
    assert run(["show", str(folder / "config.json"), "--json"]) == 0


@pytest.mark.slow
def test_weights_of_other_shapes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = fill(state_in_their_names("resnet18", "cpu"))
    state |= {"fc.weight": state["fc.weight"][:7].clone(), "fc.bias": state["fc.bias"][:7].clone()}
    torch.save(state, tmp_path / "seven.pth")
    assert run(["export", "--zoo", "resnet18", "--weights", str(tmp_path / "seven.pth")]) == 2
    assert "the weights do not fit resnet18" in capsys.readouterr().err
