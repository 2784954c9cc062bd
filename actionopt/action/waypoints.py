"""A guess that goes through given points, such as a saddle."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from actionopt.arrays import real_array
from actionopt.errors import InputError


def path_through(points: Any, steps: int) -> np.ndarray:
    """Return the nodes of a path that visits points in turn, in straight lines of equal duration.

    Parameters
    ----------
    points : array (k, n)
        Start, waypoints, end; NaN components stay where the point before left them, as for a free end.
    steps : int
        Number of equal steps, at least k - 1.

    Returns
    -------
    array (steps + 1, n)
        To hand to `minimize_action` as `guess`.

    Raises
    ------
    InputError
        If there are fewer than two points, of different sizes, or fewer steps than legs.

    Examples
    --------
    >>> path_through([(0, 0), (1, 2), (2, 0)], steps=4)[:, 1]
    array([0., 1., 2., 1., 0.])
    """
    visited = np.array(real_array("waypoints", points, "points of one size, (k, n)"))
    if visited.ndim != 2 or len(visited) < 2:
        raise InputError(f"waypoints must be at least two points (k, n), got shape {visited.shape}")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < len(visited) - 1:
        raise InputError(f"steps must be a whole number >= {len(visited) - 1}, one a leg of the path, got {steps!r}")
    for before, point in pairwise(visited):
        point[:] = np.where(np.isnan(point), before, point)
    if not np.isfinite(visited).all():
        raise InputError("waypoints must be finite; NaN stands for free components, after the start")
    places, nodes = np.linspace(0.0, 1.0, len(visited)), np.linspace(0.0, 1.0, steps + 1)
    return np.stack([np.interp(nodes, places, column) for column in visited.T], axis=-1)
