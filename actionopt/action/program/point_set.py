"""Positions of a trajectory at which conditions on positions alone are imposed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.action.program.stages import StageFunctions
from actionopt.action.scheme import Scheme, position_laws


@dataclass(frozen=True)
class PointSet:
    """C positions, in the order of time.

    Attributes
    ----------
    functions : StageFunctions
        Conditions on one position; their density is zero.
    interval : array (C,) of int
        The interval each lies on; N for the last node.
    local : array (C,)
        Where on it, in [0, 1).
    """

    functions: StageFunctions
    interval: np.ndarray
    local: np.ndarray

    @property
    def conditions(self) -> int:
        """How many conditions there are at a position."""
        return self.functions.equalities + self.functions.inequalities

    def pull(self, at: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """`mu . dc/dw` at the positions `at (C, n)`, with multipliers `(C, c)`: `(C, n)`."""
        rows, columns = (np.array(index, dtype=int) for index in self.functions.jacobian_pattern.get_triplet())
        nonzeros = self.functions.jacobian(at.T).full().T
        out = np.zeros_like(at)
        np.add.at(out.T, columns, (nonzeros * mu[:, rows]).T)
        return out

    def laws(self, scheme: Scheme) -> np.ndarray:
        """Weights `(C, degree + 1)` of the interval's points in each position."""
        return position_laws(scheme, self.local)
