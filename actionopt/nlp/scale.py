"""The scale of a program at its start: the size of the terms of the first-order conditions `df/dx + J^T lam_g = 0`.

It is the larger of |df/dx| and |J|^T |lam_g|, with the multipliers that the solve starts from, or those that come
nearest to the conditions (least squares, equalities alone) where it starts from none. Where both are below 1e-4 of
|H| |x0|, H the Hessian of the Lagrangian, the start is all but a solution: a sum of terms that cancel, which says
nothing of their size, and |H| |x0| is taken.
"""

from __future__ import annotations

from functools import cached_property
from numbers import Real
from typing import Any

import casadi as ca
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from actionopt.errors import InputError
from actionopt.nlp.derivatives import Program
from actionopt.nlp.verdict import largest

NEAR = 1e-4  # part of its terms below which the slope at the start no longer is the scale
ROUNDING = 1e-12  # of J J^T, so that dependent constraints can be solved with


class StartScale:
    """The scale of a program at any start; its functions are built when they are first asked for."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def at(self, x: np.ndarray, p: np.ndarray, lam_g: np.ndarray, equalities: np.ndarray) -> float:
        """Return the scale, 1 where there are no terms or they are not finite.

        Parameters
        ----------
        x, p, lam_g : arrays
            Start, parameters, and multipliers to start from.
        equalities : array of bool
            Which constraints are equalities.
        """
        gradient, jacobian = self._first(x, p)
        slope = gradient.full().reshape(-1)
        matrix = jacobian.sparse()
        if not np.isfinite(slope).all() or not np.isfinite(matrix.data).all():
            return 1.0
        multipliers = lam_g if lam_g.any() else _nearest(matrix, slope, np.broadcast_to(equalities, lam_g.shape))
        size = max(largest(abs(slope)), largest(abs(matrix).T @ abs(multipliers)))
        terms = largest(abs(self._bend(x, p, multipliers, x).full()))
        size = terms if size < NEAR * terms else size
        return size if 0.0 < size < np.inf else 1.0

    @cached_property
    def _first(self) -> ca.Function:
        """`(x, p) -> df/dx, J`."""
        program, given = self.program, self.program.given
        gradient = ca.gradient(program.f, program.x) if given is None or given.gradient is None else given.gradient
        jacobian = ca.jacobian(program.g, program.x) if given is None else given.jacobian
        return ca.Function("first", [program.x, program.p], [ca.densify(gradient), jacobian])

    @cached_property
    def _bend(self) -> ca.Function:
        """`(x, p, lam_g, v) -> H v`, or |H| |v| where H is given by its entries."""
        program, given = self.program, self.program.given
        kind = type(program.x)
        lam_g, v = kind.sym("lam_g", program.g.numel()), kind.sym("v", program.x.numel())
        if given is None:
            lagrangian = program.f + ca.dot(lam_g, program.g)
            product = ca.jtimes(ca.gradient(lagrangian, program.x), program.x, v)
        else:
            hessian = ca.Function("hessian", [program.x, program.p, given.lam_f, given.lam_g], [given.hessian])
            product = ca.mtimes(ca.fabs(hessian(program.x, program.p, 1.0, lam_g)), ca.fabs(v))
        return ca.Function("bend", [program.x, program.p, lam_g, v], [ca.densify(product)])


def _nearest(jacobian: Any, slope: np.ndarray, equalities: np.ndarray) -> np.ndarray:
    """Return the multipliers of the equalities that minimise |slope + J^T lam|, zeros for the rest."""
    multipliers = np.zeros(len(equalities))
    rows = sparse.csc_array(jacobian)[np.flatnonzero(equalities)]
    if not rows.shape[0] or not rows.nnz:
        return multipliers
    damping = ROUNDING * float(abs(rows.data).max()) ** 2
    system = sparse.block_array(
        [[sparse.eye_array(len(slope)), rows.T], [rows, -damping * sparse.eye_array(rows.shape[0])]], format="csc"
    )
    solved = splu(system).solve(np.concatenate([-slope, np.zeros(rows.shape[0])]))[len(slope) :]
    multipliers[equalities] = np.nan_to_num(solved, posinf=0.0, neginf=0.0)
    return multipliers


def checked_scale(scale: Any) -> float:
    """Return a scale that was given; raise InputError unless it is positive and finite."""
    if not (isinstance(scale, Real) and 0.0 < float(scale) < np.inf):
        raise InputError(f"scale must be a positive number, got {scale!r}")
    return float(scale)
