"""Reverse-mode products of formulas that only have a forward, batched, in any namespace.

The formula runs once with recorded tangents; the adjoint is pulled back through the record. On duals the record's
coefficients are duals, so the pulled-back adjoints carry their own derivatives.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actionopt.ops import DualOps, Ops
from actionopt.ops.base import Array
from actionopt.ops.linear import recording
from actionopt.ops.tape import bottom, lengths_of, transposed


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
    linear, duals = recording(ops)
    variables = [linear.variable(lengths_of(x)[-rank:]) for x, rank in zip(inputs, ranks, strict=True)]
    pairs = zip(inputs, variables, strict=True)
    value, tangent = duals.parts(forward(duals, *[duals.dual(x, variable) for x, variable in pairs]))
    adjoint = np.ones(np.shape(bottom(value))) if adjoint is None else adjoint
    pulled = [None] * len(inputs) if tangent is None else transposed(tangent, adjoint, variables)
    return [
        _constant(ops, _zero(x, rank, adjoint)) if found is None else found
        for x, rank, found in zip(inputs, ranks, pulled, strict=True)
    ]


def _zero(x: Array, rank: int, adjoint: Array) -> np.ndarray:
    """Return the adjoint of an input that the output does not depend on."""
    x, adjoint = bottom(x), bottom(adjoint)
    return np.zeros((*np.broadcast_shapes(x.shape[:-rank], adjoint.shape[:-2]), *x.shape[-rank:]))


def _constant(ops: Ops, x: np.ndarray) -> Array:
    return ops.dual(_constant(ops.inner, x), None) if isinstance(ops, DualOps) else x
