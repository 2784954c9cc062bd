"""Rates of exit with their prefactor, experimental: the Eyring-Kramers law of gradient systems."""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.paths.result import GeometricPath
from actionopt.paths.system import System, make_flow

SYMMETRIC = 1e-8  # asymmetry of the drift's slopes, relative to them, up to which a flow counts as a gradient


def eyring_kramers_rate(what: Any, path: GeometricPath, eps: float, *, metric: str = "layerwise") -> float:
    """Return the rate of exit over the first saddle of a path, with its prefactor (experimental).

    `rate = lam / (2 pi) sqrt(det J(A) / det J(s)) exp(-S / eps)` in absolute values, for `dx = b dt + sqrt(eps) sigma
    dW` and b minus a gradient in the constant metric `(sigma sigma^T)^{-1}`; J = db/dx, lam its one positive eigenvalue
    at the saddle s, S the action from the attractor A to s. Right to leading order as eps -> 0 (Eyring 1935, Kramers
    1940; proved by Bovier, Eckhoff, Gayrard and Klein, 2004). Of the paths from A over several saddles it counts the
    first saddle of this path alone.

    Parameters
    ----------
    what : Problem or Drift
        What the path was found for.
    path : GeometricPath
    eps : float
        Strength of the noise; small beside S.
    metric : "layerwise", "joint" or "euclidean"
        Metric of a problem's flow, constant as it is for "euclidean" or where the output metric is None.

    Raises
    ------
    InputError
        If the flow is no gradient in a constant metric, or the path does not lead from an attractor to a saddle with
        one unstable direction: for others the prefactor is not known here.

    Examples
    --------
    >>> from actionopt import Drift, least_action_path
    >>> well = Drift(1, lambda ops, x: x - x**3)
    >>> rate = eyring_kramers_rate(well, least_action_path(well, [-1.0], [1.0]), 0.05)
    >>> round(float(rate / np.exp(-0.5 / 0.05) * 2 * np.pi / np.sqrt(2)), 6)
    1.0
    """
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 < eps < np.inf:
        raise InputError(f"eps must be a positive, finite number, got {eps!r}")
    points = path.critical_points
    if len(points) < 2 or points[0].index != 0 or points[0].unstable != 0 or points[1].unstable != 1:
        raise InputError(
            "a rate needs a path from an attractor to a saddle with one unstable direction, this one passes: "
            f"{', '.join(f'{p.kind} ({p.unstable} unstable)' for p in points) or 'no critical point'}"
        )
    flow = make_flow(what, metric)
    if not flow.constant:
        raise InputError("the Eyring-Kramers law holds for constant noise; that of this system depends on the state")
    system = System(flow, points[0].point)
    slopes = [system.jacobian(system.inward(point.point)) for point in points[:2]]
    for slope in slopes:
        if abs(slope - slope.T).max() > SYMMETRIC * abs(slope).max():
            raise InputError(
                "the Eyring-Kramers law holds for gradient flows, and the slopes of this drift are not symmetric in "
                "the inverse noise; the exponent, path.legs[0].action, is right all the same"
            )
    bottom, saddle = (np.linalg.eigvalsh(slope) for slope in slopes)
    ratio = np.exp(0.5 * (np.log(abs(bottom)).sum() - np.log(abs(saddle)).sum()))
    return float(saddle[-1] / (2 * np.pi) * ratio * np.exp(-path.legs[0].action / eps))
