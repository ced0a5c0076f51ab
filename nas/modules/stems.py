"""Stems: from the image to the first feature map."""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import Conv, MaxPool
from nas.modules.base import Stem, choice
from nas.modules.conv_blocks import PLACEMENTS, RESIDUAL_NORMS, activate, has_bias

ENDINGS = {"BR": "", "R": "B"}
"""How the stem ends when the modules begin with a BN and ReLU, or a ReLU, of their own."""


@dataclass(frozen=True)
class ConvStem(Stem, name="conv"):
    """A convolution, and for large images a 3x3 max-pool with stride 2 (He et al., 2015).

    `norm` is that of the first module: pre-activation modules bring along what would
    otherwise end the stem.
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
