"""Inception module that reduces the size: strided convolutions beside a pool (Szegedy et al., 2016).

`form` is that of the modules before it: 3x3, or 7x7 with lines. The pool passes the channels of the input
where the width leaves room for the other branches.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import Concat, MaxPool
from nas.modules.base import Module, choice
from nas.modules.inception_conv import conv, line


@dataclass(frozen=True)
class Reduction(Module, name="inception_reduction"):
    """Reduction. `edge` decides about windows that reach over the edge, as for max_pool."""

    form: str = choice("3x3", "7x7")
    edge: str = choice("pad", "drop")

    def expand(self, x: Value) -> Value:
        passes = x.channels < self.width
        w = self.width - x.channels if passes else max(2, self.width * 5 // 8)
        padding = 0 if self.edge == "drop" else 1
        if self.form == "3x3":
            one = conv(x, w * 4 // 5, 3, self.stride, padding)
            two = conv(conv(conv(x, w * 2 // 15, 1), w // 5, 3), w - one.channels, 3, self.stride, padding)
        else:
            one = conv(conv(x, w * 3 // 8, 1), w * 5 // 8, 3, self.stride, padding)
            two = line(line(conv(x, w * 3 // 8, 1), w * 3 // 8, 7, False), w * 3 // 8, 7, True)
            two = conv(two, w - one.channels, 3, self.stride, padding)
        pool = MaxPool(3, self.stride, padding)(x)
        pool = pool if passes else conv(pool, self.width - w, 1)
        return Concat()(one.named("branch1"), two.named("branch2"), pool.named("branch3"))
