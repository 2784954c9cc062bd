"""Steps of weights that stay on a manifold: a direction in its tangent cone, a retraction onto it.

Of all moves that keep the equalities, `E d = 0`, and do not leave through the boundary, `N d >= 0` where N holds the
inward normals at the point, the step takes the one that minimises `g . d + d . G d / 2`:

    d = -x_T,    x_T = x - G^{-1} (E^T lam + N^T mu),    mu >= 0,    mu . N d = 0,    x = G^{-1} g

What it leaves of second order the retraction takes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from actionopt.errors import InputError


class Manifold(Protocol):
    """A set that a module's weights `(n_a,)` stay in."""

    on: Any

    def equalities(self, w: np.ndarray) -> np.ndarray:
        """Return the gradients `(k, n_a)` of what stays as it is."""
        ...

    def inward(self, w: np.ndarray) -> np.ndarray:
        """Return the inward normals `(k, n_a)` of the boundaries that w lies on."""
        ...

    def retract(self, w: np.ndarray) -> np.ndarray:
        """Return the point of the set that belongs to w, the closest one."""
        ...


Placed = list[tuple[slice, Manifold]]


def placed(problem: Any, manifolds: Iterable[Any]) -> Placed:
    """Return where the weights of every manifold lie.

    Raises
    ------
    InputError
        If one is no manifold, its module is none of the problem's, or two are on one module.
    """
    found: Placed = []
    for manifold in manifolds:
        if not (hasattr(manifold, "retract") and hasattr(manifold, "inward")):
            raise InputError(f"manifolds must be ao.Stiefel, ao.Positive, ao.Simplex or ao.Ball, got {manifold!r}")
        cuts = [group.slice for group in problem.groups if group.module is manifold.on]
        if not cuts:
            listed = ", ".join(group.label for group in problem.groups)
            raise InputError(f"{manifold!r}: its module is none of this problem's; it has {listed}")
        if any(cut == cuts[0] for cut, _ in found):
            raise InputError(f"{manifold!r}: its module is on another manifold already")
        found.append((cuts[0], manifold))
    return found


def tangent(solve: Callable[[np.ndarray], np.ndarray], w: np.ndarray, x: np.ndarray, where: Placed) -> np.ndarray:
    """Return the part of a direction x `(n,)` that the manifolds let `-x` go along; `solve` applies `G^{-1}`."""
    kept, kept_solved = _solved(solve, [(cut, manifold.equalities(w[cut])) for cut, manifold in where], w)

    def keeping(y: np.ndarray) -> np.ndarray:
        return y - kept_solved @ np.linalg.lstsq(kept @ kept_solved, kept @ y, rcond=None)[0] if len(kept) else y

    normals, solved = _solved(solve, [(cut, manifold.inward(w[cut])) for cut, manifold in where], w)
    x = keeping(x)
    if not len(normals):
        return x
    from scipy.optimize import nnls  # loads on use

    solved = keeping(solved)
    # mu of the bounded problem: min |root (mu - mu_0)|, mu >= 0, with root^T root = N S
    values, vectors = np.linalg.eigh(normals @ solved)
    root = np.sqrt(values.clip(1e-14 * values.max(initial=0.0)))
    multipliers = nnls(root[:, None] * vectors.T, (vectors.T @ (normals @ x)) / np.where(root > 0.0, root, 1.0))[0]
    return x - solved @ multipliers


def _solved(
    solve: Callable[[np.ndarray], np.ndarray], found: list[tuple[slice, np.ndarray]], w: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows `(k, n)` out of those of every manifold, and `G^{-1}` times each `(n, k)`."""
    rows = np.zeros((sum(len(own) for _, own in found), len(w)))
    start = 0
    for cut, own in found:
        rows[start : start + len(own), cut] = own
        start += len(own)
    return rows, np.stack([solve(row) for row in rows], axis=1) if len(rows) else np.zeros((len(w), 0))


def retracted(w: np.ndarray, where: Placed) -> np.ndarray:
    """Return the weights with every manifold's share retracted onto it."""
    w = w.copy()
    for cut, manifold in where:
        w[cut] = manifold.retract(w[cut])
    return w
