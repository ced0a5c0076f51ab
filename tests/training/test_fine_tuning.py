"""Full trainings that start from weights in a file: what is loaded, and at which rates it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from testing.generated import load
from torch import nn

from nas.codegen.build import build
from nas.codegen.parameter_names import by_module, module_names
from nas.data import load_data
from nas.errors import NasError
from nas.modules import ConvStem, FcnHead, Plain
from nas.space.genotype import Genotype, Node, expand
from nas.space.load import load_space
from nas.training import loop
from nas.training.fine_tuning import FineTuning
from nas.training.recipe import Recipe
from nas.zoo import zoo_entry
from nas.zoo.torchvision_names import torchvision_names


@pytest.fixture(scope="module")
def genotype():
    return load_space("residual_vs_fractal").with_input((1, 8, 8), 10).sample(0)


@pytest.fixture
def own(genotype, tmp_path) -> Path:
    """Weights of the network for 7 classes of colour images, under our names."""
    torch.manual_seed(3)
    file = tmp_path / "own.safetensors"
    save_file(build(genotype, (3, 8, 8), 7).state_dict(), file)
    return file


def test_the_head_is_new_and_colour_filters_are_added_up(genotype, own):
    from safetensors.torch import load_file

    given = load_file(own)
    network = build(genotype, (1, 8, 8), 10)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    said = FineTuning(own).apply(network, 10, 1)
    assert "classifier is new, for 10 classes" in said
    for name, value in network.state_dict().items():
        if name.startswith("classifier"):
            assert torch.equal(value, fresh[name])
        elif value.ndim == 4 and value.shape[1] == 1:
            assert torch.equal(value, given[name].sum(1, keepdim=True))
        else:
            assert torch.equal(value, given[name])


def test_torchvision_names_are_read_for_networks_of_the_zoo(tmp_path):
    entry = zoo_entry("resnet18")
    graph = expand(entry.build(), entry.input_shape, entry.num_classes)
    with torch.device("meta"):
        modules = by_module(load(graph)().state_dict())
    ours = module_names(graph)
    state = {
        f"{theirs}.{entry_name}": torch.tensor(0.5).to(value.dtype).expand(value.shape)
        for path, theirs in torchvision_names("resnet18", graph).items()
        for entry_name, value in modules[ours[path]].items()
    }
    torch.save(state, tmp_path / "resnet18.pth")
    network = build(entry.build(), (3, 32, 32), 5)
    FineTuning(tmp_path / "resnet18.pth", zoo="resnet18").apply(network, 5, 3)
    weights = [value for name, value in network.state_dict().items() if value.ndim == 4]
    assert all((value == 0.5).all() for value in weights)
    assert not (network.state_dict()["classifier.weight"] == 0.5).any()
    with pytest.raises(NasError, match="its names are not those of the network"):
        FineTuning(tmp_path / "resnet18.pth").apply(network, 5, 3)


def test_weights_of_another_network_are_refused(own):
    other = build(load_space("residual_vs_fractal").with_input((1, 8, 8), 10).sample(1), (1, 8, 8), 10)
    with pytest.raises(NasError, match=r"own\.safetensors: (the weights do not fit|its names are not)"):
        FineTuning(own).apply(other, 10, 1)


def test_the_body_is_trained_at_its_share_of_the_rate():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for parameter in network[0].parameters():
        parameter.rate_share = 0.1
    twin = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    twin.load_state_dict(network.state_dict())
    recipe = Recipe(lr=1.0)
    optimizers = [loop.make_optimizer(each, recipe) for each in (network, twin)]
    shares = {group["share"] for group in optimizers[0].param_groups}
    assert shares == {0.1, 1.0}
    assert {group["share"] for group in optimizers[1].param_groups} == {1.0}


def test_the_head_of_an_fcn_is_its_scores_and_what_upsamples_them(tmp_path):
    head = FcnHead(skips=2, hidden=32)
    stages = [
        Node(f"stage{i}.block1", Plain(width=5 * i, stride=2), (before,))
        for i, before in enumerate(("stem", "stage1.block1", "stage2.block1"), start=1)
    ]
    genotype = Genotype(ConvStem(width=8), tuple(stages), head, ("stage2.block1", "stage1.block1"))
    torch.manual_seed(0)
    given = build(genotype, (3, 32, 32), 7).state_dict()
    save_file(given, tmp_path / "own.safetensors")
    network = build(genotype, (3, 32, 32), 5)  # as many classes as the first stage has channels
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    said = FineTuning(tmp_path / "own.safetensors", freeze=True).apply(network, 5, 3)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, value in fresh.items() if value.shape != given[name].shape}
    assert len({name.rpartition(".")[0] for name in trained}) == 6
    assert "head.score2, head.upsample2 are new, for 5 classes" in said
    for name, value in network.state_dict().items():
        assert torch.equal(value, fresh[name] if name in trained else given[name])


def steps(genotype, start):
    """The network before and after one epoch from given weights."""
    dataset = load_data("digits?limit=150")
    torch.manual_seed(0)
    network = build(genotype, (1, 8, 8), 10)
    start.apply(network, 10, 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    recipe = Recipe(epochs=1, batch_size=32, precision="float32", weight_decay=0.0)
    loop.train(network, dataset, recipe, seed=0)
    return before, network.state_dict()


def test_a_frozen_body_stays_with_its_statistics_and_a_slow_one_moves_less(genotype, own):
    before, after = steps(genotype, FineTuning(own, freeze=True))
    body = [name for name in before if not name.startswith("classifier")]
    assert all(torch.equal(before[name], after[name]) for name in body)
    assert not torch.equal(before["classifier.weight"], after["classifier.weight"])
    moved = []
    for rate in (0.01, 1.0):
        before, after = steps(genotype, FineTuning(own, body_rate=rate))
        kernels = [name for name in body if before[name].ndim == 4]
        moved.append(sum((after[name] - before[name]).norm().item() for name in kernels))
    assert 0 < moved[0] < 0.2 * moved[1]
