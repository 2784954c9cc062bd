"""Rates on balls around one centre, each by the best form that is affordable."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from actionopt.contraction.proof.boxes import rate_in_boxes
from actionopt.contraction.proof.derivatives import ROUNDED, box_of, derivatives
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.gauss_newton import gauss_newton_rate
from actionopt.contraction.proof.metrics import Pencil, gradient_over, pencil
from actionopt.contraction.proof.outputs import Outputs, centred, norms_up, outputs
from actionopt.contraction.proof.sharpen import Centre, sharpened
from actionopt.contraction.proof.taylor import Taylor
from actionopt.contraction.proof.turning import can_turn, turning
from actionopt.ops.interval import KinkError
from actionopt.ops.rounded import Interval
from actionopt.problem import Problem

NUMBERS = 4_000_000  # in the widest array of an enclosure, above which a form is left out


@dataclass
class Prover:
    """Rates on balls around one centre, each by the best form that is affordable."""

    problem: Problem
    centre: np.ndarray
    metric: str
    boxes: int
    deadline: float
    looked: int = 1
    forms: dict[float, tuple[float, str]] = field(default_factory=dict)

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return time.process_time() > self.deadline

    @cached_property
    def order(self) -> int:
        """The highest derivative of the energy that fits: 4, 3, or 2 where only the Gauss-Newton form is left."""
        n, samples = self.problem.size, self.problem.samples
        return next((k for k in (4, 3) if n**k * samples <= NUMBERS // 4), 2)

    @cached_property
    def affordable(self) -> bool:
        """Whether second derivatives of the outputs fit."""
        problem = self.problem
        widest = max(node.size for node in problem.nodes)
        return problem.size**2 * problem.samples * widest <= NUMBERS

    @cached_property
    def at_centre(self) -> list[Interval]:
        """Energy, gradient, Hessian and, where affordable, third derivative at the centre."""
        return derivatives(self.problem, box_of(self.problem, self.centre, 0.0), min(self.order, 3))

    @cached_property
    def outputs_at_centre(self) -> list[Outputs]:
        return outputs(self.problem, box_of(self.problem, self.centre, 0.0), 2)

    @property
    def speed(self) -> float:
        """Upper bound of the velocity at the centre, in the norm of the mass."""
        return float(norms_up(self.at_centre[1].magnitude)) * (1.0 + 2.0**-48)

    def rate(self, radius: float) -> float:
        """Return the best lower bound of the rate on a ball; -inf for none."""
        if radius not in self.forms:
            self.forms[radius] = self._rate(radius)
        return self.forms[radius][0]

    def _rate(self, radius: float) -> tuple[float, str]:
        if not self.at_centre[0].finite:
            return -np.inf, "none"
        if self.metric != "euclidean":
            return self._metric_rate(radius), f"{self.metric} formula"
        found = [(-np.inf, "none")]
        if self.affordable:
            found.append((self._gauss_newton(radius), "Gauss-Newton form"))
        if self.order > 2:
            over = self.derivatives(radius)
            least = float(least_eigenvalue(over[2]))
            found.append((least - 2.0**-47 * abs(least), "Hessian over the box"))
            found.append((self.mean_value(over).rate(radius), "mean value form"))
            if self.order > 3:
                found.append((self.taylor(over).rate(radius), "Taylor form"))
        best = max(found)
        if self.boxes > 1 and self.order > 3 and not self.late:
            bound, looked = rate_in_boxes(self.problem, self.centre, radius, self.boxes, self.deadline)
            self.looked = max(self.looked, looked)
            best = max(best, (bound, "branch and bound"))
        return best

    def derivatives(self, radius: float) -> list[Interval]:
        """Enclose the energy's derivatives over a ball."""
        return self._derivatives(radius, self.order)

    def _derivatives(self, radius: float, order: int) -> list[Interval]:
        box = box_of(self.problem, self.centre, radius)
        found = derivatives(self.problem, box, order, lambda ops: self.known.sharper(ops, radius))
        return sharpened(found, self.at_centre, radius)

    @cached_property
    def known(self) -> Centre:
        """The states at the centre."""
        return Centre(self.problem, self.centre, 3 if self.order > 3 else 2)

    def expansion(self, radius: float) -> Taylor | None:
        """Return what decides the rate at the centre with its derivatives over a ball; None where they do not fit."""
        if self.order < 3 or not self.at_centre[0].finite:
            return None
        if self.metric == "euclidean":
            return self.taylor(self.derivatives(radius))
        if not can_turn(self.problem, self.outputs_at_centre):
            return None
        hessian, over, at = self._pencil(radius, 3)
        turn = turning(self.problem, over, hessian, at, self.metric)
        here = self.pencil_at_centre
        return Taylor(here.form, turn.form, None, here.metric, turn.metric)

    def first_order(self) -> Taylor | None:
        """Return the same without what is only known over a ball: where the search begins."""
        if self.metric == "euclidean":
            return Taylor(self.at_centre[2], self.at_centre[3], None)
        return self.expansion(0.0)

    @cached_property
    def pencil_at_centre(self) -> Pencil:
        return pencil(self.problem, self.outputs_at_centre, self.at_centre[1], self.metric)

    def _pencil(self, radius: float, order: int) -> tuple[Interval, list[Outputs], Pencil]:
        """Enclose the Hessian, the outputs and the matrices of the rate over a ball."""
        hessian, over = self._derivatives(radius, 2)[2], self.over(radius, order)
        slope = hessian * (radius * ROUNDED)
        return hessian, over, pencil(self.problem, over, self.at_centre[1], self.metric, slope)

    def mean_value(self, over: list[Interval]) -> Taylor:
        """The Hessian at the centre, and how it moves by the third derivative over a ball."""
        return Taylor(self.at_centre[2], over[3], None)

    def taylor(self, over: list[Interval]) -> Taylor:
        """The same by the third derivative at the centre and the fourth over a ball; the former where there is none."""
        if self.order == 3:
            return self.mean_value(over)
        return Taylor(self.at_centre[2], self.at_centre[3], over[4])

    def over(self, radius: float, order: int | None = None) -> list[Outputs]:
        """Enclose the outputs and two derivatives over a ball, by the third where it fits, or that too."""
        order = order or (3 if self.order > 3 else 2)
        box = box_of(self.problem, self.centre, radius)
        wide = outputs(self.problem, box, order, visit=lambda ops: self.known.sharper(ops, radius))
        return centred(wide, self.outputs_at_centre, radius)

    def _gauss_newton(self, radius: float) -> float:
        return gauss_newton_rate(self.problem, self.outputs_at_centre, self.over(radius), radius)

    def further(self, radius: float, level: float) -> bool:
        """Whether the Gauss-Newton form proves a level on a ball."""
        if self.metric != "euclidean":
            return False
        try:
            return enough(self._gauss_newton(radius), level)
        except KinkError:
            return False

    def _metric_rate(self, radius: float) -> float:
        if not self.affordable:
            return -np.inf
        found = self._pencil(radius, 3 if self.order > 2 else 2)[2].rate()
        expansion = self.expansion(radius)
        return found if expansion is None else max(found, expansion.rate(radius))

    def velocity(self, radius: float) -> float:
        """Bound the norm of the mass of the velocity over a ball."""
        if self.metric != "euclidean":
            found = self._pencil(radius, 2)[2].velocity
        else:
            over = self._derivatives(radius, 2)
            found = gradient_over(self.at_centre[1], over[2], radius, over[1])
        return float(norms_up(found.magnitude)) * (1.0 + 2.0**-47)

    def stretch(self, radius: float) -> tuple[float, float]:
        """Bound the length in the metric of a unit of the mass's norm, and of the velocity at the centre."""
        if self.metric == "euclidean":
            return 1.0, self.speed
        metric = pencil(self.problem, self.over(radius), self.at_centre[1], self.metric).metric
        longest = float(np.sqrt(greatest_eigenvalue(metric)) * (1.0 + 2.0**-48))
        return longest, self.speed  # |u|_G <= |g| as G >= 1


def enough(lower: float, rate: float) -> bool:
    """Whether a lower bound proves a rate; where 0 or more is asked it must be positive."""
    return lower >= rate and (lower > 0.0 or rate < 0.0)
