"""`prove_contraction`: a rate on a ball of weights, proved, and the basin that follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.contraction.proof.boxes import rate_in_boxes
from actionopt.contraction.proof.derivatives import box_of, derivatives
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.gauss_newton import gauss_newton_rate
from actionopt.contraction.proof.metrics import gradient_over, pencil
from actionopt.contraction.proof.outputs import Outputs, centred, norms_up, outputs
from actionopt.contraction.proof.refute import find_counterexample, upper_rate
from actionopt.contraction.proof.result import ContractionProof
from actionopt.contraction.proof.taylor import Taylor
from actionopt.contraction.smooth import check_smooth
from actionopt.errors import InputError
from actionopt.metric.kinds import kind_of
from actionopt.ops.interval import KinkError
from actionopt.ops.rounded import Interval
from actionopt.problem import Problem, takes_problem

NUMBERS = 4_000_000  # in the widest array of an enclosure, above which a form is left out
MOST = 2.0**20  # radius at which a search ends, in units of the centre's length
CLOSE, CLOSE_BOXES = 0.97, 0.995  # a search ends when what it proved is that near to what it tried
MARGIN = 1e-3  # of the centre's rate, kept where a search asks for the largest radius


@takes_problem
@takes_problem
def prove_contraction(
    problem: Problem,
    centre: Any,
    radius: float | None = None,
    *,
    metric: str = "euclidean",
    rate: float = 0.0,
    boxes: int = 1,
    seconds: float | None = None,
) -> ContractionProof:
    """Prove that the gradient flow contracts on a ball of weights, or refute it.

    Parameters
    ----------
    problem : Problem
    centre : array (n,)
    radius : float, optional
        Of the ball `|w - centre|_D <= radius`, D the mass. Where None, the largest that can be proved is searched.
    metric : "euclidean", "joint" or "layerwise"
        Which metric the flow descends in and distances are measured in; euclidean is the mass alone.
    rate : float
        The rate to be proved, exponential per unit of the flow's time.
    boxes : int
        How many boxes the ball may be cut into, euclidean metric; it pays for up to four weights.
    seconds : float, optional
        Processor time after which what was proved so far is returned.

    Returns
    -------
    ContractionProof
        "proved" holds for real numbers, on what `actionopt.ops.rounded` assumes of floating point; "refuted" comes
        with a point of the ball; "undecided" says that neither was found, never that the flow does not contract.

    Raises
    ------
    InputError
        If an argument cannot be used, or the energy has a kink in the ball.

    Notes
    -----
    [ours] The forms are in `taylor`, `gauss_newton` and `metrics`. Basin: where the rate is at least lam on the ball
    and the velocity at its centre is shorter than `lam R`, the ball (in a metric that depends on the weights: the
    geodesic ball inside) is invariant, and all its flows converge to one equilibrium within `|velocity| / lam`.

    Examples
    --------
    >>> import actionopt as ao
    >>> loss = ao.CustomLoss(lambda ops, w, target: 0.25 * w**4 - 0.5 * w**2)
    >>> well = ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)
    >>> proof = ao.prove_contraction(well, [1.0], 0.2)
    >>> proof.status, proof.rate > 0.9 * (3 * 0.8**2 - 1)
    ('proved', True)
    """
    kind_of(metric)
    centre = problem.check_point(centre, "centre")
    radius = None if radius is None else _positive("radius", radius)
    if not np.isfinite(rate):
        raise InputError(f"rate must be a finite number, got {rate}")
    if isinstance(boxes, bool) or int(boxes) != boxes or boxes < 1:
        raise InputError(f"boxes must be a whole number >= 1, got {boxes!r}")
    limit = np.inf if seconds is None else _positive("seconds", seconds)
    check_smooth(problem, centre, output_metric=metric != "euclidean")
    constant = kind_of(metric).constant(problem)
    prover = Prover(problem, centre, "euclidean" if constant else metric, int(boxes), time.process_time() + limit)
    begun = time.process_time()
    with np.errstate(all="ignore"):
        found = _on_ball(prover, radius, rate) if radius is not None else _searched(prover, rate)
        found = _with_basin(prover, found)
    return replace(found, metric=metric, seconds=time.process_time() - begun)


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
        if self.metric != "euclidean":
            return self._metric_rate(radius), f"{self.metric} formula"
        found = [(-np.inf, "none")]
        if self.affordable:
            found.append((self._gauss_newton(radius), "Gauss-Newton form"))
        if self.order > 2:
            over = self.derivatives(radius)
            found.append((float(least_eigenvalue(over[2])) * (1.0 - 2.0**-47), "Hessian over the box"))
            found.append((self.mean_value(over, radius).rate(radius), "mean value form"))
            if self.order > 3:
                found.append((self.taylor(over, radius).rate(radius), "Taylor form"))
        best = max(found)
        if self.boxes > 1 and self.order > 3 and not self.late:
            bound, looked = rate_in_boxes(self.problem, self.centre, radius, self.boxes, self.deadline)
            self.looked = max(self.looked, looked)
            best = max(best, (bound, "branch and bound"))
        return best

    def derivatives(self, radius: float) -> list[Interval]:
        """Enclose the energy's derivatives over a ball."""
        return derivatives(self.problem, box_of(self.problem, self.centre, radius), self.order)

    def mean_value(self, over: list[Interval], radius: float) -> Taylor:
        """The Hessian at the centre, and how it moves by the third derivative over a ball."""
        return Taylor(self.at_centre[2], over[3], None, radius)

    def taylor(self, over: list[Interval], radius: float) -> Taylor:
        """The same by the third derivative at the centre and the fourth over a ball; the former where there is none."""
        if self.order == 3:
            return self.mean_value(over, radius)
        return Taylor(self.at_centre[2], self.at_centre[3], over[4], radius)

    def over(self, radius: float) -> list[Outputs]:
        """Enclose the outputs and two derivatives over a ball."""
        wide = outputs(self.problem, box_of(self.problem, self.centre, radius), 2)
        return centred(wide, self.outputs_at_centre, radius)

    def _gauss_newton(self, radius: float) -> float:
        return gauss_newton_rate(self.problem, self.outputs_at_centre, self.over(radius), radius)

    def further(self, radius: float, level: float) -> bool:
        """Whether the Gauss-Newton form proves a level on a ball."""
        try:
            return _enough(self._gauss_newton(radius), level)
        except KinkError:
            return False

    def _metric_rate(self, radius: float) -> float:
        if not self.affordable:
            return -np.inf
        over = derivatives(self.problem, box_of(self.problem, self.centre, radius), 2)
        gradient = gradient_over(self.at_centre[1], over[2], radius, over[1])
        return pencil(self.problem, self.over(radius), gradient, self.metric).rate()

    def velocity(self, radius: float) -> float:
        """Bound the norm of the mass of the velocity over a ball."""
        over = derivatives(self.problem, box_of(self.problem, self.centre, radius), 2)
        gradient = gradient_over(self.at_centre[1], over[2], radius, over[1])
        if self.metric == "euclidean":
            return float(norms_up(gradient.magnitude)) * (1.0 + 2.0**-47)
        found = pencil(self.problem, self.over(radius), gradient, self.metric).velocity
        return float(norms_up(found.magnitude)) * (1.0 + 2.0**-47)

    def stretch(self, radius: float) -> tuple[float, float]:
        """Bound the length in the metric of a unit of the mass's norm, and of the velocity at the centre."""
        if self.metric == "euclidean":
            return 1.0, self.speed
        found = pencil(self.problem, self.over(radius), self.at_centre[1], self.metric)
        return float(
            np.sqrt(greatest_eigenvalue(found.metric)) * (1.0 + 2.0**-48)
        ), self.speed  # |u|_G <= |g| as G >= 1


def _on_ball(prover: Prover, radius: float, rate: float) -> ContractionProof:
    """Decide one ball."""
    if not prover.affordable:
        return _result(prover, "undecided", -np.inf, radius, _why(prover, -np.inf, radius))
    lower = prover.rate(radius)
    if _enough(lower, rate):
        message = f"the rate is above {lower:.6g} everywhere within {radius:.6g} of the centre"
        return _result(prover, "proved", lower, radius, message)
    if (found := find_counterexample(prover.problem, prover.centre, radius, rate, prover.metric)) is not None:
        w, upper = found
        message = f"the rate is below {upper:.6g} at the point given, where {rate:.6g} was asked"
        return replace(_result(prover, "refuted", upper, radius, message), counterexample=w)
    return _result(prover, "undecided", lower, radius, _why(prover, lower, radius))


def _searched(prover: Prover, rate: float) -> ContractionProof:
    """Search the largest ball."""
    if not prover.affordable:
        return _result(prover, "undecided", -np.inf, 0.0, _why(prover, -np.inf, 0.0))
    upper = upper_rate(prover.problem, prover.centre, prover.metric)
    if upper < rate or (upper <= 0.0 and rate == 0.0):
        message = f"the rate is below {upper:.6g} at the centre, where {rate:.6g} was asked"
        return replace(_result(prover, "refuted", upper, 0.0, message), counterexample=prover.centre)
    level = rate + MARGIN * max(upper - rate, 0.0) if np.isfinite(upper) else rate
    radius = 0.0
    if prover.metric == "euclidean" and prover.order > 2:
        radius = _taylor_search(prover, level)
        if radius > 0.0:  # the other form is asked only whether it goes further
            name = "Taylor form" if prover.order > 3 else "mean value form"
            prover.forms[radius] = (level, name)
    if not radius or prover.boxes > 1 or (prover.affordable and prover.further(1.05 * radius, level)):
        radius = _bracketed(lambda r: _enough(_guarded(prover, r), level), radius, prover)
    if radius == 0.0:
        return _result(prover, "undecided", -np.inf, 0.0, _why(prover, -np.inf, 0.0))
    lower = prover.rate(radius)
    message = f"the rate is above {lower:.6g} everywhere within {radius:.6g} of the centre"
    if prover.late:
        message += "; the time was up before a larger ball was tried"
    return _result(prover, "proved", lower, radius, message)


def _taylor_search(prover: Prover, level: float) -> float:
    """Return about the largest radius that the Taylor form allows: where what is allowed equals what was enclosed."""
    start = Taylor(prover.at_centre[2], prover.at_centre[3], None, np.inf).radius(level)
    if not start > 0.0:
        return 0.0
    length = 1.0 + float(np.linalg.norm(prover.centre * np.sqrt(prover.problem.mass)))
    radius, best, most = min(0.3 * start, MOST * length), 0.0, min(start, MOST * length)
    for _ in range(12):
        try:
            allowed = prover.taylor(prover.derivatives(radius), radius).radius(level)
        except KinkError:
            allowed = 0.0
        best = max(best, allowed)
        if allowed < radius:
            most = min(most, radius)
        if prover.late or best >= CLOSE * most:
            break
        radius = (
            np.sqrt(radius * allowed)
            if 0.0 < allowed < radius
            else 0.3 * radius
            if not allowed
            else min(2.0 * radius, most)
        )
        radius = max(radius, 0.5 * (best + most)) if best and allowed >= radius else radius
    return best


def _next_radius(radius: float, allowed: float, best: float, most: float) -> float:
    """Return what to try next: towards where the radius allowed equals the one enclosed."""
    if allowed == 0.0:
        return 0.3 * radius
    if allowed < radius:
        return float(np.sqrt(radius * allowed))
    return max(min(2.0 * radius, most), 0.5 * (best + most))


def _bracketed(good: Callable[[float], bool], low: float, prover: Prover) -> float:
    """Search the largest radius where `good` holds, which it does at `low`, if that is not 0; 0 for none."""
    length = 1.0 + float(np.linalg.norm(prover.centre * np.sqrt(prover.problem.mass)))
    if low and prover.boxes == 1 and good(0.5 * MOST * length):  # a convex problem, at once
        return 0.5 * MOST * length
    high, close = np.inf, CLOSE if prover.boxes == 1 else CLOSE_BOXES
    radius = (4.0 if prover.boxes == 1 else 1.2) * low or 1e-2 * length
    while not prover.late and 1e-12 * length < radius < MOST * length and low < close * high:
        if good(radius):
            low, radius = radius, 16.0 * radius if high == np.inf else np.sqrt(radius * high)
        else:
            high, radius = radius, np.sqrt(low * radius) if low else radius / 16.0
    return low


def _guarded(prover: Prover, radius: float) -> float:
    """Rate on a ball; -inf also where it has a kink or its metric may be singular: a smaller one is tried."""
    try:
        return prover.rate(radius)
    except InputError:
        return -np.inf


def _enough(lower: float, rate: float) -> bool:
    return lower >= rate and (lower > 0.0 or rate < 0.0)


def _result(prover: Prover, status: str, rate: float, radius: float, message: str) -> ContractionProof:
    form = prover.forms.get(radius, (0.0, "none"))[1] if status == "proved" else "none"
    return ContractionProof(
        status, rate, radius, False, 0.0, None, prover.looked, None, message, prover.centre, prover.metric, form, 0.0
    )


def _with_basin(prover: Prover, found: ContractionProof) -> ContractionProof:
    """Add the basin, on the ball or on half of it, where the rate is larger."""
    if not found.proved:
        return found
    for radius in (found.radius, 0.5 * found.radius):
        rate = found.rate if radius == found.radius else _guarded(prover, radius)
        if not rate > 0.0:
            continue
        stretch, speed = prover.stretch(radius)
        within = float(np.nextafter(speed / rate, np.inf)) * (1.0 + 2.0**-48)
        if within < radius * (1.0 - 2.0**-48):
            reach = radius / stretch * (1.0 - 2.0**-40)
            basin = f"every start within {reach:.6g} converges to one equilibrium, at most {within:.3g} away"
            message = f"{found.message}; {basin}"
            return replace(found, basin=True, basin_radius=reach, equilibrium_within=within, message=message)
    return found


def _why(prover: Prover, lower: float, radius: float) -> str:
    """Say why nothing was decided, and what to try."""
    if not prover.affordable:
        return f"{prover.problem.size} weights and {prover.problem.samples} samples are too many to enclose derivatives"
    if prover.late:
        return "the time was up before anything was proved or refuted"
    if not prover.at_centre[2].finite:
        return "the energy or its derivatives overflow at the centre: nothing is known there"
    where = f"within {radius:.6g} of the centre" if radius else "on any ball that was tried"
    least = f", only that it is above {lower:.6g}" if np.isfinite(lower) else ""
    return f"no rate was proved {where}{least}, and no counterexample found: try a smaller radius, or more boxes"


def _positive(what: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{what} must be a positive number, got {value!r}") from None
    if not (np.isfinite(number) and number > 0.0):
        raise InputError(f"{what} must be a positive finite number, got {number:g}")
    return number
