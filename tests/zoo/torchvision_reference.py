"""Reference outputs of torchvision's models for reproducible weights and images, with a digest of the
names and shapes of their state dicts.

Run where torchvision is installed, this file writes `tests/fixtures/torchvision.json`. The tests read
that and need no torchvision, whose extension for object detection need not load either:
    pip install --no-deps torchvision; PYTHONPATH=tests python tests/zoo/torchvision_reference.py
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import lru_cache
from zlib import crc32

import torch
from testing.paths import FIXTURES

FILE = FIXTURES / "torchvision.json"
SIZES = {"resnet50": 64, "resnext50_32x4d": 64, "vgg16_bn": 32, "alexnet": 64, "googlenet": 64}
SIZES |= {"fcn_resnet50": 32, "mobilenet_v2": 64, "mnasnet1_0": 64, "densenet121": 64, "efficientnet_b0": 64}
SIZES |= {"mobilenet_v3_small": 64, "squeezenet1_1": 64, "shufflenet_v2_x1_0": 64, "regnet_y_400mf": 64}
SIZES |= {"convnext_tiny": 64, "inception_v3": 96}
"""Networks whose outputs are held, with the side of the images, of which there are two."""
DEPTHS = (11, 13, 16, 19)
NAMES = (
    "alexnet",
    *(f"vgg{depth}{norm}" for depth in DEPTHS for norm in ("", "_bn")),
    "googlenet",
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"resnext{form}" for form in ("50_32x4d", "101_32x8d", "101_64x4d")),
    "wide_resnet50_2",
    "wide_resnet101_2",
    *(f"densenet{depth}" for depth in (121, 169, 201)),
    "mobilenet_v2",
    "mnasnet1_0",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "squeezenet1_1",
    "shufflenet_v2_x1_0",
    "regnet_y_400mf",
    "convnext_tiny",
    "inception_v3",
    "fcn_resnet50",
    *(AUXILIARY := ("googlenet_aux", "inception_v3_aux", "fcn_resnet50_aux")),
)
SCORES = 12
"""Outputs that are held of each image; of masks, those at the pixel in the middle."""
PERIOD = 1_000_003


@lru_cache
def noise():
    """Numbers from -1 to 1 without a pattern, by exact integer arithmetic."""
    steps = torch.arange(PERIOD, dtype=torch.int64)
    return (
        ((steps * steps % PERIOD * 7919 + steps * 104_729) % PERIOD).double().div(PERIOD / 2).sub(1).float()
    )


def numbers(name, shape):
    """Numbers from -1 to 1 that depend on a name and nothing else."""
    count, start = math.prod(shape), crc32(name.encode()) % PERIOD
    repeats = (start + count) // PERIOD + 1
    return noise().repeat(repeats)[start : start + count].reshape(shape)


def fill(state):
    """Weights in the names of torchvision, in place."""
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        made = numbers(name, value.shape)
        if value.dim() > 1:
            made *= math.sqrt(6 / math.prod(value.shape[1:]))  # of He et al. (2015), uniform
        elif name.endswith(("weight", "running_var")):
            made = 1 + made / 2
        else:
            made /= 5
        if name.endswith("bn3.weight"):
            made /= 4  # the branches of bottlenecks, whose sums would grow from block to block
        value.copy_(made)
    return state


def images(name):
    return numbers("images", (2, 3, SIZES[name], SIZES[name]))


def digest(shapes):
    """Return a digest of the names and shapes of a state dict."""
    lines = sorted(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def held(output):
    """The part of an output (n, classes) or (n, classes, height, width) that is held."""
    middle = output if output.dim() == 2 else output[:, :, output.shape[2] // 2, output.shape[3] // 2]
    return middle[:, :SCORES]


def make(models, name):
    """torchvision's model without weights, with its auxiliary heads where the name says so."""
    base, auxiliary = name.removesuffix("_aux"), name in AUXILIARY
    if base == "fcn_resnet50":
        return models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=auxiliary)
    form = {"init_weights": False, "aux_logits": auxiliary} if base in ("googlenet", "inception_v3") else {}
    return getattr(models, base)(**form)


def import_models():
    """torchvision's classifiers, which need none of its compiled operations."""
    try:
        import torchvision
    except RuntimeError:  # its extension is for another build of torch: declare what it would
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

    return torchvision.models, torchvision.__version__.partition("+")[0]


def main():
    models, version = import_models()
    networks = {}
    for name in NAMES:
        with torch.device("cpu" if name in SIZES else "meta"):
            network = make(models, name).eval()
        networks[name] = {"state": digest({key: value.shape for key, value in network.state_dict().items()})}
        if name in SIZES:
            fill(network.state_dict())
            with torch.no_grad():
                output = network(images(name))
            scores = held(output["out"] if isinstance(output, dict) else output)
            networks[name]["scores"] = [[float(f"{score:.7g}") for score in row] for row in scores.tolist()]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps({"torchvision": version, "networks": networks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
