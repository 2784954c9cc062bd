"""A flow whose rate changes in time, `w' = -rate(t) G^{-1} g`: the plain flow, read off another clock.

With the flow's own time `tau(t) = int rate dt` its solution is `w(t) = W(tau(t))`, W the plain flow.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from actionopt.errors import InputError

ACCURACY = 1e-12  # of the integral over each step, relative


def own_times(rate: Callable[[float], Any], grid: np.ndarray) -> np.ndarray:
    """Return the flow's own time at the nodes `(N+1,)`, zero at the first.

    Raises
    ------
    InputError
        If the rate is no function, is negative or not finite somewhere, or vanishes over a whole step.
    """
    if not callable(rate):
        raise InputError(f"rate must be a function of the time, such as lambda t: 1 / (1 + t); got {rate!r}")
    from scipy.integrate import quad  # a third of a second, which few runs need

    def checked(t: float) -> float:
        try:
            value = float(rate(t))
        except (TypeError, ValueError) as error:
            raise InputError(f"rate must give a number, but rate({t:.6g}) failed: {error}") from error
        if not 0.0 <= value < np.inf:
            raise InputError(f"rate must be finite and >= 0, but rate({t:.6g}) is {value!r}")
        return value

    steps = [
        quad(checked, first, last, epsabs=0.0, epsrel=ACCURACY, limit=200, full_output=1)[0]
        for first, last in pairwise(grid)
    ]
    if min(steps) <= 0.0:
        still = int(np.argmin(steps))
        raise InputError(
            f"the rate is zero from t = {grid[still]:.4g} to {grid[still + 1]:.4g}, where nothing moves: end the flow "
            "before, or give times without nodes in between"
        )
    return np.concatenate([[0.0], np.cumsum(steps)])
