"""`prove_contraction`: a rate on a ball of weights, proved, and the basin that follows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.contraction.proof.prover import Prover, enough
from actionopt.contraction.proof.refute import find_counterexample, upper_rate
from actionopt.contraction.proof.result import Proof
from actionopt.contraction.proof.search import guarded, largest_radius
from actionopt.contraction.smooth import check_smooth
from actionopt.errors import InputError
from actionopt.metric.kinds import kind_of
from actionopt.problem import Problem, takes_problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 1e-3  # of the centre's rate, kept where a search asks for the largest radius


@dataclass(frozen=True, repr=False)
class ContractionProof(Proof):
    """Whether the flow contracts on a ball of weights, proved, refuted or neither.

    Attributes
    ----------
    status : str
        "proved", "refuted" (a point of the ball with a smaller rate was found and checked) or "undecided".
    message : str
        What the status means here, and what to try.
    seconds : float
        Processor time.
    rate : float
        Lower bound of the contraction rate on the ball where it is proved; -inf where nothing is known, and an upper
        bound of the least rate where it is refuted.
    radius : float
        Of the ball `|w - centre|_D <= radius`, D the mass; 0 where a search proved none.
    basin : bool
        Whether every flow that starts in the basin, the ball of `basin_radius`, stays in the region and converges to
        the only equilibrium there.
    basin_radius : float
        0 where there is none.
    equilibrium_within : float or None
        A distance from the centre, in the norm of the mass, within which the equilibrium lies.
    boxes : int
        Number of boxes looked at.
    counterexample : array (n,) or None
        Weights in the ball where the rate is below what was asked.
    centre : array (n,)
    metric : str
    form : str
        Which argument proved it.

    Examples
    --------
    >>> ridge = ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 3.0], ao.SquaredError(), weight_decay=0.1)
    >>> proof = ao.prove_contraction(ridge, [2.0, 1.0], 0.5)
    >>> proof.status, bool(proof.rate > 0)
    ('proved', True)
    """

    rate: float
    radius: float
    basin: bool
    basin_radius: float
    equilibrium_within: float | None
    boxes: int
    counterexample: np.ndarray | None
    centre: np.ndarray
    metric: str
    form: str

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the radius that is proved, or that a counterexample was found within, into `ax` or a new figure."""
        from actionopt import figures
        from actionopt.contraction.proof.draw import draw_radii

        ax = figures.axes(ax)
        draw_radii(ax, [""], [self.radius if self.proved else 0.0], [self.radius if self.status == "refuted" else None])
        return ax

    def rows(self) -> list[tuple[str, Any]]:
        rows: list[tuple[str, Any]] = [
            ("radius", self.radius),
            ("rate below" if self.status == "refuted" else "rate above", self.rate),
        ]
        if self.basin:
            rows += [("basin of radius", self.basin_radius), ("equilibrium within", self.equilibrium_within)]
        return [*rows, ("form", self.form), ("boxes", self.boxes)]


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


def _on_ball(prover: Prover, radius: float, rate: float) -> ContractionProof:
    """Decide one ball."""
    if not prover.affordable:
        return _result(prover, "undecided", -np.inf, radius, _why(prover, -np.inf, radius))
    lower = prover.rate(radius)
    if enough(lower, rate):
        return _proved(prover, lower, radius)
    if (found := find_counterexample(prover.problem, prover.centre, radius, rate, prover.metric)) is not None:
        w, upper = found
        message = f"the rate is at most {upper:.6g} at the point given, where {_asked(rate)} was asked"
        return replace(_result(prover, "refuted", upper, radius, message), counterexample=w)
    return _result(prover, "undecided", lower, radius, _why(prover, lower, radius))


def _searched(prover: Prover, rate: float) -> ContractionProof:
    """Search the largest ball."""
    if not prover.affordable:
        return _result(prover, "undecided", -np.inf, 0.0, _why(prover, -np.inf, 0.0))
    upper = upper_rate(prover.problem, prover.centre, prover.metric)
    if upper < rate or (upper <= 0.0 and rate == 0.0):
        message = f"the rate is at most {upper:.6g} at the centre, where {_asked(rate)} was asked"
        return replace(_result(prover, "refuted", upper, 0.0, message), counterexample=prover.centre)
    level = rate + MARGIN * max(upper - rate, 0.0) if np.isfinite(upper) else rate
    radius = largest_radius(prover, level)
    if radius == 0.0:
        return _result(prover, "undecided", -np.inf, 0.0, _why(prover, -np.inf, 0.0))
    found = _proved(prover, prover.rate(radius), radius)
    if not prover.late:
        return found
    return replace(found, message=f"{found.message}; the time was up before a larger ball was tried")


def _proved(prover: Prover, lower: float, radius: float) -> ContractionProof:
    message = f"the rate is above {lower:.6g} everywhere within {radius:.6g} of the centre"
    return _result(prover, "proved", lower, radius, message)


def _asked(rate: float) -> str:
    return "more than 0" if rate == 0.0 else f"{rate:.6g}"


def _result(prover: Prover, status: str, rate: float, radius: float, message: str) -> ContractionProof:
    form = prover.forms.get(radius, (0.0, "none"))[1] if status == "proved" else "none"
    return ContractionProof(
        status=status, message=message, seconds=0.0, rate=rate, radius=radius, basin=False, basin_radius=0.0,
        equilibrium_within=None, boxes=prover.looked, counterexample=None, centre=prover.centre, metric=prover.metric,
        form=form,
    )  # fmt: skip


def _with_basin(prover: Prover, found: ContractionProof) -> ContractionProof:
    """Add the basin, on the ball or on half of it, where the rate is larger."""
    if not found.proved:
        return found
    for radius in (found.radius, 0.5 * found.radius):
        rate = found.rate if radius == found.radius else guarded(prover, radius)
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
    if not (prover.at_centre[0].finite and prover.at_centre[2].finite):
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
