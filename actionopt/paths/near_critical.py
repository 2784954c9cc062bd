"""What a path pays too much near its critical points, where the least action is known to first order.

Into and out of a focus a path turns ever more often the nearer it is to it, and out of a node it may turn back close
to it: features far below any element, which no change of mesh shows. To first order the drift is `J z` there. The
least action from the point to z is `1/2 z . Q z`, from z to the point `1/2 z . P z`, with the Riccati equations of a
regulator without cost of the state, `J^T Q + Q J + Q a Q = 0` and `J^T P + P J = P a P` (the maximal solutions), along
`z' = (J + a Q) z` and `z' = (J - a P) z`. The action of such a curve in the true drift is an upper bound of the
infimum; what the path pays above it is its own **[ours]**.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg import LinAlgError, cholesky, expm, solve_continuous_are

from actionopt.paths.geometric import action_density
from actionopt.paths.resolved import Resolved
from actionopt.paths.system import System

HYPERBOLIC = 1e-6  # real part of an eigenvalue, relative to the largest, below which there is no such curve
DECAY = 10.0  # e-folds of a curve's slowest direction
POINTS, BY_RADIAN, MOST = 200, 4.0, 20_000  # points of a curve: at least, by the angle it turns, at most
SAFETY = 1.5  # the curves are not the least either
AT_REST = 1e-9  # drift, relative to the largest on the way


def excess(system: System, found: Resolved) -> float:
    """Return how much a path pays, near its critical points, above the curves of the linearised flow, in all."""
    path, cuts = found.path, found.cuts
    nodes = path.points[::2]
    fastest = float(np.linalg.norm(system.drift(nodes), axis=1).max())
    total = 0.0
    for place, cut in enumerate(cuts):
        zero = nodes[cut]
        if not np.linalg.norm(system.drift(zero)) <= AT_REST * fastest:
            continue
        if place < len(cuts) - 1:
            after = slice(cut, cuts[place + 1])
            ways = nodes[cut + 1 : cuts[place + 1] + 1], path.actions[after]
            total += _paid_above(system, zero, *ways, outward=True)
        if place > 0:
            before = slice(cuts[place - 1], cut)
            total += _paid_above(system, zero, nodes[before][::-1], path.actions[before][::-1], outward=False)
    return SAFETY * total


def _paid_above(system: System, zero: np.ndarray, nodes: np.ndarray, actions: np.ndarray, *, outward: bool) -> float:
    """The largest excess among nodes `(k, n)`, nearest first; `actions (k,)` are those of the elements in between."""
    decay = _decay(system, zero, outward)
    if decay is None:
        return 0.0
    chosen = list(_spread(len(nodes)))
    if not chosen:
        return 0.0
    curves = zero + _decaying(decay, nodes[chosen] - zero)
    curves = curves[::-1] if outward else curves
    steps = np.diff(curves, axis=0)
    least = action_density(system, 0.5 * (curves[:-1] + curves[1:]), steps).sum(axis=0)
    above = np.cumsum(actions)[chosen] - least
    return float(above[np.isfinite(above)].max(initial=0.0))


def _spread(count: int) -> Iterator[int]:
    """Numbers of nodes that lie farther and farther out."""
    number = 1
    while number < count:
        yield number
        number += max(1, number // 2)


def _decaying(decay: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The curves `exp(decay t) z` from `z (m, n)` to 0, `(k, m, n)`."""
    values = np.linalg.eigvals(decay)
    slowest, turning = float(-values.real.max()), float(abs(values.imag).max())
    horizon = DECAY / slowest
    # the weaker the pull beside the turning, the more of the action of a chord is due to its corners
    count = int(np.clip(BY_RADIAN * horizon * turning * (1.0 + turning / slowest), POINTS, MOST))
    step = expm(decay * horizon / count)
    curve = [z]
    for _ in range(count):
        curve.append(curve[-1] @ step.T)
    return np.array([*curve, np.zeros_like(z)])


def _decay(system: System, zero: np.ndarray, outward: bool) -> np.ndarray | None:
    """Return the stable matrix of the way to a critical point, or of that from it backwards; None where none is."""
    jacobian, metric = system.jacobian(zero), system.metric_at(zero)
    if not (np.isfinite(jacobian).all() and np.isfinite(metric).all()):
        return None
    real = np.abs(np.linalg.eigvals(jacobian).real)
    if not real.min() > HYPERBOLIC * real.max():
        return None
    drift, n = -jacobian if outward else jacobian, len(jacobian)
    try:
        root = cholesky(np.linalg.inv(metric), lower=True)
        law = solve_continuous_are(drift, root, np.zeros((n, n)), np.eye(n), balanced=False)
    except (LinAlgError, np.linalg.LinAlgError):
        return None
    decay = drift - root @ root.T @ law
    return decay if (np.linalg.eigvals(decay).real < 0).all() else None
