"""Reverse-mode products of formulas that only have a forward, by autograd, batched.

On duals the reverse pass is differentiated as well: the pairing of an adjoint with the output is a polynomial in
the infinitesimals, and the derivative of its top coefficient with respect to each coefficient of an input gives the
coefficients of the pulled-back adjoint, in reverse order. So one trace of `forward` serves every order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actionopt.ops import TRACED, DualOps, Ops
from actionopt.ops.base import Array


def pull_back(
    forward: Callable[..., Array],
    ops: Ops,
    inputs: tuple[Array, ...],
    ranks: tuple[int, ...],
    adjoint: Array | None = None,
) -> list[Array]:
    """Return the adjoint of each input of `forward(ops, *inputs)`, given the adjoint of its output.

    Parameters
    ----------
    forward : callable
        `forward(ops, *inputs)` in any namespace.
    ops : Ops
        NumPy or (nested) duals over NumPy.
    inputs : tuple of arrays
        The point, arrays of `ops`.
    ranks : tuple of int
        How many trailing axes of each input are its own; all axes before are leading and are kept in the result,
        those that only the adjoint or another input has included.
    adjoint : array of `ops`, optional
        Adjoint of the output, with as many own axes as the largest rank; all ones where it is None, so that
        the result is the gradient of the summed output.

    Returns
    -------
    list of arrays of `ops`, one an input
    """
    from autograd import grad

    coefficients = [_coefficients(ops, x) for x in inputs]
    ones: list[Array | None] = [None] * (len(coefficients[0]) - 1) + [np.float64(1.0)]
    cotangents = ones if adjoint is None else _coefficients(ops, adjoint)[::-1]
    lead = np.broadcast_shapes(
        *(c.shape[:-rank] for cs, rank in zip(coefficients, ranks, strict=True) for c in cs if c is not None),
        *(c.shape[: -max(ranks)] for c in cotangents if c is not None),
    )
    flat = [[_spread(c, cs[0], lead, rank) for c in cs] for cs, rank in zip(coefficients, ranks, strict=True)]
    traced = _traced(ops)

    def pairing(flat: list[list[Array]]) -> Array:
        out = _coefficients(traced, forward(traced, *[_assemble(traced, cs) for cs in flat]))
        total = 0.0 * flat[0][0].sum()  # keeps the trace where the output is constant
        for cotangent, part in zip(cotangents, out, strict=True):
            if cotangent is not None and part is not None:
                total = total + (cotangent * part).sum()
        return total

    return [_assemble(ops, cs[::-1]) for cs in grad(pairing)(flat)]


def _spread(coefficient: Array | None, value: Array, lead: tuple[int, ...], rank: int) -> Array:
    shape = (*lead, *value.shape[-rank:])
    return np.zeros(shape) if coefficient is None else np.array(np.broadcast_to(coefficient, shape))


def _coefficients(ops: Ops, x: Array) -> list[Array | None]:
    """Flatten nested duals to the coefficients of the products of infinitesimals, in binary order."""
    if not isinstance(ops, DualOps):
        return [x]
    if x is None:
        return [None] * (2**ops.level)
    value, tangent = ops.parts(x)
    half = 2 ** (ops.level - 1)
    return _coefficients(ops.inner, value) + ([None] * half if tangent is None else _coefficients(ops.inner, tangent))


def _assemble(ops: Ops, coefficients: list[Array]) -> Array:
    if not isinstance(ops, DualOps):
        return coefficients[0]
    half = len(coefficients) // 2
    return ops.dual(_assemble(ops.inner, coefficients[:half]), _assemble(ops.inner, coefficients[half:]))


def _traced(ops: Ops) -> Ops:
    """Return the twin of `ops` on autograd's NumPy."""
    return DualOps(_traced(ops.inner)) if isinstance(ops, DualOps) else TRACED
