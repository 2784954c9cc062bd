"""The cost of where a trajectory ends, with its first and second derivatives."""

from __future__ import annotations

from functools import cached_property

import casadi as ca
import numpy as np

from actionopt.action.density.stage_formula import stage_formula
from actionopt.action.lagrangian import Lagrangian
from actionopt.errors import InputError


class EndCost:
    """`phi(w(T))` of a Lagrangian, differentiated by CasADi.

    Attributes
    ----------
    w : SX (n,)
    expression : SX
    """

    def __init__(self, what: Lagrangian) -> None:
        assert what.end_cost is not None
        self.w = ca.SX.sym("w", what.size)
        self.expression = stage_formula(f"{what.name}: end_cost", what.end_cost, self.w.T)
        if self.expression.numel() != 1:
            raise InputError(f"{what.name}: end_cost must be one number, got shape {self.expression.shape}")

    @cached_property
    def function(self) -> ca.Function:
        """`w -> phi, dphi/dw, d^2 phi/dw^2`."""
        hessian, gradient = ca.hessian(self.expression, self.w)
        return ca.Function("end_cost", [self.w], [self.expression, ca.densify(gradient), ca.densify(hessian)])

    def at(self, w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return value, gradient `(n,)` and Hessian `(n, n)` at `w (n,)`."""
        value, gradient, hessian = (out.full() for out in self.function(w))
        return float(value[0, 0]), gradient[:, 0], hessian
