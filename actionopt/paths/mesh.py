"""Paths as quadratic elements: the action, its gradient and its Hessian, assembled over all elements at once.

N elements have 2N+1 points, nodes and middles in turn. Each carries two Gauss points; as L is homogeneous of degree one
in the direction, element lengths do not enter: `S = sum over elements of 1/2 (L(q_1) + L(q_2))` on unit intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from actionopt.action.scheme import lagrange
from actionopt.paths.geometric import Densities, action_density, density_and_speed, expand
from actionopt.paths.system import System

LOCAL = np.array([0.0, 0.5, 1.0])
GAUSS = 0.5 + np.sqrt(3.0) / 6.0 * np.array([-1.0, 1.0])
VALUES, SLOPES = lagrange(LOCAL, GAUSS)
PARTS, FINE_PARTS = 4, 64  # of an element, in the quadrature of the curve
ON_PARTS = {k: lagrange(LOCAL, (np.arange(k)[:, None] + GAUSS).ravel() / k) for k in (PARTS, FINE_PARTS)}
EVEN = 0.5  # speeds within an element, relative to its largest, below which its parts are the finer ones


def elements(points: np.ndarray) -> np.ndarray:
    """Group points `(2N+1, n)` by element: `(N, 3, n)`."""
    return np.stack([points[:-2:2], points[1::2], points[2::2]], axis=1)


def quadrature(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and directions `(2N, n)` at the Gauss points."""
    pieces, n = elements(points), points.shape[1]
    return (VALUES @ pieces).reshape(-1, n), (SLOPES @ pieces).reshape(-1, n)


@dataclass(frozen=True, eq=False)
class Path:
    """The points of a path, with the action density expanded at its Gauss points.

    Attributes
    ----------
    points : array (2N+1, n)
        In the coordinates z of the system; nodes and middles in turn.
    densities : Densities
    system : System
    """

    points: np.ndarray
    densities: Densities
    system: System

    @property
    def count(self) -> int:
        """Number N of elements."""
        return len(self.points) // 2

    @cached_property
    def action(self) -> float:
        """S; infinite where the drift is not finite on the path."""
        action = 0.5 * float(self.densities.value.sum())
        return action if np.isfinite(action) else np.inf

    @cached_property
    def curve_action(self) -> float:
        """Action of the curve itself, by Gauss points on parts of each element: an upper bound of the infimum.

        Parts are finer where the speed of the drift changes much within an element, as beside a critical point.
        """
        pieces = elements(self.points)
        actions, speeds = self._on_parts(pieces, PARTS)
        uneven = speeds.min(axis=1) < EVEN * speeds.max(axis=1)
        if uneven.any():
            actions[uneven] = self._on_parts(pieces[uneven], FINE_PARTS)[0]
        action = float(actions.sum())
        return action if np.isfinite(action) else np.inf

    def _on_parts(self, pieces: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
        """Return action `(N,)` and speeds `(N, 2 parts)` of elements `(N, 3, n)`."""
        values, slopes = ON_PARTS[parts]
        densities, speeds = density_and_speed(self.system, values @ pieces, slopes @ pieces)
        return densities.sum(axis=1) / (2 * parts), speeds

    @cached_property
    def gross(self) -> float:
        """`int |d| |b|`: the scale of the action."""
        return 0.5 * float(self.densities.gross.sum())

    @cached_property
    def length(self) -> float:
        """Length in the metric."""
        return 0.5 * float(self.densities.length.sum())

    @cached_property
    def actions(self) -> np.ndarray:
        """Action of each element, `(N,)`."""
        return 0.5 * self.densities.value.reshape(-1, 2).sum(axis=1)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length of each element, `(N,)`."""
        return 0.5 * self.densities.length.reshape(-1, 2).sum(axis=1)

    @cached_property
    def gradient(self) -> np.ndarray:
        """dS/dz at the points, `(2N+1, n)`."""
        n, count = self.points.shape[1], self.count
        slopes = 0.5 * self.densities.slopes.reshape(count, 2, 2, n)
        pulled = VALUES.T @ slopes[:, :, 0] + SLOPES.T @ slopes[:, :, 1]
        gradient = np.zeros_like(self.points)
        for place in range(3):
            gradient[place : place + 2 * count : 2] += pulled[:, place]
        return gradient

    @cached_property
    def blocks(self) -> np.ndarray:
        """Hessian of S by element, `(N, 3, n, 3, n)`."""
        assert self.densities.hessian is not None
        n = self.points.shape[1]
        hessian = 0.5 * self.densities.hessian.reshape(self.count, 2, 2, n, 2, n)
        basis = np.stack([VALUES, SLOPES], axis=1)  # (Gauss point, position or direction, point)
        half = np.einsum("qap,eqaibj->eqpibj", basis, hessian)
        return np.einsum("qbr,eqpibj->epirj", basis, half)


def evaluate(system: System, points: np.ndarray, hessian: bool = False) -> Path:
    """Expand the action about points `(2N+1, n)`."""
    return Path(points, expand(system, *quadrature(points), hessian), system)


def action_of(system: System, points: np.ndarray) -> float:
    """Return the action of points `(2N+1, n)` alone: as `evaluate`, at a part of the price."""
    return 0.5 * float(action_density(system, *quadrature(points)).sum())


def tangents(points: np.ndarray) -> np.ndarray:
    """Return unit directions at the points, `(2N+1, n)`."""
    out = np.empty_like(points)
    out[1:-1] = points[2:] - points[:-2]
    out[0], out[-1] = points[1] - points[0], points[-1] - points[-2]
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), np.finfo(float).tiny)


def normals(points: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the hyperplane across the path at each point, `(2N+1, n, n-1)`."""
    direction = tangents(points)
    # the Householder reflection that takes the first axis to -+ the direction leaves the other axes normal to it
    sign = np.where(direction[:, :1] < 0, -1.0, 1.0)
    mirror = direction.copy()
    mirror[:, :1] += sign
    scale = 1.0 / np.maximum(np.abs(mirror[:, 0]), np.finfo(float).tiny)
    n = points.shape[1]
    reflection = np.eye(n) - mirror[:, :, None] * mirror[:, None, :] * scale[:, None, None]
    return reflection[:, :, 1:]


@dataclass(frozen=True)
class Hyperplanes:
    """The free displacements of a path: `points + basis u` at the points that are not fixed.

    Attributes
    ----------
    free : array of int
        The points that move.
    basis : array (len(free), n, n-1)
    """

    free: np.ndarray
    basis: np.ndarray

    @classmethod
    def across(cls, points: np.ndarray, fixed: np.ndarray) -> Hyperplanes:
        """Return the hyperplanes across a path whose points numbered in `fixed` stay."""
        free = np.setdiff1d(np.arange(len(points)), fixed)
        return cls(free, normals(points)[free])

    @property
    def width(self) -> int:
        """Displacements a point, n - 1."""
        return self.basis.shape[2]

    def reduce(self, gradient: np.ndarray) -> np.ndarray:
        """Return the derivative in u, `(len(free), n-1)`, of one in the points."""
        return np.einsum("kim,ki->km", self.basis, gradient[self.free])

    def move(self, points: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Displace the points by `u (len(free), n-1)`."""
        moved = points.copy()
        moved[self.free] += np.einsum("kim,km->ki", self.basis, u)
        return moved

    def assemble(self, path: Path) -> np.ndarray:
        """Return the Hessian in u in the lower banded form of `scipy.linalg.cholesky_banded`."""
        n, m, count = self.basis.shape[1], self.width, path.count
        frames = np.zeros((len(path.points), n, m))
        frames[self.free] = self.basis
        local = elements(frames.reshape(len(frames), n * m)).reshape(count, 3, n, m)
        half = np.einsum("epirj,erjb->epirb", path.blocks, local, optimize=True)
        blocks = np.einsum("epia,epirb->eparb", local, half, optimize=True).reshape(count, 3 * m, 3 * m)
        return _band(blocks, self._rows(len(path.points)), len(self.free) * m)

    def _rows(self, points: int) -> np.ndarray:
        """Return where the local unknowns of each element stand among all, `(N, 3 m)`; -1 for those that are fixed."""
        rows = np.full((points, self.width), -1)
        rows[self.free] = np.arange(len(self.free) * self.width).reshape(-1, self.width)
        return elements(rows).reshape(points // 2, -1)


def _band(blocks: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """Add element matrices `(N, k, k)` into the lower band `(k, size)`."""
    k = blocks.shape[1]
    row = np.broadcast_to(rows[:, :, None], blocks.shape)
    column = np.broadcast_to(rows[:, None, :], blocks.shape)
    lower = (column >= 0) & (row >= column)
    place = (row - column)[lower] * size + column[lower]
    return np.bincount(place, weights=blocks[lower], minlength=k * size).reshape(k, size)
