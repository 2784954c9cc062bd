"""A step along a direction that lowers the value enough and flattens the slope enough (weak Wolfe conditions)."""

from __future__ import annotations

import numpy as np

from actionopt.newton.point import Objective, Point

DECREASE, SLOPE = 1e-4, 0.9
_ROUNDING = 10 * np.finfo(float).eps


def wolfe_step(
    objective: Objective, point: Point, direction: np.ndarray, first: float = 1.0, trials: int = 40
) -> Point | None:
    """Return a point `x + t direction` with `f <= f(x) + 1e-4 t slope` and a slope of at least 0.9 times that at x.

    Bisection between what is too long and what is too short, cubic interpolation where both slopes are known; it ends
    for every function that is bounded below (Lewis and Overton 2013). Where the decrease is below rounding the slope
    decides alone. None where no step was found.
    """
    slope0 = float(direction @ point.gradient)
    noise = _ROUNDING * abs(point.value)
    low, high = 0.0, np.inf
    at_low = (point.value, slope0)
    step = first
    for _ in range(trials):
        trial = objective(point.x + step * direction)
        slope = float(direction @ trial.gradient) if np.isfinite(trial.value) else np.nan
        if not np.isfinite(slope):
            high, step = step, low + 0.1 * (step - low)
            continue
        if trial.value > point.value + DECREASE * step * slope0 + noise:
            high, at_high = step, (trial.value, slope)
            step = _between(low, high, at_low, at_high)
        elif slope < SLOPE * slope0:
            low, at_low = step, (trial.value, slope)
            step = 2.0 * step if high == np.inf else 0.5 * (low + high)
        else:
            return trial
    return None


def _between(low: float, high: float, at_low: tuple[float, float], at_high: tuple[float, float]) -> float:
    """Return the minimiser of the cubic through both ends, kept off them."""
    width = high - low
    (f0, g0), (f1, g1) = at_low, at_high
    d1 = g0 + g1 - 3.0 * (f1 - f0) / width
    square = d1 * d1 - g0 * g1
    if square >= 0.0:
        d2 = float(np.sqrt(square))
        denominator = g1 - g0 + 2.0 * d2
        if denominator:
            share = 1.0 - (g1 + d2 - d1) / denominator
            if np.isfinite(share):
                return low + min(max(share, 0.1), 0.9) * width
    return low + 0.5 * width
