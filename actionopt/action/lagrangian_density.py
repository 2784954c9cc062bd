"""The action density of a Lagrangian given by its formula: derivatives by autograd and duals, all stages at once."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from actionopt.action.density import Density, Expansion
from actionopt.action.lagrangian import Drift, Lagrangian
from actionopt.errors import InputError
from actionopt.modules.derived import pull_back
from actionopt.ops import NUMPY, DualOps
from actionopt.ops.base import Array

DUALS = DualOps(NUMPY)
BLOCK_NUMBERS = 100_000


class LagrangianDensity(Density):
    """The density of a Lagrangian."""

    def __init__(self, lagrangian: Lagrangian) -> None:
        self.lagrangian = lagrangian
        self.size = lagrangian.size
        self.block = max(8, BLOCK_NUMBERS // self.size)

    def expand(self, w: np.ndarray, v: np.ndarray) -> Expansion:
        return LagrangianExpansion(self.lagrangian, w, v)


class LagrangianExpansion(Expansion):
    """Expansion about stages `w, v (M, n)`."""

    def __init__(self, lagrangian: Lagrangian, w: np.ndarray, v: np.ndarray) -> None:
        self.lagrangian = lagrangian
        self.w, self.v = w, v
        self.value = np.broadcast_to(lagrangian.value(NUMPY, w, v), w.shape[:-1])

    @cached_property
    def _slopes(self) -> list[np.ndarray]:
        return self._pull(NUMPY, self.w, self.v)

    def _pull(self, ops: DualOps | object, w: Array, v: Array) -> list[Array]:
        return pull_back(self.lagrangian.value, ops, (w, v), (1, 1))  # type: ignore[arg-type]

    @property
    def force(self) -> np.ndarray:
        return self._slopes[0]

    @property
    def momentum(self) -> np.ndarray:
        return self._slopes[1]

    def product(self, dw: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        force, momentum = self._pull(DUALS, DUALS.dual(self.w, dw), DUALS.dual(self.v, dv))
        return force.tangent, momentum.tangent

    @cached_property
    def mass(self) -> np.ndarray:
        """`l_vv (M, n, n)`.

        Raises
        ------
        InputError
            If it is not positive definite at some stage: no minimum exists there.
        """
        n = self.w.shape[-1]
        if isinstance(self.lagrangian, Drift):
            metric = self.lagrangian.metric
            return np.broadcast_to(np.diag(metric) if metric.ndim == 1 else metric, (len(self.w), n, n))
        directions = np.broadcast_to(np.eye(n)[:, None], (n, len(self.w), n))
        mass = np.moveaxis(self.product(np.zeros_like(directions), directions)[1], 0, -1)
        smallest = np.linalg.eigvalsh(mass)[:, 0]
        if not smallest.min() > 0:
            stage = int(smallest.argmin())
            raise InputError(
                f"{self.lagrangian.name}: the Lagrangian must be strictly convex in v, but l_vv has the eigenvalue "
                f"{smallest[stage]:.3g} at w = {np.array2string(self.w[stage], precision=4, threshold=6)}"
            )
        return mass

    def mass_solve(self, c: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.mass, c[..., None])[..., 0]
