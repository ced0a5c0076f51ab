"""Names in torchvision's models of the layers of zoo networks.

One rule per family replaces lists of names:

ResNet, ResNeXt   The stem is conv1 and bn1. Block b of stage s is layer{s}.{b - 1}; its k-th
                  conv and batch norm are conv{k} and bn{k}, but those of the shortcut, which
                  come last, downsample.0 and downsample.1. The linear layer is fc.
AlexNet, VGG      features.{i} and classifier.{i}: i counts every layer from 0, activations,
                  pools and dropout too, but not the average pool between the two.
GoogLeNet         The stem is conv1, the convolutions of stage 2 are conv2 and conv3, module a
                  of stage s is inception{s}a, its convolutions in order branch1, branch2.0,
                  branch2.1, branch3.0, branch3.1 and branch4.1; each has a conv and a bn. The
                  linear layer is fc. Auxiliary head n is aux{n}: conv.conv, conv.bn, fc1 and fc2.
DenseNet          The stem is features.conv0 and norm0, the norm of the head features.norm5. Layer i of block
                  b is features.denseblock{b}.denselayer{i}, with norm{k} and conv{k}; the transition before
                  block b is features.transition{b - 1}, with norm and conv. The linear layer is classifier.
EfficientNet      The stem is features.0, the last convolution features.8, each with 0 and 1. Block b of
                  stage s is features.{s}.{b - 1}.block: its units, each with 0 and 1, and before the last
                  of them the gate, with fc1 and fc2.
FCN               The ResNet is backbone, without its fc. The head is classifier.{i}, the auxiliary
                  head aux_classifier.{i}: 0 and 1 are conv and batch norm, 4 the scores.
MobileNetV2       Module i is features.{i}. A lone convolution has 0 and 1, as unit u of a block has
                  conv.{u}.0 and conv.{u}.1; its last unit has conv.{u} and conv.{u + 1} instead.
MnasNet           layers.{i} counts every layer to the first block of stage 2, then stages, and then
                  the last three layers; layer j of block b is layers.{b - 1}.layers.{j} there.

Rules of later families are in `nas.zoo.torchvision_modern`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from nas.errors import NasError
from nas.graph.graph import Graph
from nas.zoo.torchvision_modern import (
    by_module,
    convnext,
    inception_v3,
    mobilenet_v3,
    regnet,
    shufflenet,
    squeezenet,
)

Rule = Callable[[Sequence[str]], dict[str, str]]
BRANCHES = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
UNUSED = ("aux1.", "aux2.", "aux_classifier.", "AuxLogits.")
"""Prefixes of auxiliary heads, which inference does not use."""


def torchvision_names(name: str, graph: Graph) -> dict[str, str]:
    """Map the path of each layer with parameters to the name of its module in torchvision.

    `graph` is the expansion of the zoo network `name`. Raises NasError if torchvision has no network
    of this structure.
    """
    rule = next((rule for pattern, rule in RULES.items() if re.fullmatch(pattern, name)), None)
    if rule is None:
        known = "alexnet, vgg11 to vgg19 with and without _bn, googlenet, resnet18 to resnet152, resnext, "
        known += "wide_resnet, densenet, mobilenet_v2 and v3, mnasnet1_0, efficientnet_b0, squeezenet1_1, "
        known += "shufflenet_v2_x1_0, regnet_y_400mf, convnext_tiny, inception_v3, fcn_resnet50"
        raise NasError(f"torchvision has no such network as {name}", hint=f"it has {known}")
    names = rule([primitive.path for primitive in graph.primitives])
    return {p.path: names[p.path] for p in graph.primitives if p.op.params(*p.input_shapes)}


def _resnet(paths: Sequence[str], convs: int) -> dict[str, str]:
    """Name the layers of a ResNet whose blocks have `convs` convolutions in their branch."""
    names = {"stem/conv1": "conv1", "stem/bn1": "bn1", "head/classifier1": "fc"}
    for path in paths:
        if match := re.fullmatch(r"stage(\d+)\.block(\d+)/(conv|bn)(\d+)", path):
            stage, block, kind, count = match.groups()
            own = f"{kind}{count}" if int(count) <= convs else f"downsample.{('conv', 'bn').index(kind)}"
            names[path] = f"layer{stage}.{int(block) - 1}.{own}"
    return names


def _chain(paths: Sequence[str]) -> dict[str, str]:
    head = [
        path for path in paths if path.startswith("head/") and path not in ("head/pool1", "head/flatten1")
    ]
    body = [path for path in paths if not path.startswith("head/")]
    names = {path: f"features.{i}" for i, path in enumerate(body)}
    return names | {path: f"classifier.{i}" for i, path in enumerate(head)}


def _fcn_resnet(paths: Sequence[str]) -> dict[str, str]:
    names = {path: f"backbone.{name}" for path, name in _resnet(paths, convs=3).items()}
    layers = {"conv1": 0, "bn1": 1, "score1": 4}
    for head, name in (("head", "classifier"), ("aux1", "aux_classifier")):
        names |= {f"{head}/{layer}": f"{name}.{i}" for layer, i in layers.items()}
    return names


def _googlenet(paths: Sequence[str]) -> dict[str, str]:
    names = {"head/classifier1": "fc"}
    layers = {"conv1": "conv.conv", "bn1": "conv.bn", "fc1": "fc1", "classifier1": "fc2"}
    for path in paths:
        head, _, layer = path.partition("/")
        if re.fullmatch(r"aux\d", head):
            names |= {path: f"{head}.{layers[layer]}"} if layer in layers else {}
        elif match := re.fullmatch(r"(.+)/(conv|bn)(\d+)", path):
            module, kind, count = match.groups()
            stage, letter = re.fullmatch(r"(?:stem|stage(\d)\.(?:conv)?(\w))", module).groups()  # type: ignore[union-attr]
            own = "conv1" if module == "stem" else f"conv{int(letter) + 1}" if stage == "2" else ""
            own = own or f"inception{stage}{letter}.{BRANCHES[int(count) - 1]}"
            names[path] = f"{own}.{kind}"
    return names


def _mobilenet_v2(paths: Sequence[str]) -> dict[str, str]:
    names = {"head/classifier1": "classifier.1"}
    for i, (module, units) in enumerate(by_module(paths)):
        for u, (conv, bn) in enumerate(units):
            inner = "" if module.endswith(".conv") else f"conv.{u}."
            names |= {conv: f"features.{i}.{inner}0", bn: f"features.{i}.{inner}1"}
        if inner:
            names |= {conv: f"features.{i}.conv.{u}", bn: f"features.{i}.conv.{u + 1}"}
    return names


def _mnasnet(paths: Sequence[str]) -> dict[str, str]:
    names, first = {"head/classifier1": "classifier.1"}, 0
    for module, units in by_module(paths):
        stage, block = re.fullmatch(r"stage(\d)\.(?:block)?(\w+)", module).groups()  # type: ignore[union-attr]
        nested = block != "conv" and stage != "1"
        prefix = f"layers.{int(stage) + 6}.{int(block) - 1}.layers." if nested else "layers."
        start = 0 if nested else 14 if module == "stage7.conv" else first
        for u, (conv, bn) in enumerate(units):
            names |= {conv: f"{prefix}{start + 3 * u}", bn: f"{prefix}{start + 3 * u + 1}"}
        first += 3 * len(units)
    return names


def _densenet(paths: Sequence[str]) -> dict[str, str]:
    names = {"stem/conv1": "features.conv0", "stem/bn1": "features.norm0"}
    names |= {"head/bn1": "features.norm5", "head/classifier1": "classifier"}
    for path in paths:
        if match := re.fullmatch(r"stage(\d)\.block1/(?:(denselayer\d+)/)?(conv|bn)(\d)", path):
            block, layer, kind, count = match.groups()
            kind = "norm" if kind == "bn" else kind
            own = (
                f"denseblock{block}.{layer}.{kind}{count}" if layer else f"transition{int(block) - 1}.{kind}"
            )
            names[path] = f"features.{own}"
    return names


def _efficientnet(paths: Sequence[str]) -> dict[str, str]:
    names = {"head/classifier1": "classifier.1"}
    for module, units in by_module(paths):
        stage, block = re.fullmatch(r"stage(\d)\.(?:block)?(\w+)", module).groups()  # type: ignore[union-attr]
        if block == "conv":
            prefix, places = f"features.{0 if stage == '1' else 8}.", [""]
        else:
            prefix, gate = f"features.{stage}.{int(block) - 1}.block.", len(units) - 1
            places = [f"{u}." for u in (*range(gate), gate + 1)]
            names |= {f"{module}/channelgate1/conv{k}": f"{prefix}{gate}.fc{k}" for k in (1, 2)}
        for (conv, bn), place in zip(units, places, strict=True):
            names |= {conv: f"{prefix}{place}0", bn: f"{prefix}{place}1"}
    return names


RULES: dict[str, Rule] = {
    "resnet(18|34)": partial(_resnet, convs=2),
    r"resnet(50|101|152)|resnext(50|101)_.*|wide_resnet\d+_2": partial(_resnet, convs=3),
    r"alexnet|vgg\d+(_bn)?": _chain,
    "googlenet(_aux)?": _googlenet,
    r"densenet\d+": _densenet,
    "mobilenet_v2": _mobilenet_v2,
    "mnasnet1_0": _mnasnet,
    "mobilenet_v3_(small|large)": mobilenet_v3,
    "squeezenet1_1": squeezenet,
    "shufflenet_v2_x1_0": shufflenet,
    "regnet_y_400mf": regnet,
    "convnext_tiny": convnext,
    "inception_v3(_aux)?": inception_v3,
    "efficientnet_b0": _efficientnet,
    "fcn_resnet50(_aux)?": _fcn_resnet,
}
"""Rule of each family, by a pattern of names in the zoo."""
