"""The discrete action with its gradient and Hessian products.

`S_h(X) = sum_q weight_q l((P X)_q, (Q X)_q) + phi(X_K)`, where phi is the cost of the end, if the system has one.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from actionopt.action.density.density import Density, Expansion
from actionopt.action.density.end_cost import EndCost
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.task import ActionTask

RESTING = 1e-6  # part of the terms of the gradient's change that stands for rounding: times tol, 50 units of it


class DiscreteAction:
    """S_h of a task, as a function of the points X `(K, n)`; fixed entries have zero gradient.

    Parameters
    ----------
    density : Density
    task : ActionTask
    """

    def __init__(self, density: Density, task: ActionTask) -> None:
        self.density = density
        self.task = task
        self.scheme = task.scheme
        self.free = task.free
        what = task.what
        self.end_cost = EndCost(what) if isinstance(what, Lagrangian) and what.end_cost is not None else None
        self._position_t = self.scheme.position.T.tocsr()
        self._velocity_t = self.scheme.velocity.T.tocsr()
        self._last: ActionPoint | None = None

    def at(self, points: np.ndarray) -> ActionPoint:
        """Evaluate at X `(K, n)`; asked for the same array again, return the same point."""
        if self._last is not None and self._last.points is points:
            return self._last
        scheme = self.scheme
        expansion = self.density.expand_blocks(scheme.position @ points, scheme.velocity @ points, scheme.stages)
        self._last = ActionPoint(self, points, expansion)
        return self._last

    def gather(self, force: np.ndarray, momentum: np.ndarray) -> np.ndarray:
        """Pull derivatives at the stages back to the free entries: `P^T (weight force) + Q^T (weight momentum)`."""
        weights = self.scheme.weights[:, None]
        return (self._position_t @ (weights * force) + self._velocity_t @ (weights * momentum)) * self.free

    def gather_sizes(self, force: np.ndarray, momentum: np.ndarray) -> np.ndarray:
        """Pull sizes back likewise, with the sizes of P and Q."""
        weights = self.scheme.weights[:, None]
        pulled = abs(self._position_t) @ (weights * force) + abs(self._velocity_t) @ (weights * momentum)
        return np.asarray(pulled * self.free)


class ActionPoint:
    """S_h expanded about X.

    Attributes
    ----------
    points : array (K, n)
    expansion : Expansion
        The density about the stages.
    value : float
        S_h.
    """

    def __init__(self, action: DiscreteAction, points: np.ndarray, expansion: Expansion) -> None:
        self.action = action
        self.points = points
        self.expansion = expansion
        self.value = float(action.scheme.weights @ expansion.value)
        self.end = None if action.end_cost is None else action.end_cost.at(points[-1])
        if self.end is not None:
            self.value += self.end[0]

    @cached_property
    def gradient(self) -> np.ndarray:
        """`dS_h/dX (K, n)`, zero where X is fixed."""
        gradient = self.action.gather(self.expansion.force, self.expansion.momentum)
        if self.end is not None:
            gradient[-1] += self.end[1] * self.action.free[-1]
        return gradient

    def product(self, direction: np.ndarray) -> np.ndarray:
        """Hessian of S_h times a direction `(K, n)` that is zero where X is fixed."""
        scheme = self.action.scheme
        out = self.action.gather(*self.expansion.product(scheme.position @ direction, scheme.velocity @ direction))
        if self.end is not None:
            out[-1] += self.end[2] @ direction[-1] * self.action.free[-1]
        return out

    @property
    def gradient_norm(self) -> float:
        """Largest entry of the gradient; NaN where one is."""
        return float(abs(self.gradient).max(initial=0.0))

    @cached_property
    def magnitude(self) -> float:
        """What S_h is a sum of, `sum_q weight_q |l_q| + |phi|`: rounding of S_h is a part of it."""
        parts = float(self.action.scheme.weights @ abs(self.expansion.value))
        return parts if self.end is None else parts + abs(self.end[0])

    def terms(self) -> float:
        """Size of the terms that an entry of the gradient is a sum of; the largest over the free entries.

        What residuals are relative to. It scales with the action, whatever its unit, and does not vanish along a flow.
        """
        sizes = self.action.gather_sizes(*self.expansion.term_sizes())
        if self.end is not None:
            sizes[-1] += abs(self.end[1]) * self.action.free[-1]
        return float(sizes.max(initial=0.0))

    def differences(self) -> np.ndarray:
        """Sizes `(M, n)` of what velocities are differences of."""
        return np.asarray(abs(self.action.scheme.velocity) @ abs(self.points))

    def resting_terms(self) -> float:
        """Size of the terms of the gradient's change over positions as large as X, and velocities made of them.

        At rest in a critical point all terms of the gradient vanish; rounding is a part of these.
        """
        action = self.action
        moved = self.expansion.product(self.expansion.w, self.differences())
        return float(action.gather_sizes(*(abs(part) for part in moved)).max(initial=0.0))
