"""What one exchanged sample can change, on a ball that is grown until both flows stay in it (`stability`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, box_of, unit_scale
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.metrics import metric_matrix, sample_rows
from actionopt.contraction.proof.modes import loss_change, modes_over, weight_change
from actionopt.contraction.proof.outputs import norms_up, outputs
from actionopt.contraction.proof.prover import Prover
from actionopt.contraction.proof.samples import Slopes, greatest_separation, matrix_norms, slopes_over
from actionopt.contraction.proof.taylor import spread_of
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import UNIT, middle, point

TRIES = 14  # radii tried
Pair = tuple[Slopes, Slopes]


@dataclass(frozen=True)
class Found:
    """What was found on a ball; a bound of inf where nothing was."""

    bound: float
    rate: float
    radius: float
    separation: float
    kappa: float
    message: str


@dataclass
class Exchange:
    """One bound to be proved.

    Attributes
    ----------
    prover : Prover
        Of the problem around the centre.
    data : (inputs, targets)
        The samples that may come in, as intervals.
    horizon : float or None
    quantity : str
    step_size : float or None
    away : float
        Distance of the start from the centre, 0 where both flows start anywhere in the ball.
    """

    prover: Prover
    data: tuple[Any, Any]
    horizon: float | None
    quantity: str
    step_size: float | None
    away: float

    def solve(self) -> Found:
        """Grow the ball until the bound is proved."""
        prover = self.prover
        rate = float(least_eigenvalue(prover.at_centre[2])) if prover.metric == "euclidean" else prover.rate(1e-12)
        d = greatest_separation(*self._slopes(0.0)) / prover.problem.samples
        if not (rate > 0.0 and np.isfinite(d)):
            message = "the flow is not proved to contract at the centre: no bound"
            return Found(np.inf, rate, 0.0, d, np.inf, message)
        radius = max(1.05 * (prover.speed + d) / rate or 1e-9, 1.0001 * self.away)
        for _ in range(TRIES):
            if (found := self._on(radius)) is not None:
                return found
            radius *= 1.3 if self.step_size is None else 2.0
        message = (
            f"no ball up to radius {radius:.4g} was proved that both flows stay in: {prover.problem.samples} samples "
            "are too few for this rate, or the centre is too far from the minimum"
        )
        return Found(np.inf, prover.rate(radius), radius, d, np.inf, message)

    def _slopes(self, radius: float) -> Pair:
        problem, centre = self.prover.problem, self.prover.centre
        return slopes_over(problem, centre, radius), slopes_over(problem, centre, radius, self.data)

    def _on(self, radius: float) -> Found | None:
        """Return what holds on a ball; None where the flows may leave it, or it does not hold the start."""
        prover = self.prover
        rate = prover.rate(radius)
        if not rate > 0.0:
            return None
        slopes = self._slopes(radius)
        d = _up(greatest_separation(*slopes) / prover.problem.samples)
        if prover.metric != "euclidean":
            d = self._moved_metric(radius, d)
        if not (prover.speed + d) * (1.0 + 8.0 * UNIT) < rate * radius / ROUNDED:
            return None
        within = radius / prover.stretch(radius)[0] * (1.0 - 2.0**-40)  # in the metric it may be as far as the radius
        if self.away > within:
            return None
        kappa = max(float(one.lengths().max()) for one in slopes)
        if self.quantity == "limit":
            bound, what = self._limit(radius, d / rate, slopes), "the limits are"
        else:
            bound = self._change(radius, rate, d, kappa, slopes)
            what = {"loss": "the loss of any sample changes by", "weights": "the weights change by"}[self.quantity]
        if not np.isfinite(bound):
            return None
        end = " apart" if self.quantity == "limit" else ""
        how = " (mini-batch descent, in expectation)" if self.step_size is not None else ""
        message = f"{what} at most {bound:.6g}{end}{how}, rate {rate:.4g} within {radius:.4g} of the centre"
        return Found(bound, rate, within, d, kappa, message)

    def _change(self, radius: float, rate: float, d: float, kappa: float, slopes: Pair) -> float:
        """Bound the change of the loss or of the weights."""
        prover, loss = self.prover, self.quantity == "loss"
        scale = float(unit_scale(prover.problem).max())
        if self.step_size is not None:
            distance = self._descent(radius, rate, d, slopes)
        else:
            reached = 1.0
            if self.horizon is not None:
                reached = float((1.0 - INTERVAL.exp(point(-rate) * self.horizon)).hi)
            distance = _up(reached * d / rate)
        bound = _up(distance * (kappa if loss else scale) * ROUNDED)
        plain = self.step_size is None and prover.metric == "euclidean"
        if not plain or (modes := modes_over(prover, radius)) is None:
            return bound
        if loss:
            return min(bound, loss_change(modes, *slopes, distance, prover.problem.samples, self.horizon))
        return min(bound, weight_change(modes, prover, *slopes, distance, self.horizon))

    def _moved_metric(self, radius: float, d: float) -> float:
        """Bound the distance of the velocities, in the metric, where it depends on the sample replaced."""
        prover = self.prover
        problem = prover.problem
        n = problem.samples
        over = box_of(problem, prover.centre, radius)
        matrix = metric_matrix(problem, outputs(problem, over, 1), prover.metric)
        least = max(float(least_eigenvalue(matrix)), 1.0 - 2.0**-40)
        sigma = 1.0 / least
        greatest = max(
            float(sample_rows(problem, outputs(problem, over, 1, data), prover.metric).max())
            for data in (None, self.data)
        )
        speed = prover.velocity(radius)
        lost = sigma * greatest / n
        if not lost < 1.0:
            return float("inf")
        euclidean = sigma * (d + greatest * speed / n) / (1.0 - lost)  # |u_S - u_S'|
        whole = np.sqrt(sigma) * (d + greatest * (speed + euclidean) / n)  # the same in the metric of S
        return _up(float(whole) * (1.0 + 32.0 * UNIT))

    def _limit(self, radius: float, distance: float, slopes: Pair) -> float:
        """Bound the Euclidean distance of the limits, which are within `distance` in the norm of the mass."""
        prover = self.prover
        problem = prover.problem
        inverse = np.linalg.inv(middle(prover.at_centre[2])[0])
        off = float(matrix_norms(INTERVAL.matmul(point(inverse), prover.at_centre[2]) - np.eye(problem.size)))
        moved = np.inf
        if prover.order > 2:
            moved = spread_of(INTERVAL.matmul(point(inverse), prover.derivatives(radius)[3])) * radius * ROUNDED
        eta = _up(off + moved)
        if eta < 1.0:
            apart = greatest_separation(*slopes, transform=inverse)
            distance = min(distance, apart / problem.samples / (1.0 - eta))
        return _up(distance * float(unit_scale(problem).max()) * ROUNDED)

    def _descent(self, radius: float, rate: float, d: float, slopes: Pair) -> float:
        """Bound the expected distance of two runs of mini-batch descent; inf where it does not apply."""
        prover = self.prover
        eta = float(self.step_size or 0.0)
        decay = point(prover.problem.weight_decay) * unit_scale(prover.problem) ** 2 * np.eye(prover.problem.size)
        lowest, highest, fastest = np.inf, 0.0, 0.0
        for one in slopes:
            if one.hessian is None:
                return float("inf")
            whole = one.hessian + decay
            lowest = min(lowest, float(least_eigenvalue(whole).min()))
            highest = max(highest, float(greatest_eigenvalue(whole).max()))
            pull = norms_up(one.centre.magnitude) + float(prover.problem.weight_decay) * float(
                norms_up(unit_scale(prover.problem) * abs(prover.centre))
            )
            fastest = max(fastest, float(pull.max()))
        if not (lowest > 0.0 and eta * highest < 2.0):
            return float("inf")
        # every step contracts about the centre by `keep` and pushes by at most eta * fastest: it stays in the ball
        keep = np.sqrt(max(1.0 - eta * lowest * (2.0 - eta * highest), 0.0)) * (1.0 + 8.0 * UNIT)
        if not keep * radius + eta * fastest < radius * (1.0 - 1e-12):
            return float("inf")
        q = np.sqrt(max(1.0 - eta * rate * (2.0 - eta * highest), 0.0)) * (1.0 + 8.0 * UNIT)
        return _up(eta * d / (1.0 - q)) if q < 1.0 else float("inf")


def _up(x: float) -> float:
    return float(x * (1.0 + 8.0 * UNIT))
