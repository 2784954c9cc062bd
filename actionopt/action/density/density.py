"""The action density l(w, v) on all stages at once: value, derivatives and Hessian products, in NumPy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Protocol

import numpy as np


class Stages(Protocol):
    """What a trajectory is told by: the density at its stages `(M,)`, and its derivatives `(M, n)`."""

    @property
    def value(self) -> np.ndarray: ...

    @property
    def force(self) -> np.ndarray: ...

    @property
    def momentum(self) -> np.ndarray: ...

    @property
    def kinetic(self) -> np.ndarray | None: ...

    @property
    def potential(self) -> np.ndarray | None: ...


class Density(ABC):
    """A Lagrangian that evaluates whole trajectories.

    Attributes
    ----------
    size : int
        Number n of coordinates.
    block : int
        How many stages to evaluate together, so that the intermediate arrays stay in cache.
    """

    size: int
    block: int

    @abstractmethod
    def expand(self, w: np.ndarray, v: np.ndarray, t: np.ndarray | None = None) -> Expansion:
        """Expand l about the stages `w, v (M, n)`, all together; `t (M,)` are their times, where l depends on them."""

    def expand_blocks(self, w: np.ndarray, v: np.ndarray, t: np.ndarray | None = None) -> Expansion:
        """Expand l about the stages `w, v (M, n)` at times `t (M,)`, block by block."""
        if len(w) <= self.block:
            return self.expand(w, v, t)
        cuts = [slice(i, i + self.block) for i in range(0, len(w), self.block)]
        return Blocks([self.expand(w[cut], v[cut], None if t is None else t[cut]) for cut in cuts], cuts)


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
        """Hessian product: the change `(M, n)` of force and of momentum along `(dw, dv)`."""

    @abstractmethod
    def mass_solve(self, c: np.ndarray) -> np.ndarray:
        """Apply the inverse of `l_vv` (the metric G for a gradient flow) to `c (M, n)`, or of a model of it."""

    def term_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Sizes `(M, n)` of what force and momentum are sums of: the part that is linear in v, and the rest.

        Along a flow the sums vanish and their terms do not.
        """
        force, momentum = self.product(np.zeros_like(self.v), self.v)
        return abs(force) + abs(self.force - force), abs(momentum) + abs(self.momentum - momentum)

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


class Blocks(Expansion):
    """Expansions of consecutive stages, as one."""

    def __init__(self, parts: list[Expansion], cuts: list[slice]) -> None:
        self.parts, self.cuts = parts, cuts
        self.w, self.v = self._join("w"), self._join("v")
        self.value = self._join("value")

    def _join(self, name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in self.parts])

    @cached_property
    def force(self) -> np.ndarray:
        return self._join("force")

    @cached_property
    def momentum(self) -> np.ndarray:
        return self._join("momentum")

    def product(self, dw: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = [
            part.product(dw[..., cut, :], dv[..., cut, :]) for part, cut in zip(self.parts, self.cuts, strict=True)
        ]
        force, momentum = zip(*pairs, strict=True)
        return np.concatenate(force, axis=-2), np.concatenate(momentum, axis=-2)

    def term_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        force, momentum = zip(*[part.term_sizes() for part in self.parts], strict=True)
        return np.concatenate(force), np.concatenate(momentum)

    def mass_solve(self, c: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [part.mass_solve(c[..., cut, :]) for part, cut in zip(self.parts, self.cuts, strict=True)], axis=-2
        )

    @property
    def kinetic(self) -> np.ndarray | None:
        return None if self.parts[0].kinetic is None else self._join("kinetic")

    @property
    def potential(self) -> np.ndarray | None:
        return None if self.parts[0].potential is None else self._join("potential")
