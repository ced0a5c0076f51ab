"""Every shipped space takes images of any size: the stem reduces large ones, and limits grow with them."""

import pytest

from nas.controller.space_figures import space_figures
from nas.errors import NasError
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.space.load import load_space, parse_space, space_names

SIZES = [(8, 8), (28, 28), (64, 64), (96, 96), (224, 224), (200, 300)]
AUTO = """\
name: own
stem: {type: conv, width: 8, stride: auto}
modules: [plain]
stages: [{depth: [1, 2], width: 8}, {depth: 1, width: 16, stride: 2}]
constraints: {flops: {max: 20M, at: 32x32}}
"""


def fitted(text, *size):
    return parse_space(text, "own.yaml").with_input((3, *size), 10)


@pytest.mark.parametrize("name", space_names())
def test_networks_of_every_space_train_on_images_of_every_size(name):
    import torch

    from nas.codegen.build import build

    for number, size in enumerate(SIZES):
        channels = (1, 3, 4)[number % 3]
        space = load_space(name).with_input((channels, *size), 5)
        draws = [space.sample([number, seed]) for seed in range(4)]
        genotype = min(draws, key=lambda genotype: len(genotype.nodes))  # the quickest to build
        network = build(genotype, space.input_shape, 5).to("meta").train()
        scores = network(torch.empty(2, channels, *size, device="meta"))
        assert scores.shape == ((2, 5, *size) if name == "fcn_heads" else (2, 5))
        scores.sum().backward()
        assert all(weights.grad is not None for weights in network.parameters())


@pytest.mark.parametrize("name", space_names())
@pytest.mark.parametrize("side", [224, 1024])
def test_limits_leave_most_draws_at_every_size(name, side):
    space = load_space(name).with_input((3, side, side), 10)
    assert space_figures(space, draws=60).fits > 0.5


def test_small_images_leave_the_stem_and_the_limits_as_they_are():
    plain = AUTO.replace(", stride: auto", "").replace(", at: 32x32", "")
    for side in (8, 28, 32):
        assert fitted(AUTO, side, side) == fitted(plain, side, side)
        assert fitted(AUTO, side, side).adaptations() == []
    assert fitted(AUTO, 63, 63).spec.stem == {"type": "conv", "width": 8}


@pytest.mark.parametrize(
    ("size", "settings", "first"),
    [
        ((64, 64), {"stride": 2}, (32, 32)),
        ((127, 500), {"stride": 2}, (64, 250)),
        ((128, 128), {"kernel": 7, "stride": 2, "pool": True}, (32, 32)),
        ((224, 224), {"kernel": 7, "stride": 2, "pool": True}, (56, 56)),
        ((512, 512), {"kernel": 11, "stride": 4, "pool": True}, (64, 64)),
    ],
)
def test_the_stem_follows_from_the_shorter_side(size, settings, first):
    space = fitted(AUTO, *size)
    assert space.spec.stem == {"type": "conv", "width": 8, **settings}
    assert space.sample(0).stem.to_dict() == space.spec.stem
    assert expand(space.sample(0), space.input_shape, 10).nodes["stem"].shape == (8, *first)
    limit = space.spec.constraints["flops"].max
    assert limit == max(20_000_000, 20_000_000 * first[0] * first[1] // 1024)
    assert cost(expand(space.sample(0), space.input_shape, 10)).flops <= limit


def test_what_the_file_sets_is_kept():
    kernels = AUTO.replace("width: 8, stride", "width: 8, kernel: [3, 5], stride")
    assert fitted(kernels, 224, 224).spec.stem["kernel"] == [3, 5]
    assert fitted(kernels, 512, 512).spec.stem["stride"] == 2  # a 3x3 of stride 4 would skip pixels
    assert fitted(AUTO.replace("stride: 2}", "stride: 8}"), 512, 512).spec.stem["stride"] == 2  # 32 in all
    assert fitted(AUTO.replace("20M, at: 32x32", "20M"), 224, 224).spec.constraints["flops"].max == 20_000_000


def test_a_fitted_space_is_written_with_what_its_images_made_of_it():
    large = fitted(AUTO, 224, 224)
    assert parse_space(large.to_yaml(), "again") == large
    assert "auto" not in large.to_yaml()
    assert large.with_input((3, 32, 32), 10) == fitted(AUTO, 32, 32)


def test_adaptations_are_told():
    assert fitted(f"input: 3x32x32\n{AUTO}", 200, 300).adaptations() == [
        ("stem", "7x7 conv of stride 2, 3x3 max pool of stride 2: 200x300 to 50x75"),
        ("limit", "flops at most 73.2M (20M at 32x32, scaled by pixels)"),
        ("input", "3x200x300, as the images are; the file says 3x32x32"),
    ]


@pytest.mark.parametrize("size", [(1, 1), (3, 7)])
def test_images_of_a_few_pixels_are_refused(size):
    with pytest.raises(NasError, match=r"images of .* pixels are too small") as caught:
        fitted(AUTO, *size)
    assert "at least 4x4" in str(caught.value)
    with pytest.raises(NasError, match=r"own\.yaml: input: images of"):
        parse_space(f"input: 3x{size[0]}x{size[1]}\n{AUTO}", "own.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: own", "name: own\ninput: 3x32x32\ninput: 3x64x64", "own.yaml:3: .*'input' appears twice"),
        ("stride: auto", "pool: true, stride: auto", "own.yaml:2: stem.pool: follows from the images"),
        ("stride: auto", "stride: automatic", "stem.stride: must be an integer"),
        ("at: 32x32", "at: 3x32x32", "constraints.flops.at: must be HEIGHTxWIDTH"),
        ("flops: {max: 20M, at", "params: {max: 1M, at", "constraints.params.at: only FLOPs grow"),
        ("stride: 2}", "stride: auto}", "stages"),
    ],
)
def test_faults_name_their_line(old, new, message):
    with pytest.raises(NasError, match=message):
        parse_space(AUTO.replace(old, new), "own.yaml")
