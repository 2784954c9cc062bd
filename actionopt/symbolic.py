"""CasADi functions of modules and losses: one sample, columns in and out, mapped over the batch.

CasADi works on columns and formulas on rows; the transposition happens here and nowhere else.
"""

from __future__ import annotations

import casadi as ca

from actionopt.losses import Loss
from actionopt.modules import Module
from actionopt.ops import CASADI

SCALAR_LIMIT = 400  # weights below which scalar graphs (SX) build and run faster than matrix graphs (MX)


def symbol(name: str, size: int, scalar: bool) -> ca.SX | ca.MX:
    """Return a column of symbols, scalar (SX) or matrix valued (MX)."""
    return (ca.SX if scalar else ca.MX).sym(name, size)


def module_function(module: Module) -> ca.Function:
    """Return `f: (z (in,), w (n_a,)) -> z_out (out,)` for one sample."""
    scalar = module.weight_size <= SCALAR_LIMIT
    z, w = symbol("z", module.in_size, scalar), symbol("w", module.weight_size, scalar)
    out = CASADI.repeat_samples(module.forward(CASADI, w.T, z.T), z.T)
    return ca.Function("f", [z, w], [out.T], ["z", "w"], ["out"])


def loss_function(loss: Loss, out_size: int, target_size: int) -> ca.Function:
    """Return `loss: (y (out,), target (t,)) -> value` for one sample."""
    y, target = ca.SX.sym("y", out_size), ca.SX.sym("target", target_size)
    return ca.Function("loss", [y, target], [loss.value(CASADI, y.T, target.T)], ["y", "target"], ["value"])


def over_samples(function: ca.Function, samples: int, shared: list[int]) -> ca.Function:
    """Map a function of one sample over the columns of its inputs; inputs numbered in `shared` are not mapped."""
    return function.map(f"{function.name()}_batch", "serial", samples, shared, []) if samples > 1 else function
