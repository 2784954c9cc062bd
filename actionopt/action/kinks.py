"""On which side of every kink of relu, abs and step a point lies."""

from __future__ import annotations

import numpy as np

from actionopt.ops.array import ArrayOps
from actionopt.ops.base import Array
from actionopt.problem import Problem


def sides(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Return for each argument of relu, abs or step at `w (n,)` whether it is positive; none for smooth problems."""
    ops, network = _Watch(), problem.network
    with np.errstate(all="ignore"):
        network.values(ops, network.forward(ops, network.split(ops, w)))
    return np.concatenate([np.zeros(0, dtype=bool), *ops.seen])


class _Watch(ArrayOps):
    """NumPy that notes the signs of what comes to a kink."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []
        self.abs = self._abs

    def step(self, z: Array) -> Array:
        self.seen.append(np.ravel(np.asarray(z) > 0))
        return super().step(z)

    def _abs(self, z: Array) -> Array:
        self.seen.append(np.ravel(np.asarray(z) > 0))
        return np.abs(z)
