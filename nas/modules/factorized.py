"""Inception module with factorised convolutions: two 3x3 for a 5x5, lines for a 7x7 (Szegedy et al., 2016).

`form` is 3x3 (figure 5 of the paper), 7x7 (figure 6: 7x1 and 1x7), or wide (figure 7: 1x3 and 3x1 side by
side). The pooling branch gets the channels that the others leave of the width.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import AvgPool, Concat
from nas.modules.base import Module, choice
from nas.modules.inception_conv import conv, line


@dataclass(frozen=True)
class FactorizedInception(Module, name="factorized_inception"):
    form: str = choice("3x3", "7x7", "wide")
    inner: int = choice(range(0, 1025))  # channels between the lines of a 7x7; 0 is a quarter of the width
    scaled_for: int = choice(range(0, 4097))  # width whose shares the branches have; 0 is the width itself

    def expand(self, x: Value) -> Value:
        w, stride = self.scaled_for or self.width, self.stride
        if self.form == "3x3":
            one = conv(x, w * 2 // 9, 1, stride)
            two = conv(conv(x, w // 6, 1), w * 2 // 9, 5, stride)
            three = conv(conv(conv(x, w * 2 // 9, 1), w // 3, 3), w // 3, 3, stride)
        elif self.form == "7x7":
            one, inner = conv(x, w // 4, 1, stride), self.inner or w // 4
            two = line(line(conv(x, inner, 1), inner, 7, False), w // 4, 7, True, stride)
            three = line(line(conv(x, inner, 1), inner, 7, True), inner, 7, False)
            three = line(line(three, inner, 7, True), w // 4, 7, False, stride)
        else:
            one, two = conv(x, w * 5 // 32, 1, stride), conv(x, w * 3 // 16, 1).named("inner2")
            three = conv(conv(x, w * 7 // 32, 1), w * 3 // 16, 3).named("inner3")
            rows = [line(y, w * 3 // 16, 3, False, stride).named("row") for y in (two, three)]
            columns = [line(y, w * 3 // 16, 3, True, stride).named("column") for y in (two, three)]
            two, three = (Concat()(*pair) for pair in zip(rows, columns, strict=True))
        branches = [value.named(f"branch{i}") for i, value in enumerate((one, two, three), start=1)]
        rest = self.width - sum(value.channels for value in branches)
        return Concat()(*branches, conv(AvgPool(3, stride, 1)(x), rest, 1).named("branch4"))
