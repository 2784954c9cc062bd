"""A path at one number of elements: solved, with the critical points it passes through and those it passes by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from actionopt.paths.mesh import Path
from actionopt.paths.newton import Stationary, solve
from actionopt.paths.remesh import redistribute, smoothed
from actionopt.paths.system import System


@dataclass(frozen=True)
class Resolved:
    """A path at one number of elements.

    Attributes
    ----------
    stationary : Stationary
    cuts : array (legs + 1,)
        Nodes (by element) where its legs meet: the ends and the critical points it passes through, which are held.
    passed : array (k, n)
        Critical points it passes by: nodes lie closer there, and none is held.
    """

    stationary: Stationary
    cuts: np.ndarray
    passed: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def path(self) -> Path:
        """The path."""
        return self.stationary.path

    @property
    def action(self) -> float:
        """Its action."""
        return self.path.action

    @property
    def converged(self) -> bool:
        """Whether its gradient is below the tolerance."""
        return self.stationary.converged

    @property
    def pins(self) -> np.ndarray:
        """The critical points it passes through, `(k, n)`."""
        return self.path.points[2 * self.cuts[1:-1]]


def lay_and_solve(
    system: System,
    path: Path,
    cuts: np.ndarray,
    passed: np.ndarray,
    count: int,
    tol: float,
    most: int = 60,
    *,
    plain: bool = False,
    smooth: bool = False,
) -> Resolved:
    """Lay `count` elements anew along a path, close where it meets or passes critical points, and solve.

    Parameters
    ----------
    system : System
    path : Path
    cuts : array
        Nodes (by element) of the path that are held.
    passed : array (k, n)
        Critical points that it passes by.
    count : int
    tol : float
    most : int
        Newton steps.
    plain, smooth : bool
        Lay by arc length alone; average neighbours before solving.
    """
    every = np.union1d(cuts, _nearest_nodes(path, passed)).astype(int)
    points, new = redistribute(path, every, count, plain=plain)
    if smooth:
        points = smoothed(points, 2 * new)
    held = new[np.isin(every, cuts)]
    return Resolved(solve(system, points, 2 * held, tol=tol, max_iterations=most), held, passed)


def _nearest_nodes(path: Path, zeros: np.ndarray) -> np.ndarray:
    """Return the inner nodes (by element) next to critical points."""
    nodes = path.points[2:-2:2]
    if not len(zeros) or not len(nodes):
        return np.zeros(0, dtype=int)
    return 1 + np.linalg.norm(nodes[:, None] - zeros[None], axis=-1).argmin(axis=0)
