"""Stems: from the image to the first feature map."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from nas.graph.graph import Value
from nas.graph.ops import Conv, LayerNorm, MaxPool
from nas.modules.base import Stem, choice
from nas.modules.conv_blocks import PLACEMENTS, RESIDUAL_NORMS, activate, has_bias

ENDINGS = {"BR": "", "R": "B"}
"""End of the stem before modules that begin with a BN and ReLU, or with a ReLU."""


class Reduction(NamedTuple):
    """Settings by which a stem reduces images whose shorter side has `least` pixels or more by `factor`."""

    least: int
    factor: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class ConvStem(Stem, name="conv"):
    """Convolution, followed for large images by a 3x3 max-pool of stride 2 (He et al., 2015).

    `norm` is that of the first module: the stem leaves out the norm and activation with which
    pre-activation modules begin.
    """

    kernel: int = choice(3, 5, 7, 11)
    padding: int | None = choice(None, 0, 1, 2, 3, 100)
    pool: bool = choice(False, True)
    norm: str = choice(*RESIDUAL_NORMS)
    bias: bool = choice(False, True)
    eps: float = choice(1e-5, 1e-3)

    # The first feature map keeps 32 pixels or more. 7x7 and pool are those of ResNet, which has them for
    # images of 224 to 384 pixels; 11x11 of stride 4 and pool are AlexNet's.
    reductions: ClassVar[tuple[Reduction, ...]] = (
        Reduction(64, 2, {"stride": 2}),
        Reduction(128, 4, {"kernel": 7, "stride": 2, "pool": True}),
        Reduction(448, 8, {"kernel": 11, "stride": 4, "pool": True}),
    )

    def expand(self, x: Value) -> Value:
        place = PLACEMENTS[self.norm]
        bias = self.bias or has_bias(self.norm)
        x = Conv(self.width, self.kernel, self.stride, bias=bias, padding=self.padding)(x)
        x = activate(x, ENDINGS.get(place.before, place.after), self.eps)
        return MaxPool(3, 2, 1)(x) if self.pool else x


@dataclass(frozen=True)
class PatchStem(Stem, name="patch"):
    """Convolution of patches as large as its stride, and a layer norm (Liu et al., 2022)."""

    stride: int = 4

    def expand(self, x: Value) -> Value:
        x = Conv(self.width, self.stride, self.stride, bias=True, padding=0)(x)
        return LayerNorm()(x)
