"""What the named points of a problem are: attractors, saddles, repellers, or points of no kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from actionopt.action.lagrangian import Drift
from actionopt.paths.system import System, make_flow
from actionopt.problem import Problem

REST = 1e-4  # way to the zero of the drift, by a step of Newton, beside the size of the point, up to which it is one
SIZE = 60  # coordinates up to which points are looked at


def kinds_of_points(what: Any, points: Mapping[str, Any], metric: str = "layerwise") -> dict[str, str]:
    """Return "minimum" (where the flow attracts), "saddle" or "maximum" for the named points that are at rest."""
    if not isinstance(what, (Problem, Drift)) or what.size > SIZE:
        return {}
    places = {name: np.atleast_1d(np.asarray(point, dtype=float)) for name, point in points.items()}
    kinds = {name: _kind(what, w, metric) for name, w in places.items() if w.shape == (what.size,)}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _kind(what: Problem | Drift, w: np.ndarray, metric: str) -> str | None:
    system = System(make_flow(what, metric), w)
    with np.errstate(all="ignore"):
        z = system.inward(w)
        drift, jacobian = system.drift(z), system.jacobian(z)
    if not (np.isfinite(drift).all() and np.isfinite(jacobian).all()):
        return None
    off = np.linalg.norm(np.linalg.lstsq(jacobian, drift, rcond=None)[0])
    if off > REST * max(float(np.linalg.norm(z)), 1.0):
        return None
    unstable = int((np.linalg.eigvals(jacobian).real > 0).sum())
    return "minimum" if unstable == 0 else "maximum" if unstable == len(z) else "saddle"
