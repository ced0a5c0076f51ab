"""ResNets, their plain counterparts, pre-activation ResNets (He et al., 2015 and 2016), and wide ones.

Names say what differs from the usual form: `_a`, `_b`, `_c` the shortcut, `_1x1` the stride
in the first 1x1 convolution, as in the paper.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from nas.modules import Bottleneck, ConvStem, Module, Plain, PoolHead, Residual
from nas.space.genotype import Genotype
from nas.zoo.base import CIFAR, IMAGENET, Entry, chain, stages

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
CIFAR_DEPTHS = (20, 32, 44, 56, 110)


def imagenet(depth: int, module: Callable[..., Module], **fields: Any) -> Genotype:
    """Return four stages on a 7x7 stem with pooling; bottlenecks are four times as wide."""
    width = 256 if depth >= 50 else 64
    stem = ConvStem(64, 2, kernel=7, pool=True)
    make = lambda stage, stride: module(width=width * 2**stage, stride=stride, **fields)  # noqa: E731
    return chain(stem, stages(DEPTHS[depth], make), PoolHead())


def cifar(blocks: int, module: Callable[..., Module], width: int = 16, **fields: Any) -> Genotype:
    """Return three stages of equal length on a 3x3 stem of 16 channels."""
    norm = fields.get("norm", "after_conv")
    make = lambda stage, stride: module(width=width * 2**stage, stride=stride, **fields)  # noqa: E731
    return chain(ConvStem(16, norm=norm), stages((blocks,) * 3, make), PoolHead(norm=norm))


def _imagenet_entries() -> list[Entry]:
    paper, entries = "He et al. (2015)", []
    for depth in DEPTHS:
        module = Bottleneck if depth >= 50 else Residual
        usual = ", stride in the 3x3" if depth >= 50 else ""
        for suffix, fields, about in (
            ("", {}, f", shortcut B{usual}"),
            ("_a", {"shortcut": "A"}, f", shortcut A{usual}"),
            ("_c", {"shortcut": "C"}, f", shortcut C{usual}"),
        ):
            build = partial(imagenet, depth, module, **fields)
            entries.append(Entry(f"resnet{depth}{suffix}", build, IMAGENET, 1000, paper + about))
        if depth >= 50:
            build = partial(imagenet, depth, module, stride_in="1x1")
            entries.append(Entry(f"resnet{depth}_1x1", build, IMAGENET, 1000, f"{paper}, stride in the 1x1"))
        else:
            build = partial(imagenet, depth, Plain)
            entries.append(Entry(f"plain{depth}", build, IMAGENET, 1000, f"{paper}, without shortcuts"))
    return entries


def _cifar_entries() -> list[Entry]:
    entries = []
    for depth in CIFAR_DEPTHS:
        blocks = (depth - 2) // 6
        forms: tuple[tuple[str, type[Module], dict[str, Any], str], ...] = (
            (f"plain{depth}", Plain, {}, "without shortcuts"),
            (f"resnet{depth}", Residual, {"shortcut": "A"}, "shortcut A"),
            (f"resnet{depth}_b", Residual, {"shortcut": "B"}, "shortcut B"),
        )
        for name, module, fields, about in forms:
            build = partial(cifar, blocks, module, **fields)
            entries.append(Entry(name, build, CIFAR, 10, f"He et al. (2015), {about}"))
    before: dict[str, Any] = {"norm": "pre_activation"}
    build110 = partial(cifar, 18, Residual, shortcut="A", **before)
    build164 = partial(cifar, 18, Bottleneck, width=64, stride_in="1x1", **before)
    return [
        *entries,
        Entry("preact_resnet110", build110, CIFAR, 10, "He et al. (2016), shortcut A"),
        Entry("preact_resnet164", build164, CIFAR, 10, "He et al. (2016), bottlenecks, shortcut B"),
    ]


def _wide_entries() -> list[Entry]:
    about, build = "Zagoruyko and Komodakis (2016), inner width doubled", partial(imagenet, reduction=2)
    return [
        Entry(f"wide_resnet{depth}_2", partial(build, depth, Bottleneck), IMAGENET, 1000, about)
        for depth in (50, 101)
    ]


ENTRIES = [*_imagenet_entries(), *_cifar_entries(), *_wide_entries()]
