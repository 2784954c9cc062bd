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


def sides_of_all(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Return the same at several points `w (S, n)`, a row each; arguments that no weight enters are left out."""
    ops, network = _Watch(flat=False), problem.network
    with np.errstate(all="ignore"):
        network.values(ops, network.forward(ops, network.split(ops, w)))
    moving = [seen.reshape(len(w), -1) for seen in ops.seen if seen.ndim > 2]
    return np.concatenate([np.zeros((len(w), 0), dtype=bool), *moving], axis=1)


class _Watch(ArrayOps):
    """NumPy that notes the signs of what comes to a kink."""

    def __init__(self, flat: bool = True) -> None:
        super().__init__()
        self.flat = flat
        self.seen: list[np.ndarray] = []
        self.abs = self._abs

    def step(self, z: Array) -> Array:
        self._note(z)
        return super().step(z)

    def _abs(self, z: Array) -> Array:
        self._note(z)
        return np.abs(z)

    def _note(self, z: Array) -> None:
        positive = np.asarray(z) > 0
        self.seen.append(np.ravel(positive) if self.flat else positive)
