"""The mass as steps turn out: a factor of it that the next batch corrects **[ours]**.

A batch says nothing about a step that was fitted to it; the next one does. Along the step, from `w + alpha x` to `w`,
its energy is known at both ends and its slope at the last, and so is the parabola through them:

    s_1 = g(w) . x,    s_0 = 2 (E(w + alpha x) - E(w)) / alpha - s_1,    r = s_1 / s_0

r = 1: the step was much too short, r = 0: it ended at the minimum along x, r < -1: the energy rose. Both slopes, times
alpha, are averaged over a few steps, and s_0 is raised by a share of the energy, so that changes which do not count
beside it tell nothing. Then r above `LONG + PER_MOMENTUM momentum` makes the
mass smaller (what goes on by its momentum may stop short of the minimum), and r below `RISEN` makes it larger. Between
them it stays: a rule without that gap follows the steepest directions, whose overshoot no mass corrects, until all
steps are far too short.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from actionopt.metric.step_metric import StepMetric

if TYPE_CHECKING:
    from actionopt.metric.move import Move

LONG, PER_MOMENTUM, RISEN = 0.0, 0.4, -0.8  # the gap in r where the mass stays
SMALLER, LARGER = 2.0, 1.5  # logarithm of the factor for an r that is one beyond the gap
RANGE = (1 / 30, 4.0)  # least and most of the factor: noise alone would let the mass grow on
MOST = 3.0  # times that the factor may change in a step
KEPT, KEPT_ENERGY = 0.3, 0.7  # shares of the past in the averages
COUNTS = 0.02  # of the energy: a smaller change tells nothing
MATTERS = (0.02, 0.3)  # share of the mass in the curvature below which it shrinks no more, or grows slowly


@dataclass(frozen=True)
class Damping:
    """The factor of the mass, and what it is judged by.

    Attributes
    ----------
    factor : float
    start, end, energy : float
        Averages of `alpha s_0` and `alpha s_1`, and of the energy.
    alpha, share : float
        Of the last step: its size, and the mass's share of the joint model's curvature.
    """

    factor: float = 1.0
    start: float = 0.0
    end: float = 0.0
    energy: float = 0.0
    alpha: float = 0.0
    share: float = 1.0

    def judged(self, metric: StepMetric, direction: np.ndarray | None, momentum: float) -> Damping:
        """Return the damping for a step at the point of `metric`, where the last step, along `direction`, has led to.

        Parameters
        ----------
        metric : StepMetric
            On the batch of the step to come.
        direction : array (n,) or None
            x of the last step; None where there was none.
        momentum : float
            Share of a direction that the next one takes on.
        """
        if direction is None or not self.alpha > 0.0:
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            end = self.alpha * float(metric.fall(direction))
            fall = float(metric.problem.energy(metric.w + self.alpha * direction)) - metric.energy
        if not np.isfinite([fall, end]).all():
            return self
        start = KEPT * self.start + (1.0 - KEPT) * (2.0 * fall - end)
        end = KEPT * self.end + (1.0 - KEPT) * end
        energy = KEPT_ENERGY * (self.energy or abs(metric.energy)) + (1.0 - KEPT_ENERGY) * abs(metric.energy)
        scale = max(start, 0.0) + COUNTS * energy
        change = self._change(end / scale if scale > 0.0 else 0.0, LONG + PER_MOMENTUM * momentum)
        factor = float(np.clip(self.factor * change, *RANGE))
        return replace(self, factor=factor, start=start, end=end, energy=energy)

    def _change(self, r: float, long: float) -> float:
        least, full = MATTERS
        if r > long and self.share > least:
            return float(max(np.exp(-SMALLER * (r - long)), 1.0 / MOST))
        if r < RISEN:
            # a mass that matters little is not what makes the energy rise, unless it was made that small here
            power = 1.0 if self.factor < 1.0 else min(1.0, self.share / full)
            return float(min(np.exp(LARGER * min(RISEN - r, 10.0)), MOST)) ** power
        return 1.0

    def noted(self, taken: Move) -> Damping:
        """Return the damping that remembers a step."""
        share = 1.0 - taken.change / taken.curvature if taken.curvature > 0.0 else 1.0
        return replace(self, alpha=taken.step_size, share=share)
