"""Module types, one per file, from which everything else about them is derived."""

from nas.modules.activated_conv import ActivatedConv
from nas.modules.base import MODULE_TYPES, Component, Head, Module, Stem, choice, from_dict
from nas.modules.bottleneck import Bottleneck
from nas.modules.dense import Dense
from nas.modules.fractal import Fractal
from nas.modules.heads import AuxiliaryHead, MlpHead, PoolHead
from nas.modules.inception import Inception
from nas.modules.inverted import InvertedBottleneck
from nas.modules.plain import Plain
from nas.modules.pool import Pool
from nas.modules.residual import Residual
from nas.modules.resnext import ResNeXt
from nas.modules.segmentation_heads import FcnHead, MapHead
from nas.modules.separable import Separable
from nas.modules.stems import ConvStem

__all__ = [
    "MODULE_TYPES",
    "ActivatedConv",
    "AuxiliaryHead",
    "Bottleneck",
    "Component",
    "ConvStem",
    "Dense",
    "FcnHead",
    "Fractal",
    "Head",
    "Inception",
    "InvertedBottleneck",
    "MapHead",
    "MlpHead",
    "Module",
    "Plain",
    "Pool",
    "PoolHead",
    "ResNeXt",
    "Residual",
    "Separable",
    "Stem",
    "choice",
    "from_dict",
]
