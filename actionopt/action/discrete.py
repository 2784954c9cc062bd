"""The discrete action `S_h(X) = sum_q weight_q l((P X)_q, (Q X)_q)` with its gradient and Hessian products."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from actionopt.action.density.density import Density, Expansion
from actionopt.action.task import ActionTask


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
        self._position_t = self.scheme.position.T.tocsr()
        self._velocity_t = self.scheme.velocity.T.tocsr()
        self._last: ActionPoint | None = None

    def at(self, points: np.ndarray) -> ActionPoint:
        """Evaluate at X `(K, n)`; asked for the same array again, return the same point."""
        if self._last is not None and self._last.points is points:
            return self._last
        expansion = self.density.expand_blocks(self.scheme.position @ points, self.scheme.velocity @ points)
        self._last = ActionPoint(self, points, expansion)
        return self._last

    def gather(self, force: np.ndarray, momentum: np.ndarray) -> np.ndarray:
        """Pull derivatives at the stages back to the free entries: `P^T (weight force) + Q^T (weight momentum)`."""
        weights = self.scheme.weights[:, None]
        return (self._position_t @ (weights * force) + self._velocity_t @ (weights * momentum)) * self.free


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

    @cached_property
    def gradient(self) -> np.ndarray:
        """`dS_h/dX (K, n)`, zero where X is fixed."""
        return self.action.gather(self.expansion.force, self.expansion.momentum)

    def product(self, direction: np.ndarray) -> np.ndarray:
        """Hessian of S_h times a direction `(K, n)` that is zero where X is fixed."""
        scheme = self.action.scheme
        return self.action.gather(*self.expansion.product(scheme.position @ direction, scheme.velocity @ direction))

    @property
    def gradient_norm(self) -> float:
        """Largest entry of the gradient."""
        return float(abs(self.gradient).max(initial=0.0))
