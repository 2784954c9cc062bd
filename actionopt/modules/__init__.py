"""Modules: maps `z_out = f(z_in, w)` that are chained into a system."""

from actionopt.modules.activation import ACTIVATIONS, Activation
from actionopt.modules.attention import Attention
from actionopt.modules.base import Module
from actionopt.modules.composite import Chain, Parallel, Residual
from actionopt.modules.conv import AveragePool2d, Conv2d
from actionopt.modules.dense import Dense
from actionopt.modules.each import Each
from actionopt.modules.embedding import Embedding
from actionopt.modules.implicit import Implicit
from actionopt.modules.map import Map
from actionopt.modules.node import Node
from actionopt.modules.norm import LayerNorm
from actionopt.modules.parameter import Parameter
from actionopt.modules.transposed import Transposed

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Attention",
    "AveragePool2d",
    "Chain",
    "Conv2d",
    "Dense",
    "Each",
    "Embedding",
    "Implicit",
    "LayerNorm",
    "Map",
    "Module",
    "Node",
    "Parallel",
    "Parameter",
    "Residual",
    "Transposed",
]
