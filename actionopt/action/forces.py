"""What constraints add to the first-order conditions of an action: forces and momenta at the stages, pushes at points.

With the Lagrangian `S_h + sum mu . c`, a condition `c(w, v)` at a stage adds `mu dc/dw` to the force there and
`mu dc/dv` to the momentum, a condition on a position pushes it by `mu dc/dw`, and a bound by its multiplier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.action.discrete import ActionPoint
from actionopt.action.scheme import Scheme, position_laws


@dataclass(frozen=True)
class ConstraintForces:
    """Forces of the constraints of a trajectory.

    Attributes
    ----------
    force, momentum : array (M, n)
        At the stages, per unit of time.
    interval, local : array (C,)
        Where positions are pushed: on which interval (N: the last node), and where on it, in [0, 1).
    push : array (C, n)
        Impulses there.
    bounds : array (K, n)
        Multipliers of the bounds at the scheme's points.
    """

    force: np.ndarray
    momentum: np.ndarray
    interval: np.ndarray
    local: np.ndarray
    push: np.ndarray
    bounds: np.ndarray

    def residual(self, point: ActionPoint) -> float:
        """Largest entry of the gradient of `S_h + mu . c` over the free entries."""
        action = point.action
        pulled = action.gather(self.force, self.momentum) + self._pushed(action.scheme, self.push) + self.bounds
        return float(abs((point.gradient + pulled) * action.free).max(initial=0.0))

    def terms(self, point: ActionPoint) -> float:
        """Largest sum of the sizes of the terms of such an entry."""
        action = point.action
        force, momentum = point.expansion.term_sizes()
        sizes = action.gather_sizes(force + abs(self.force), momentum + abs(self.momentum))
        sizes += (self._pushed(action.scheme, abs(self.push)) + abs(self.bounds)) * action.free
        if point.end is not None:
            sizes[-1] += abs(point.end[1]) * action.free[-1]
        return float(sizes.max(initial=0.0))

    def at_left_nodes(self, scheme: Scheme) -> np.ndarray:
        """What pushes inside intervals add to the derivative of each interval's action in its left node, `(N, n)`."""
        return self._at_nodes(scheme, 0)

    def at_right_nodes(self, scheme: Scheme) -> np.ndarray:
        """The same in its right node."""
        return self._at_nodes(scheme, -1)

    def _at_nodes(self, scheme: Scheme, column: int) -> np.ndarray:
        inside = self.local > 0
        laws = position_laws(scheme, self.local[inside])[:, column]
        out = np.zeros((len(scheme.times) - 1, self.push.shape[1]))
        np.add.at(out, self.interval[inside], laws[:, None] * self.push[inside])
        return out

    def _pushed(self, scheme: Scheme, push: np.ndarray) -> np.ndarray:
        """Pull pushes back to the scheme's points, `(K, n)`."""
        out = np.zeros((len(scheme.points), push.shape[1]))
        degree, inside = int(scheme.nodes[1]), self.local > 0
        np.add.at(out, scheme.nodes[self.interval[~inside]], push[~inside])
        for column in range(degree + 1):
            laws = position_laws(scheme, self.local[inside])[:, column]
            np.add.at(out, self.interval[inside] * degree + column, laws[:, None] * push[inside])
        return out
