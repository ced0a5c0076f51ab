"""Names in torchvision's models of the layers of zoo networks of 2016 and later.

Inception-v3  Convolutions before the modules are Conv2d_1a_3x3 and so on, modules Mixed_5b to Mixed_7c, their
              convolutions in order those of `INCEPTION`; each has a conv and a bn. The auxiliary head is
              AuxLogits: conv0, conv1 and fc.
SqueezeNet    features.{i}: i counts the stem, its ReLU, the pools and the fire modules, each with squeeze,
              expand1x1 and expand3x3. The classifier is classifier.1.
ShuffleNetV2  The stem is conv1, the last convolution conv5, each with 0 and 1. Unit b of stage s is
              stage{s + 1}.{b - 1}, with branch1 (where it makes the first half) and branch2.
MobileNetV3   Module i is features.{i}. A lone convolution has 0 and 1, as unit u of a block has
              block.{u}.0 and block.{u}.1; the gate before the last unit has fc1 and fc2.
RegNet        The stem is stem, block b of stage s trunk_output.block{s}.block{s}-{b - 1}, with proj and f,
              whose units are a, b and c and whose gate is se.
ConvNeXt      Patches before stage s are features.{2s - 2}, with 0 and 1; block b of stage s is
              features.{2s - 1}.{b - 1}, with block.0, 2, 3 and 5, and its own layer_scale. Layers 3 and 5
              are linear there and 1x1 convolutions here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

INCEPTION = {
    "5": "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool",
    "6a": "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3",
    "6": "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool",
    "7a": "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
    "7": "1x1 3x3_1 3x3dbl_1 3x3dbl_2 3x3_2a 3x3dbl_3a 3x3_2b 3x3dbl_3b _pool",
}
"""Branches of the convolutions of a module, by its number and, where that differs, letter."""
STEM = {
    "stem": "Conv2d_1a_3x3",
    "stage1.conv1": "Conv2d_2a_3x3",
    "stage1.conv2": "Conv2d_2b_3x3",
    "stage2.conv1": "Conv2d_3b_1x1",
    "stage2.conv2": "Conv2d_4a_3x3",
}
BLOCK = r"stage(\d)\.block(\d+)"


def by_module(paths: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the modules of the body in order, with their units: the paths of convolution and batch norm."""
    layers: dict[str, list[str]] = {}
    for path in paths:
        module, _, layer = path.partition("/")
        if re.fullmatch(r"(conv|bn)\d+", layer):
            layers.setdefault(module, []).append(path)
    return [(module, list(zip(own[::2], own[1::2], strict=True))) for module, own in layers.items()]


def inception_v3(paths: Sequence[str]) -> dict[str, str]:
    """Name the layers of Inception-v3."""
    names = {"head/classifier1": "fc", "aux1/classifier1": "AuxLogits.fc"}
    for module, units in by_module(paths):
        for k, (conv, bn) in enumerate(units):
            own = f"AuxLogits.conv{k}" if module == "aux1" else STEM.get(module) or _mixed(module, k)
            names |= {conv: f"{own}.conv", bn: f"{own}.bn"}
    return names


def _mixed(module: str, unit: int) -> str:
    stage, kind, count = re.fullmatch(r"stage(\d)\.([a-z]+)(\d*)", module).groups()  # type: ignore[union-attr]
    number = int(stage) + 2
    letter = "a" if kind == "reduction" else "abcdef"[int(count)]
    branches = INCEPTION.get(f"{number}{letter}") or INCEPTION[str(number)]
    return f"Mixed_{number}{letter}.branch{branches.split()[unit]}"


def squeezenet(paths: Sequence[str]) -> dict[str, str]:
    """Name the layers of SqueezeNet."""
    names = {"stem/conv1": "features.0", "head/classifier1": "classifier.1"}
    modules = list(dict.fromkeys(path.partition("/")[0] for path in paths if path.startswith("stage")))
    for i, module in enumerate(modules, start=2):
        parts = ("squeeze", "expand1x1", "expand3x3")
        names |= {f"{module}/conv{k}": f"features.{i}.{part}" for k, part in enumerate(parts, start=1)}
    return names


def shufflenet(paths: Sequence[str]) -> dict[str, str]:
    """Name the layers of ShuffleNetV2."""
    names = {"head/classifier1": "fc"}
    for module, units in by_module(paths):
        if match := re.fullmatch(BLOCK, module):
            own = f"stage{int(match[1]) + 1}.{int(match[2]) - 1}"
            places = ["branch2.0", "branch2.3", "branch2.5"]
            places = ["branch1.0", "branch1.2"] * (len(units) == 5) + places
        else:
            own, places = ("conv1" if module == "stem" else "conv5"), ["0"]
        for (conv, bn), place in zip(units, places, strict=True):
            branch, _, i = place.rpartition(".")
            prefix = f"{own}.{branch}." if branch else f"{own}."
            names |= {conv: f"{prefix}{i}", bn: f"{prefix}{int(i) + 1}"}
    return names


def mobilenet_v3(paths: Sequence[str]) -> dict[str, str]:
    """Name the layers of MobileNetV3."""
    names = {"head/fc1": "classifier.0", "head/classifier1": "classifier.3"}
    for i, (module, units) in enumerate(by_module(paths)):
        gate = f"{module}/channelgate1/conv"
        is_gated, last = f"{gate}1" in paths, len(units) - 1
        for u, (conv, bn) in enumerate(units):
            place = "" if module.endswith(".conv") else f"block.{u + (is_gated and u == last)}."
            names |= {conv: f"features.{i}.{place}0", bn: f"features.{i}.{place}1"}
        if is_gated:
            names |= {f"{gate}{k}": f"features.{i}.block.{last}.fc{k}" for k in (1, 2)}
    return names


def regnet(paths: Sequence[str]) -> dict[str, str]:
    """Name the layers of RegNets."""
    names = {"stem/conv1": "stem.0", "stem/bn1": "stem.1", "head/classifier1": "fc"}
    for path in paths:
        if match := re.fullmatch(rf"{BLOCK}/(channelgate1/)?(conv|bn)(\d)", path):
            stage, block, gate, kind, count = match.groups()
            own = "f.se" if gate else ("f.a", "f.b", "f.c", "proj")[int(count) - 1]
            layer = f"fc{count}" if gate else int(kind == "bn")
            names[path] = f"trunk_output.block{stage}.block{stage}-{int(block) - 1}.{own}.{layer}"
    return names


def convnext(paths: Sequence[str]) -> dict[str, str]:
    """Name the layers of ConvNeXts."""
    names = {"stem/conv1": "features.0.0", "stem/norm1": "features.0.1"}
    names |= {"head/norm1": "classifier.0", "head/classifier1": "classifier.2"}
    layers = {
        "conv1": ".block.0",
        "norm1": ".block.2",
        "conv2": ".block.3",
        "conv3": ".block.5",
        "scale1": "",
    }
    for path in paths:
        if match := re.fullmatch(rf"{BLOCK}/(normpatches1/)?(\w+)", path):
            stage, block, reduces, layer = match.groups()
            place = 2 * int(stage) - 1
            if reduces:
                names[path] = f"features.{place - 1}.{0 if layer == 'norm1' else 1}"
            elif layer in layers:
                names[path] = f"features.{place}.{int(block) - 1}{layers[layer]}"
    return names


def is_linear_there(module: str) -> bool:
    """Tell whether a layer that is a 1x1 convolution here is linear in torchvision."""
    return re.fullmatch(r"features\.\d+\.\d+\.block\.[35]", module) is not None
