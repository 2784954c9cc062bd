"""The curve through the nodes of a computed flow: quintic Hermite pieces with the flow's own slopes.

Each piece meets both of its nodes in value, velocity `u = phi(w)` and acceleration `phi'(w) u`. Through exact nodes its
defect is O(h^5): below the errors of every method of `flow`, where cubic pieces would hide those of order four.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# the laws of one piece on [0, 1], rows: value, slope, curvature at 0, then curvature, slope, value at 1
LAWS = np.array(
    [
        [1.0, 0.0, 0.0, -10.0, 15.0, -6.0],
        [0.0, 1.0, 0.0, -6.0, 8.0, -3.0],
        [0.0, 0.0, 0.5, -1.5, 1.5, -0.5],
        [0.0, 0.0, 0.0, 0.5, -1.0, 0.5],
        [0.0, 0.0, 0.0, -4.0, 7.0, -3.0],
        [0.0, 0.0, 0.0, 10.0, -15.0, 6.0],
    ]
)


@dataclass(frozen=True)
class HermiteCurve:
    """Quintic pieces between nodes.

    Attributes
    ----------
    times : array (N+1,)
    weights, velocities, accelerations : array (..., N+1, n)
        Values at the nodes, and the first and second derivative of the flow there; leading axes are curves.
    """

    times: np.ndarray
    weights: np.ndarray
    velocities: np.ndarray
    accelerations: np.ndarray

    def at(self, local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate every piece at `local (q,)` in [0, 1]: position and velocity, both `(..., N, q, n)`."""
        h = np.diff(self.times)[:, None]
        w, u, a = self.weights, h * self.velocities[..., :-1, :], h**2 * self.accelerations[..., :-1, :]
        left, right = w[..., :-1, :], w[..., 1:, :]
        # the value at the left node apart, so that a piece that hardly moves keeps its digits
        last = [h**2 * self.accelerations[..., 1:, :], h * self.velocities[..., 1:, :], right - left]
        ends = np.stack([np.zeros_like(left), u, a, *last], axis=-2)
        powers = local[:, None] ** np.arange(6)
        slopes = np.arange(1, 6) * local[:, None] ** np.arange(5)
        position = (powers @ LAWS.T) @ ends + left[..., None, :]
        velocity = (slopes @ LAWS[:, 1:].T) @ ends / h[..., None]
        return position, velocity
