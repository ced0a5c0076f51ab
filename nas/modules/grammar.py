"""Module derived by a grammar of sequences, branches and repetitions, which holds most known types.

Where size or width change, an entry comes first, as in a cell; where the derivation does not end at the width
of the stage, a 1x1 convolution follows, as in a dense block.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import RESIDUAL_NORMS, ConvSpec, conv_unit
from nas.modules.derivation import Derivation
from nas.modules.derive import Context, derive
from nas.modules.operations import ENTRIES
from nas.modules.structure import structure


@dataclass(frozen=True)
class Grammar(Module, name="grammar"):
    tree: Derivation = structure(Derivation, "seq(add(identity, seq(conv3x3, end3x3)), act)")
    entry: str = choice(*ENTRIES)
    norm: str = choice(*RESIDUAL_NORMS)

    def expand(self, x: Value) -> Value:
        if self.stride > 1 or x.channels != self.width:
            x = ENTRIES[self.entry](x, self.width, self.stride, self.norm).named("entry")
        x = derive(self.tree, x, Context(self.width, self.norm))
        return x if x.channels == self.width else conv_unit(x, ConvSpec(self.width, 1), self.norm)
