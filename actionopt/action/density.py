"""The action density l(w, v) on all stages at once: value, derivatives and Hessian products, in NumPy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np


class Density(ABC):
    """A Lagrangian that evaluates whole trajectories."""

    size: int

    @abstractmethod
    def expand(self, w: np.ndarray, v: np.ndarray) -> Expansion:
        """Expand l about the stages `w, v (M, n)`."""


class Expansion(ABC):
    """Second-order expansion of l about the stages `w, v (M, n)`.

    Attributes
    ----------
    w, v : array (M, n)
    value : array (M,)
        l at each stage.
    """

    w: np.ndarray
    v: np.ndarray
    value: np.ndarray

    @property
    @abstractmethod
    def force(self) -> np.ndarray:
        """`dl/dw (M, n)`."""

    @property
    @abstractmethod
    def momentum(self) -> np.ndarray:
        """`p = dl/dv (M, n)`."""

    @abstractmethod
    def product(self, dw: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hessian product: the change `(M, n)` of force and of momentum along `(dw, dv)`, leading axes allowed."""

    @abstractmethod
    def mass_solve(self, c: np.ndarray) -> np.ndarray:
        """Apply the inverse of `l_vv` (the metric G for a gradient flow) to `c (M, n)`, or of a model of it."""

    @cached_property
    def hamiltonian(self) -> np.ndarray:
        """`H = p . v - l (M,)`."""
        return (self.momentum * self.v).sum(axis=-1) - self.value

    @property
    def kinetic(self) -> np.ndarray | None:
        """`1/2 v^T G v (M,)` for a gradient flow, None where l does not split."""
        return None

    @property
    def potential(self) -> np.ndarray | None:
        """`1/2 g^T G^{-1} g (M,)` for a gradient flow, None where l does not split."""
        return None
