"""Module types, one per file, from which everything else about them is derived."""

from nas.modules.activated_conv import ActivatedConv
from nas.modules.attention import Attention
from nas.modules.base import MODULE_TYPES, Component, Head, Module, Stem, choice, from_dict
from nas.modules.bottleneck import Bottleneck
from nas.modules.cell import Cell
from nas.modules.convnext import ConvNeXt
from nas.modules.dense import Dense
from nas.modules.factorized import FactorizedInception
from nas.modules.fire import Fire
from nas.modules.fractal import Fractal
from nas.modules.grammar import Grammar
from nas.modules.heads import (
    AuxiliaryConvHead,
    AuxiliaryHead,
    ConvPoolHead,
    HiddenHead,
    MlpHead,
    NormPoolHead,
    PoolHead,
)
from nas.modules.inception import Inception
from nas.modules.inverted import InvertedBottleneck
from nas.modules.inverted_v3 import InvertedV3
from nas.modules.plain import Plain
from nas.modules.pool import Pool
from nas.modules.reduction import Reduction
from nas.modules.regnet import RegNet
from nas.modules.residual import Residual
from nas.modules.resnext import ResNeXt
from nas.modules.segmentation_heads import FcnHead, MapHead
from nas.modules.separable import Separable
from nas.modules.shuffle import Shuffle
from nas.modules.stems import ConvStem, PatchStem

__all__ = [
    "MODULE_TYPES",
    "ActivatedConv",
    "Attention",
    "AuxiliaryConvHead",
    "AuxiliaryHead",
    "Bottleneck",
    "Cell",
    "Component",
    "ConvNeXt",
    "ConvPoolHead",
    "ConvStem",
    "Dense",
    "FactorizedInception",
    "FcnHead",
    "Fire",
    "Fractal",
    "Grammar",
    "Head",
    "HiddenHead",
    "Inception",
    "InvertedBottleneck",
    "InvertedV3",
    "MapHead",
    "MlpHead",
    "Module",
    "NormPoolHead",
    "PatchStem",
    "Plain",
    "Pool",
    "PoolHead",
    "Reduction",
    "RegNet",
    "ResNeXt",
    "Residual",
    "Separable",
    "Shuffle",
    "Stem",
    "choice",
    "from_dict",
]
