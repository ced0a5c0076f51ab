"""Methods of the class of the network that are the same text, or nearly so, in every network."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from nas.codegen.format import INDENT, WIDTH
from nas.codegen.forward import Unit

TENSOR = "torch.Tensor"
CHECKPOINT_BLOCKS = '''\
def checkpoint_blocks(blocks: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Run blocks in a row. The backward pass computes again what lies inside each."""
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False)
    return x
'''
"""Helper of networks in which the blocks of a stage are a chain."""
CLASSIFIER_ARGS = """\
num_classes: Number of scores; with 0 the network returns the pooled features.
in_chans: Channels of the image.
global_pool: "avg", or "" to return the last feature map, which takes `num_classes=0`.
drop_rate: Rate of the dropout in the head."""
MAP_ARGS = """\
num_classes: Number of scores of each pixel.
in_chans: Channels of the image."""
ZERO_INIT_ARG = """\
zero_init_last: Start with residual branches that return zero (Goyal et al., 2017)."""
RESET_CLASSIFIER = '''
    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.classifier

    def reset_classifier(
        self, num_classes: int, global_pool: str | None = None
    ) -> None:
        """Replace the classifier by a new one, or by none if there are 0 classes."""
        pool = self.global_pool if global_pool is None else global_pool
        if pool not in ("avg", "") or (num_classes > 0 and pool == ""):
            raise ValueError("global_pool must be 'avg', or '' with num_classes=0")
        self.global_pool = pool
        self.num_classes = num_classes
        features = self.head_hidden_size
        self.classifier = (
            {classifier}(features, num_classes) if num_classes > 0 else nn.Identity()
        )
'''
RESET_MAP = '''
    def get_classifier(self) -> nn.Module:
        """Return the head, which scores every pixel."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one."""
        self.num_classes = num_classes
'''
SET_GRAD_CHECKPOINTING = '''
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the outputs of blocks for the backward pass, to save memory."""
        self.grad_checkpointing = enable
'''
INTERMEDIATES = '''
    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[torch.Tensor] | tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the last feature map and a list of those of stem and stages.

        indices: Places in the list, or how many of its last; all unless given.
        norm: Whether the last of the list has passed the norm of the head, if it has one.
        stop_early: Taken for timm's sake; all stages are computed.
        output_fmt: "NCHW" is the only one.
        intermediates_only: Return the list alone.
        """
        if output_fmt != "NCHW":
            raise ValueError("output_fmt must be 'NCHW'")
'''
CHOOSE = """\
        if isinstance(indices, int):
            if indices > len(maps):
                raise ValueError("there are fewer maps")
            indices = list(range(len(maps) - indices, len(maps)))
        if indices is not None:
            maps = [maps[i] for i in indices]
        return maps if intermediates_only else (x, maps)
"""


def checkpointed(unit: Unit, inputs: str) -> str:
    """Return the call of an attribute, or of the blocks in it, that keeps only what goes in."""
    if unit.index >= 0:
        return f"checkpoint({unit.called}, {inputs}, use_reentrant=False)"
    return f"checkpoint_blocks({unit.called}, {inputs})" if unit.is_stage else f"{unit.called}({inputs})"


def docstring(text: str, arguments: str = "", level: int = 2) -> list[str]:
    """Return the lines of a docstring, with a list of arguments where there is one."""
    pad = INDENT * level
    if not arguments:
        return [f'{pad}"""{text}"""']
    lines = [f'{pad}"""{text}', ""]
    for line in arguments.splitlines():
        lines += textwrap.wrap(line, WIDTH, initial_indent=pad, subsequent_indent=pad + INDENT)
    return [*lines, f'{pad}"""']


def forward_intermediates(prologue: Sequence[str], statements: Sequence[str], normed: bool) -> list[str]:
    """Return the method; the lines `statements` append feature maps to `maps`."""
    lines = [*INTERMEDIATES.rstrip("\n").splitlines(), *prologue, f"{INDENT * 2}maps = []", *statements]
    if normed:
        lines += [f"{INDENT * 2}if norm:", f"{INDENT * 3}maps[-1] = x"]
    return [*lines, *CHOOSE.rstrip("\n").splitlines()]
