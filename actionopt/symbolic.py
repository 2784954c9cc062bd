"""CasADi functions of modules and losses: one sample, columns in and out, mapped over the batch.

CasADi works on columns and formulas on rows; the transposition happens here and nowhere else.
"""

from __future__ import annotations

import casadi as ca

from actionopt.errors import InputError
from actionopt.losses import Loss
from actionopt.modules import Module
from actionopt.ops import CASADI
from actionopt.ops.base import Array

SCALAR_LIMIT = 400  # weights below which scalar graphs (SX) build and run faster than matrix graphs (MX)


def symbol(name: str, size: int, scalar: bool) -> Array:
    """Return a column of symbols, scalar (SX) or matrix valued (MX)."""
    return (ca.SX if scalar else ca.MX).sym(name, size)


def module_function(module: Module) -> ca.Function:
    """Return `f: (z (in,), w (n_a,)) -> z_out (out,)` for one sample.

    Raises
    ------
    InputError
        If the module's formula cannot be evaluated on CasADi symbols, or gives the wrong shape.
    """
    if module.weight_size > SCALAR_LIMIT or not module.scalar_graph:
        function = _module_function(module, scalar=False)
        if not adds_scalar_to_vector(function):
            return function
        if not module.scalar_graph:
            raise InputError(
                f"{module.label}: its formula adds a number to a vector, of which CasADi drops derivatives in a graph "
                "of matrices; write ops.repeat_columns(number, size, keepdims=True)"
            )
    return _module_function(module, scalar=True)


def _module_function(module: Module, scalar: bool) -> ca.Function:
    z, w = symbol("z", module.in_size, scalar), symbol("w", module.weight_size, scalar)
    try:
        out = module.forward(CASADI, w.T, z.T)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{module.label}: forward fails on CasADi symbols, {type(error).__name__}: {reason}; "
            "write it with the functions of ops, which is one sample, a row, there"
        ) from error
    if out.shape != (1, module.out_size):
        raise InputError(
            f"{module.label}: forward returned shape {out.shape} on CasADi symbols of one sample, "
            f"expected (1, {module.out_size})"
        )
    return ca.Function("f", [z, w], [out.T], ["z", "w"], ["out"])


def adds_scalar_to_vector(function: ca.Function) -> bool:
    """Whether an MX graph adds or subtracts a scalar and a vector expression.

    CasADi 3.8.2 then drops terms from Jacobians in reverse mode (not from products): such a graph must be
    scalar-valued, SX or `function.expand()`.
    """
    for index in range(function.n_instructions()):
        if function.instruction_id(index) in (ca.OP_ADD, ca.OP_SUB):
            node = function.instruction_MX(index)
            parts = [node.dep(0), node.dep(1)]
            if parts[0].numel() != parts[1].numel() and not any(part.is_constant() for part in parts):
                return True
    return False


def loss_function(loss: Loss, out_size: int, target_size: int) -> ca.Function:
    """Return `loss: (y (out,), target (t,)) -> value` for one sample."""
    y, target = ca.SX.sym("y", out_size), ca.SX.sym("target", target_size)
    return ca.Function("loss", [y, target], [loss.value(CASADI, y.T, target.T)], ["y", "target"], ["value"])


def over_samples(function: ca.Function, samples: int, shared: list[int]) -> ca.Function:
    """Map a function of one sample over the columns of its inputs; inputs numbered in `shared` are not mapped."""
    return function.map(f"{function.name()}_batch", "serial", samples, shared, []) if samples > 1 else function
