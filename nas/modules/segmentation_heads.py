"""Heads of fully convolutional networks, which score the classes at every pixel."""

from dataclasses import dataclass

from nas.errors import NasError
from nas.graph.graph import Value
from nas.graph.ops import Add, BatchNorm, Conv, Crop, Dropout, Relu, Resize, Score, UpsampleScores
from nas.modules.base import Head, choice
from nas.modules.conv_blocks import PLACEMENTS, RESIDUAL_NORMS, activate

OFFSETS = (5, 9)
"""Offsets, in pixels, at which the paper crops the scores of the first and second earlier stage."""
LAST_OFFSETS = (19, 27, 31)
"""Offset, in pixels, at which the paper crops the upsampled scores to the image, by number of skips."""


@dataclass(frozen=True)
class FcnHead(Head, name="fcn"):
    """FCN-32s, -16s and -8s with 0, 1 and 2 skips (Long et al., 2015): the linear layers of VGG
    as convolutions, scores of earlier stages added, upsampling by transposed convolution.

    geometry: "paper" crops at the paper's offsets, for a stem padded by 100; "same" keeps sizes.
    """

    skips: int = choice(0, 1, 2)
    hidden: int = choice(4096, 32, 64, 128, 256, 512, 1024)
    kernel: int = choice(7, 1, 3)
    dropout: float = choice(0.5, 0.0, 0.1, 0.2, 0.3)
    geometry: str = choice("same", "paper")
    norm: str = choice(*RESIDUAL_NORMS)

    takes_image = True

    @property
    def taps(self) -> int:
        return self.skips

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        *taps, image = others
        paper = self.geometry == "paper"
        x = activate(x, PLACEMENTS[self.norm].before)
        for kernel in (self.kernel, 1):
            padding = 0 if paper else kernel // 2
            x = Relu()(Conv(self.hidden, kernel, bias=True, padding=padding)(x))
            x = Dropout(self.dropout)(x) if self.dropout else x
        scores = Score(num_classes)(x)
        for tap, offset in zip(taps, OFFSETS, strict=False):
            scores = UpsampleScores(2 if paper else _growth(scores, tap), padded=not paper)(scores)
            earlier = Score(num_classes)(tap)
            if paper:
                earlier = Crop(offset)(earlier, scores)
            else:
                scores = Crop()(scores, earlier)  # of sizes that do not halve evenly
            scores = Add()(scores, earlier)
        stride = 32 // 2**self.skips if paper else _growth(scores, image)
        scores = UpsampleScores(stride, padded=not paper)(scores)
        return Crop(LAST_OFFSETS[self.skips] if paper else None)(scores, image)


@dataclass(frozen=True)
class MapHead(Head, name="map"):
    """3x3 convolution to a quarter of the channels, scores, and bilinear interpolation to the
    size of the image: the head of torchvision's fcn_resnet50."""

    dropout: float = choice(0.1, 0.0, 0.2, 0.5)
    norm: str = choice(*RESIDUAL_NORMS)

    takes_image = True

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        x = activate(x, PLACEMENTS[self.norm].before)
        x = Relu()(BatchNorm()(Conv(max(1, x.channels // 4))(x)))
        x = Dropout(self.dropout)(x) if self.dropout else x
        return Resize()(Score(num_classes)(x), others[-1])


def _growth(scores: Value, like: Value) -> int:
    """Return the stride that makes scores at least as large as another feature map."""
    sizes = list(zip(scores.shape[1:], like.shape[1:], strict=True))
    for small, large in sizes:
        if large < small:
            message = f"the earlier feature map is smaller: {large} against {small} pixels"
            raise NasError(message, where="fcn")
    return max(-(-large // small) for small, large in sizes)
