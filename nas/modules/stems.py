"""Stems: from the image to the first feature map."""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import Conv, MaxPool
from nas.modules.base import Stem, choice
from nas.modules.conv_blocks import PLACEMENTS, RESIDUAL_NORMS, activate, has_bias

ENDINGS = {"BR": "", "R": "B"}
"""End of the stem before modules that begin with a BN and ReLU, or with a ReLU."""


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

    def expand(self, x: Value) -> Value:
        place = PLACEMENTS[self.norm]
        bias = self.bias or has_bias(self.norm)
        x = Conv(self.width, self.kernel, self.stride, bias=bias, padding=self.padding)(x)
        x = activate(x, ENDINGS.get(place.before, place.after), self.eps)
        return MaxPool(3, 2, 1)(x) if self.pool else x
