"""Derivatives to second order of formulas and modules, many of a kind in one call.

Of few numbers each a formula is run once on nested duals, all pairs of directions at a time; modules with many weights
go through their own `vjp`, on recorded tangents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.losses import Loss
from actionopt.modules import Module
from actionopt.ops import NUMPY, LinearProgram, duals_over
from actionopt.ops.linear import recording

RECORD, DUALS = recording(NUMPY)
ONCE = duals_over(NUMPY)
TWICE = duals_over(ONCE)
FEW, NUMBERS = 8, 200_000  # variables of a formula, and numbers in all pairs of its directions, up to which to nest


def is_small(variables: int, copies: int) -> bool:
    """Whether a formula of so many variables, evaluated so often, is run on nested duals."""
    return variables <= FEW and variables**2 * copies <= NUMBERS


def expanded(formula: Callable[..., Any], parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expand `formula(ops, *parts)` to second order in the last axes of its parts `(..., s_i)`, joined.

    Returns value `(..., m)`, Jacobian `(..., m, k)` and Hessians `(..., m, k, k)`, k the sum of the sizes; without the
    axis m where the formula sums it away.
    """
    ends = np.cumsum([part.shape[-1] for part in parts])
    pieces = np.split(np.eye(ends[-1]), ends[:-1], axis=1)
    arguments = []
    for part, piece in zip(parts, pieces, strict=True):
        along = piece.reshape(len(piece), *[1] * (part.ndim - 1), part.shape[-1]) + np.zeros(part.shape)
        arguments.append(TWICE.dual(ONCE.dual(part, along[:, None]), ONCE.dual(along, None)))
    low, high = TWICE.parts(formula(TWICE, *arguments))
    value, first = ONCE.parts(low)
    second = None if high is None else ONCE.parts(high)[1]
    k, shape = int(ends[-1]), np.shape(value)
    jacobian = np.zeros((k, *shape)) if first is None else np.broadcast_to(first, (k, 1, *shape))[:, 0]
    hessian = np.zeros((k, k, *shape)) if second is None else np.broadcast_to(second, (k, k, *shape))
    return value, np.moveaxis(jacobian, 0, -1), np.moveaxis(hessian, (0, 1), (-2, -1))


def expanded_loss(loss: Loss, y: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient `(..., B, d)` and Hessian `(..., B, d, d)` of a loss at outputs `y (..., B, d)`."""
    d = y.shape[-1]
    if type(loss).gradient is Loss.gradient and is_small(d, y.size):
        return expanded(lambda ops, y: loss.value(ops, y, targets), (y,))[1:]
    basis = np.eye(d).reshape(d, *[1] * (y.ndim - 1), d) + np.zeros(y.shape)
    columns = loss.curvature(NUMPY, y, targets, basis) + np.zeros(basis.shape)
    return loss.gradient(NUMPY, y, targets), np.moveaxis(columns, 0, -1)


@dataclass
class Expansion:
    """P equal modules at weights `(P, n)` and inputs `(P, B, d)`."""

    module: Module
    w: np.ndarray
    z: np.ndarray

    @cached_property
    def _nested(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Jacobian `(P, B, e, n + d)` and Hessians `(P, B, e, n + d, n + d)`; None for modules with a `vjp`."""
        module = getattr(self.module, "dynamics", self.module)
        n, d = self.module.weight_size, self.module.in_size
        bare = type(module).vjp is Module.vjp
        if not bare or not is_small(n + d, self.z[..., 0].size * module.out_size):
            return None
        w = np.broadcast_to(self.w[:, None, :], (*self.z.shape[:2], n))
        _, first, second = expanded(self.module.forward, (w, self.z[:, :, None, :]))
        return first[:, :, 0], second[:, :, 0]

    @cached_property
    def jacobians(self) -> tuple[np.ndarray, np.ndarray]:
        """`A (P, B, e, d)` and `B (P, B, e, n)`."""
        if self._nested is None:
            return _jacobians(self.module, self.w, self.z)
        n = self.module.weight_size
        return self._nested[0][..., n:], self._nested[0][..., :n]

    def curvature(self, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the second derivatives of `lam . f`: `zz (P, B, d, d)`, `zw (P, B, d, n)`, `ww (P, n, n)`."""
        if self._nested is None:
            zz, zw = _in_states(self.module, self.w, self.z, lam)
            return zz, zw, _in_weights(self.module, self.w, self.z, lam)
        n = self.module.weight_size
        whole = np.einsum("pbe,pbeij->pbij", lam, self._nested[1])
        return whole[..., n:, n:], whole[..., n:, :n], whole[..., :n, :n].sum(axis=1)


def _jacobians(module: Module, w: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `A (P, B, e, d)` and `B (P, B, e, n)` at weights `(P, n)` and inputs `(P, B, d)`: one vjp an output."""
    w1, z1 = w[:, None, :], z[:, :, None, :]  # samples as a leading axis: nothing is summed over them
    rows = np.eye(module.out_size)[:, None, None, None, :]
    out = module.forward(NUMPY, w1, z1)
    to_weights, to_inputs = module.vjp(NUMPY, w1, z1, out, rows + 0.0 * out)
    shape = (module.out_size, *z.shape[:-1])
    a = np.broadcast_to(to_inputs, (*shape, 1, module.in_size))[..., 0, :]
    b = np.broadcast_to(to_weights, (*shape, module.weight_size))
    return np.moveaxis(a, 0, -2), np.moveaxis(b, 0, -2)


def _in_states(module: Module, w: np.ndarray, z: np.ndarray, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of `A^T lam` and `B^T lam` in the inputs: `(P, B, d, d)` and `(P, B, d, n)`."""
    d, n = module.in_size, module.weight_size
    z1 = z[:, :, None, :]
    program = _change(module, w[:, None, :], z1, lam[:, :, None, :])
    own, onward = program(np.zeros((d, 1, 1, n)), np.eye(d)[:, None, None, None, :] + 0.0 * z1)
    zz = np.broadcast_to(onward, (d, *z.shape[:-1], 1, d))[..., 0, :]
    zw = np.broadcast_to(own, (d, *z.shape[:-1], n))
    return np.moveaxis(zz, 0, -2), np.moveaxis(zw, 0, -2)


def _in_weights(module: Module, w: np.ndarray, z: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Return the derivative of `sum_b B_b^T lam_b` in the weights, `(P, n, n)`."""
    n = module.weight_size
    if not n:
        return np.zeros((len(w), 0, 0))
    own = _change(module, w, z, lam)(np.eye(n)[:, None, :] + 0.0 * w, 0.0 * z)[0]
    return np.moveaxis(np.broadcast_to(own, (n, len(w), n)), 0, -2)


def _change(module: Module, w: np.ndarray, z: np.ndarray, lam: np.ndarray) -> LinearProgram:
    """Record what tangents of weights and inputs do to what `vjp` gives for the adjoint lam."""
    dw, dz = RECORD.variable(w.shape[-1:]), RECORD.variable(z.shape[-2:])
    wd, zd = DUALS.dual(w, dw), DUALS.dual(z, dz)
    pulled = module.vjp(DUALS, wd, zd, module.forward(DUALS, wd, zd), DUALS.dual(lam, None))
    tangents = [DUALS.parts(x)[1] for x in pulled]
    return LinearProgram([dw, dz], [own * 0.0 if t is None else t for own, t in zip((dw, dz), tangents, strict=True)])
