"""A plane through a space of many coordinates, as pictures show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plane:
    """A plane in weight space: `w = centre + x directions[0] + y directions[1]`, and what its axes are called."""

    centre: np.ndarray
    directions: np.ndarray
    labels: tuple[str, str]

    def project(self, w: np.ndarray) -> np.ndarray:
        """Coordinates `(..., 2)` of weights `(..., n)`, those off the plane by their nearest point on it."""
        if self.orthonormal:
            return (w - self.centre) @ self.directions.T
        return (w - self.centre) @ np.linalg.pinv(self.directions)

    def lift(self, xy: np.ndarray) -> np.ndarray:
        """Weights `(..., n)` of coordinates `(..., 2)`."""
        return self.centre + xy @ self.directions

    @property
    def orthonormal(self) -> bool:
        """Whether distances in the plane are distances between weights."""
        return bool(np.allclose(self.directions @ self.directions.T, np.eye(2), atol=1e-9))


def principal_plane(weights: np.ndarray) -> Plane:
    """Return the plane of largest variance of `weights (k, n)`; the coordinate plane where n = 2."""
    n = weights.shape[1]
    if n == 2:
        return Plane(np.zeros(2), np.eye(2), ("$w_1$", "$w_2$"))
    centre = weights.mean(axis=0)
    _, spread, directions = np.linalg.svd(weights - centre, full_matrices=len(weights) < 3)
    share = 100.0 * spread**2 / max(float((spread**2).sum()), np.finfo(float).tiny)
    shares = [float(share[i]) if i < len(share) else 0.0 for i in range(2)]
    first, second = (
        f"{which} principal direction ({part:.3g} % of the variance)"
        for which, part in zip(("first", "second"), shares, strict=True)
    )
    return Plane(centre, directions[:2], (first, second))
