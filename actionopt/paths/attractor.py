"""Where the flow goes from a point: to a critical point, round a cycle, or away."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.action.lagrangian import Drift
from actionopt.paths.critical import at_rest, find_zero
from actionopt.paths.system import System, make_flow
from actionopt.problem import Problem

SEGMENTS, SAMPLES = 40, 60  # stretches of time that are followed, and points kept of each
CLOSED = 1e-5  # gap between two returns, relative to the size of the orbit, at which it counts as a cycle
RESTING = 1e-5  # drift, relative to the largest on the way, at which a critical point is looked for
ACCURACY = {"rtol": 1e-8, "method": "LSODA"}


@dataclass(frozen=True)
class Limit:
    """What the flow from a point tends to.

    Attributes
    ----------
    kind : str
        "critical point" (where it starts at one), "attractor", "cycle", or "unknown".
    approach : array (k, n)
        The flow from the point to it.
    orbit : array (k, n) or None
        The closed orbit, once round from where the approach ends.
    stable : bool
        Whether it attracts.
    """

    kind: str
    approach: np.ndarray
    orbit: np.ndarray | None = None
    stable: bool = True

    @property
    def at_once(self) -> bool:
        """Whether the point lies on it, to a thousandth of its size."""
        if self.kind == "critical point":
            return True
        if self.orbit is None:
            return False
        size = float(np.ptp(self.orbit, axis=0).max())
        return bool(np.linalg.norm(self.orbit - self.approach[0], axis=1).min() <= 2e-2 * size)


def follow(system: System, z: np.ndarray, reach: float) -> Limit:
    """Follow the flow from z; `reach` is the scale of lengths."""
    zero = at_rest(system, z, reach)
    if zero is not None:
        stable = bool((np.linalg.eigvals(system.jacobian(zero)).real < 0).all())
        return Limit("critical point", zero[None], stable=stable)
    scale = float(np.linalg.norm(system.jacobian(z), 2))
    speed = float(np.linalg.norm(system.drift(z)))
    if not (np.isfinite(scale) and np.isfinite(speed) and scale > 0):
        return Limit("unknown", z[None])
    span = 6.0 / scale
    way = [z[None]]
    fastest, here = speed, z
    for segment in range(SEGMENTS):
        piece = _advance(system, here, span)
        if piece is None or np.linalg.norm(piece[-1] - z) > 1e3 * reach:
            return Limit("unknown", np.concatenate(way))
        way.append(piece[1:])
        here = piece[-1]
        speeds = np.linalg.norm(system.drift(piece), axis=1)
        fastest = max(fastest, float(speeds.max()))
        if speeds[-1] <= RESTING * fastest and (zero := find_zero(system, here, 0.1 * reach)) is not None:
            return Limit("attractor", np.concatenate([*way, zero[None]]))
        if segment >= 3 and (orbit := _orbit(system, here, span)) is not None:
            return Limit("cycle", np.concatenate(way), orbit)
    return Limit("unknown", np.concatenate(way))


def _integrated(system: System, z: np.ndarray, span: float, **options: Any) -> Any:
    """Integrate the drift; older LSODAs warn where it is NaN, which the result's status says too."""
    from scipy.integrate import solve_ivp

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lsoda", UserWarning)
        return solve_ivp(lambda t, y: system.drift(y), (0.0, span), z, atol=1e-10, **ACCURACY, **options)


def _advance(system: System, z: np.ndarray, span: float) -> np.ndarray | None:
    try:
        found = _integrated(system, z, span, t_eval=np.linspace(0.0, span, SAMPLES))
    except ValueError:
        return None
    return found.y.T if found.success and np.isfinite(found.y).all() else None


def _orbit(system: System, z: np.ndarray, span: float) -> np.ndarray | None:
    """Return the flow from z to its return to the hyperplane across the flow at z, where it comes back to z itself."""
    across = system.drift(z)
    size = float(np.linalg.norm(across))
    if size == 0:
        return None

    def crossing(t: float, y: np.ndarray) -> float:
        return float((y - z) @ across) / size if t > 1e-6 * span else 1.0

    crossing.terminal, crossing.direction = True, 1.0  # type: ignore[attr-defined]
    try:
        left = _integrated(system, z, 0.05 * span)
        turn = {"events": crossing, "max_step": 0.2 * span, "dense_output": True}
        found = _integrated(system, left.y[:, -1], 60 * span, **turn)
    except ValueError:
        return None
    if not found.success or not len(found.t_events[0]):
        return None
    times = np.linspace(0.0, found.t[-1], 8 * SAMPLES)
    orbit = np.concatenate([z[None], found.sol(times).T])
    gap = float(np.linalg.norm(orbit[-1] - z))
    return orbit if gap <= CLOSED * float(np.ptp(orbit, axis=0).max()) else None


def attracts(what: Any, point: np.ndarray, metric: str = "layerwise") -> bool:
    """Whether a point of a Problem or Drift is a critical point that attracts its neighbourhood."""
    if not isinstance(what, (Problem, Drift)):
        return False
    system = System(make_flow(what, metric), point)
    with np.errstate(all="ignore"):
        drift, jacobian = system.drift(system.inward(point)), system.jacobian(system.inward(point))
        if not (np.isfinite(drift).all() and np.isfinite(jacobian).all()):
            return False
        stable = bool((np.linalg.eigvals(jacobian).real < 0).all())
        off = np.linalg.lstsq(jacobian, drift, rcond=None)[0]
    return stable and float(np.linalg.norm(off)) <= 1e-6 * max(float(np.linalg.norm(system.inward(point))), 1e-6)
