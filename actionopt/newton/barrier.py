"""Bounds of unknowns as logarithmic barriers, with multipliers of their own (primal-dual interior point).

    f(x) - mu sum_i ( log(x_i - low_i) + log(high_i - x_i) ),      y_i (x_i - low_i) = mu,   v_i (high_i - x_i) = mu

Source: A. Waechter and L. Biegler, On the implementation of an interior-point filter line-search algorithm, Math.
Program. 106 (2006), sections 2 and 3.
"""

from __future__ import annotations

import numpy as np

FRACTION = 0.995  # of the way to a bound that a step may go
OFF = 1e-2  # how far off its bounds an unknown starts, as a part of their size and of the distance between them
LOOSE = 1e10  # factor within which a multiplier stays of what the barrier says


class Barrier:
    """Bounds `low <= x <= high`, arrays `(n,)`, infinite where there are none; `at_low` and `at_high` are positive."""

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self.low, self.high = low, high
        self.has_low, self.has_high = np.isfinite(low), np.isfinite(high)
        self.any = bool(self.has_low.any() or self.has_high.any())
        self.at_low, self.at_high = np.zeros_like(low), np.zeros_like(high)

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Move x off the bounds."""
        if not self.any:
            return x
        sizes = [np.where(np.isfinite(side), np.maximum(1.0, abs(side)), 1.0) for side in (self.low, self.high)]
        width = self.high - self.low
        return np.clip(x, self.low + OFF * np.minimum(sizes[0], width), self.high - OFF * np.minimum(sizes[1], width))

    def start(self, x: np.ndarray, mu: float) -> None:
        self.at_low, self.at_high = mu / (x - self.low), mu / (self.high - x)

    def value(self, x: np.ndarray) -> float:
        """Return `-sum log(distance)`, infinite outside."""
        gaps = np.concatenate([(x - self.low)[self.has_low], (self.high - x)[self.has_high]])
        return np.inf if (gaps <= 0).any() else -float(np.log(gaps).sum())

    def slope(self, x: np.ndarray) -> np.ndarray:
        """Return the gradient of `value`."""
        return 1.0 / (self.high - x) - 1.0 / (x - self.low)

    def diagonal(self, x: np.ndarray) -> np.ndarray:
        """Return the primal-dual Hessian, multipliers over distances."""
        return self.at_low / (x - self.low) + self.at_high / (self.high - x)

    @property
    def force(self) -> np.ndarray:
        """What the multipliers add to the gradient: <= 0 at a lower bound, >= 0 at an upper one."""
        return self.at_high - self.at_low

    def complementarity(self, x: np.ndarray, mu: float) -> float:
        """Return the largest `|distance times multiplier - mu|`."""
        if not self.any:
            return 0.0
        at_low = abs((x - self.low)[self.has_low] * self.at_low[self.has_low] - mu).max(initial=0.0)
        return float(
            max(at_low, abs((self.high - x)[self.has_high] * self.at_high[self.has_high] - mu).max(initial=0.0))
        )

    def reach(self, x: np.ndarray, step: np.ndarray) -> float:
        """Return the longest step, at most 1, that keeps a part of every distance."""
        if not self.any:
            return 1.0
        return min(_reach(x - self.low, -step), _reach(self.high - x, step))

    def move(self, x: np.ndarray, step: np.ndarray, share: float, mu: float) -> None:
        """Take the multipliers' Newton step from x, kept positive and near what the barrier says at its end."""
        if self.any:
            self.at_low = _moved(x - self.low, step, self.at_low, share, mu)
            self.at_high = _moved(self.high - x, -step, self.at_high, share, mu)


def _reach(gap: np.ndarray, closing: np.ndarray) -> float:
    shrinking = closing > 0
    return float((FRACTION * gap[shrinking] / closing[shrinking]).min(initial=1.0))


def _moved(gap: np.ndarray, opening: np.ndarray, multiplier: np.ndarray, share: float, mu: float) -> np.ndarray:
    change = (mu - multiplier * opening) / gap - multiplier
    falling = change < 0
    longest = float((FRACTION * multiplier[falling] / -change[falling]).min(initial=1.0))
    after = gap + share * opening
    return np.clip(multiplier + longest * change, mu / (LOOSE * after), LOOSE * mu / after)
