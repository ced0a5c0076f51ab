"""Heads of classification, from the last feature map to the scores of the classes."""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import (
    AdaptiveAvgPool,
    AvgPool,
    Classifier,
    ConvClassifier,
    Dropout,
    Flatten,
    GlobalPool,
    Hardswish,
    LayerNorm,
    Linear,
    Relu,
)
from nas.modules.activated_conv import activated
from nas.modules.base import Head, choice
from nas.modules.conv_blocks import CHAIN_NORMS, PLACEMENTS, RESIDUAL_NORMS, ConvSpec, activate, conv_unit


@dataclass(frozen=True)
class PoolHead(Head, name="pool"):
    """Global average pool and a linear layer (Lin et al., 2014; He et al., 2015).

    `norm` is that of the last module: the head adds, before the pool, the norm and activation
    that pre-activation modules lack at their end.
    """

    dropout: float = choice(0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    norm: str = choice(*RESIDUAL_NORMS)

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        before = PLACEMENTS[self.norm].before
        if before:
            x = activate(x, before).named("norm")
        x = GlobalPool()(x)
        if self.dropout:
            x = Dropout(self.dropout)(x)
        return Classifier(num_classes)(x)


@dataclass(frozen=True)
class MlpHead(Head, name="mlp"):
    """Linear layers with dropout over a grid of averages, as in AlexNet (Krizhevsky et al.,
    2012, where dropout comes before each layer) and VGG (Simonyan and Zisserman, 2015)."""

    size: int = choice(1, 2, 3, 4, 5, 6, 7, default=7)
    hidden: int = choice(64, 128, 256, 512, 1024, 2048, 4096, default=4096)
    layers: int = choice(1, 2, 3, default=2)
    dropout: float = choice(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, default=0.5)
    dropout_first: bool = choice(False, True)
    norm: str = choice(*RESIDUAL_NORMS)

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        x = activate(x, PLACEMENTS[self.norm].before)
        x = Flatten()(AdaptiveAvgPool(self.size)(x))
        for _ in range(self.layers):
            if self.dropout and self.dropout_first:
                x = Dropout(self.dropout)(x)
            x = Relu()(Linear(self.hidden)(x))
            if self.dropout and not self.dropout_first:
                x = Dropout(self.dropout)(x)
        return Classifier(num_classes)(x.named("hidden"))


@dataclass(frozen=True)
class AuxiliaryHead(Head, name="auxiliary"):
    """GoogLeNet's auxiliary classifier: pool, 1x1 convolution, two linear layers (Szegedy et
    al., 2015). `grid` 4 averages over a 4x4 grid as torchvision does; 0 is the paper's 5x5
    window with stride 3."""

    grid: int = choice(4, 0, 1, 2)
    channels: int = choice(128, 16, 32, 64)
    hidden: int = choice(1024, 64, 128, 256, 512)
    dropout: float = choice(0.7, 0.0, 0.5)
    norm: str = choice(*CHAIN_NORMS)
    eps: float = choice(1e-5, 1e-3)

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        x = AdaptiveAvgPool(self.grid)(x) if self.grid else AvgPool(5, 3)(x)
        x = Flatten()(conv_unit(x, ConvSpec(self.channels, 1, eps=self.eps), self.norm))
        x = Relu()(Linear(self.hidden)(x))
        if self.dropout:
            x = Dropout(self.dropout)(x)
        return Classifier(num_classes)(x)


@dataclass(frozen=True)
class AuxiliaryConvHead(Head, name="auxiliary_conv"):
    """Auxiliary classifier with a 5x5 convolution over a pooled map (Szegedy et al., 2016)."""

    channels: int = choice(128, 16, 32, 64)
    hidden: int = choice(768, 64, 128, 256, 512)

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        x = activated(AvgPool(5, 3)(x), self.channels, 1, "relu", eps=1e-3)
        x = GlobalPool()(activated(x, self.hidden, 5, "relu", eps=1e-3, padding=0))
        return Classifier(num_classes)(x)


@dataclass(frozen=True)
class ConvPoolHead(Head, name="conv_pool"):
    """1x1 convolution to the scores, averaged (Lin et al., 2014; Iandola et al., 2016)."""

    dropout: float = choice(0.5, 0.0, 0.2)

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        x = Dropout(self.dropout)(x) if self.dropout else x
        return ConvClassifier(num_classes)(x)


@dataclass(frozen=True)
class HiddenHead(Head, name="hidden"):
    """Global average pool, a hidden layer with hardswish, and a linear layer (Howard et al., 2019)."""

    hidden: int = choice(1280, 64, 128, 256, 512, 1024)
    dropout: float = choice(0.2, 0.0, 0.5)

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        x = Hardswish()(Linear(self.hidden)(GlobalPool()(x)))
        x = Dropout(self.dropout)(x) if self.dropout else x
        return Classifier(num_classes)(x)


@dataclass(frozen=True)
class NormPoolHead(Head, name="norm_pool"):
    """Global average pool, a layer norm and a linear layer (Liu et al., 2022)."""

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        return Classifier(num_classes)(LayerNorm()(GlobalPool()(x)))
