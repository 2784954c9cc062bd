"""Modules: maps `z_out = f(z_in, w)` that are chained into a system."""

from actionopt.modules.activation import ACTIVATIONS, Activation
from actionopt.modules.base import Module
from actionopt.modules.composite import Chain, Parallel, Residual
from actionopt.modules.dense import Dense
from actionopt.modules.parameter import Parameter

__all__ = ["ACTIVATIONS", "Activation", "Chain", "Dense", "Module", "Parallel", "Parameter", "Residual"]
