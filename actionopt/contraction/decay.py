"""The two-trajectory check: do neighbours approach each other as fast as the contraction rate says?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.action.flow import flow
from actionopt.contraction.rate import contraction_at, rates_along
from actionopt.errors import InputError
from actionopt.metric.batched import BatchedMetric
from actionopt.problem import Problem, takes_problem
from actionopt.tables import html_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINEAR = 10.0  # how far log(distance) bends away from its linearisation, in separations
LOST = 1e3  # how many units of rounding the two solutions may differ by
HIDDEN = 1e-3  # relative error of a distance from which on it is not looked at


@dataclass(frozen=True)
class Decay:
    """The distance of two neighbouring solutions of the flow beside what the contraction rate allows.

    Attributes
    ----------
    times : array (N,)
        Nodes, up to where rounding hides the distance.
    distances : array (N,)
        `sqrt(d^T G d)` of the two solutions' difference d, G half-way between them.
    rates : array (N,)
        Contraction rate half-way between them.
    certificate : array (N,)
        `distances[0] * exp(-int_0^t rate)`, the integral by the trapezoidal rule.
    tolerance : array (N,)
        How far log(distance) may exceed log(certificate): the error of the two solutions and of the integral, estimated
        by taking half as many steps, and what separation and rounding add.
    metric : str

    Examples
    --------
    >>> decay = ao.check_decay(problem, w, horizon=0.5, steps=10)
    >>> decay.ok
    True
    """

    times: np.ndarray
    distances: np.ndarray
    rates: np.ndarray
    certificate: np.ndarray
    tolerance: np.ndarray
    metric: str

    @property
    def excess(self) -> np.ndarray:
        """`log(distance / certificate)` at each node: at most the tolerance."""
        return np.log(self.distances / self.certificate)

    @property
    def ok(self) -> bool:
        """Whether the distance is nowhere above the certificate, beyond the tolerance."""
        return bool((self.excess <= self.tolerance).all())

    @property
    def measured_rate(self) -> float:
        """Mean exponential rate at which the distance shrank."""
        return float(-np.log(self.distances[-1] / self.distances[0]) / self.times[-1])

    @property
    def certified_rate(self) -> float:
        """Mean contraction rate."""
        return float(-np.log(self.certificate[-1] / self.certificate[0]) / self.times[-1])

    @property
    def status(self) -> str:
        """The verdict: "holds" or "violated"."""
        return "holds" if self.ok else "violated"

    @property
    def message(self) -> str:
        """The two mean rates, and what to try where the certificate is violated."""
        rates = f"measured {self.measured_rate:.4g}, certified {self.certified_rate:.4g}"
        if self.ok:
            trend = "approach at least as fast as" if self.measured_rate > 0.0 else "separate no faster than"
            return f"the two solutions {trend} the rate says (mean rate {rates})"
        worst = int((self.excess - self.tolerance).argmax())
        return (
            f"the distance exceeds the certificate at t = {self.times[worst]:.4g} ({rates}): the steps are too long "
            "for the error estimate, or the separation is too large; take more steps or a smaller separation"
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw distance and certificate on a logarithmic axis into `ax`, or a new figure."""
        from actionopt import figures

        ax = figures.axes(ax)
        ax.semilogy(self.times, self.distances, label="measured distance")
        ax.semilogy(self.times, self.certificate, "--", label=r"certificate $d_0\,e^{-\int \mathrm{rate}}$")
        ax.set_xlabel("time")
        ax.set_ylabel(f"distance in the {self.metric} metric")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        return (
            f"Decay({self.status}: measured rate {self.measured_rate:.4g}, certified {self.certified_rate:.4g}, "
            f"to t = {self.times[-1]:.4g})"
        )

    def _repr_html_(self) -> str:
        row = (self.status, self.measured_rate, self.certified_rate, self.times[-1])
        return html_table(("status", "measured rate", "certified rate", "to t"), [row], self.message)


@takes_problem
def check_decay(
    problem: Problem,
    w0: Any = None,
    *,
    horizon: float,
    steps: int = 100,
    metric: str = "layerwise",
    separation: float = 1e-6,
    direction: Any = None,
    method: str = "gauss2",
    progress: bool = False,
) -> Decay:
    """Integrate two nearby starts, and hold the decay of their distance against the contraction rate.

    Parameters
    ----------
    problem : Problem
    w0 : array (n,), optional
        Half-way between the two starts; `problem.initial_weights()` where None.
    horizon : float
        Time to integrate over.
    steps : int
        Number of equal steps, even.
    metric : "layerwise", "joint" or "euclidean"
    separation : float
        Distance of the two starts in the metric, as a part of w0's length there or of one, whichever is more.
    direction : array (n,), optional
        Where the starts lie from each other; the direction that contracts least at w0 where None, so that the
        certificate starts out tight.
    method : str
        Of `flow`; "DOP853" for a start at a minimum, where rounding hides the residuals of the implicit equations.
    progress : bool
        Show progress bars on stderr.

    Returns
    -------
    Decay

    Raises
    ------
    InputError
        For input that `flow` or `contraction_rate` cannot use, or where rounding hides the distance at once.
    SolverError
        If a flow stops early.

    Examples
    --------
    >>> ao.check_decay(problem, w, horizon=0.5, steps=10).ok
    True
    """
    start = problem.check_weights(problem.initial_weights() if w0 is None else w0, "w0")
    if not (np.isfinite(separation) and separation > 0.0):
        raise InputError(f"separation must be positive and finite, got {separation!r}")
    if steps < 2 or steps % 2:
        raise InputError(f"steps must be an even number >= 2, so that they can be halved; got {steps!r}")
    offset = _offset(problem, start, direction, separation, metric)

    def integrate(w: np.ndarray, count: int) -> np.ndarray:
        found = flow(
            problem, w, horizon=horizon, steps=count, metric=metric, method=method, certify=False, progress=progress
        )
        return found.weights

    pair, coarse = (
        np.stack([integrate(start + sign * offset, count) for sign in (0.5, -0.5)]) for count in (steps, steps // 2)
    )
    return _compare(problem, np.linspace(0.0, horizon, steps + 1), pair, coarse, metric, separation)


def _offset(problem: Problem, start: np.ndarray, direction: Any, separation: float, metric: str) -> np.ndarray:
    if direction is None:
        direction = contraction_at(problem, start, metric=metric).direction
    direction = problem.check_weights(direction, "direction")
    if not direction.any():
        raise InputError("direction must not be zero")
    size = max(1.0, _length(problem, start, start, metric))
    return separation * size / _length(problem, start, direction, metric) * direction


def _length(problem: Problem, w: np.ndarray, d: np.ndarray, metric: str) -> Any:
    """`sqrt(d^T G(w) d)`, node by node."""
    return np.sqrt((d * BatchedMetric(problem, w, metric=metric).product(d)).sum(axis=-1))


def _compare(
    problem: Problem, times: np.ndarray, pair: np.ndarray, coarse: np.ndarray, metric: str, separation: float
) -> Decay:
    """Compare a pair of solutions `(2, N, n)` with the certificate, and with the pair of half as many steps."""
    middle, coarse_middle = pair.mean(axis=0), coarse.mean(axis=0)
    distances = _length(problem, middle, pair[0] - pair[1], metric)
    coarse_distances = _length(problem, coarse_middle, coarse[0] - coarse[1], metric)
    with np.errstate(divide="ignore"):
        rounding = np.finfo(float).eps * (1.0 + _length(problem, middle, middle, metric)) / distances
    kept = _visible(rounding)
    rates = rates_along(problem, middle[:kept], metric=metric)
    integral = _integral(times[:kept], rates)
    excess = np.log(distances[:kept] / distances[0]) + integral
    coarse_excess = np.log(coarse_distances[: (kept + 1) // 2] / coarse_distances[0])
    coarse_excess += _integral(times[:kept:2], rates[::2])
    error = np.maximum.accumulate(abs(coarse_excess - excess[::2]))
    following = np.minimum((np.arange(kept) + 1) // 2, len(error) - 1)
    tolerance = error[following] + LINEAR * separation + LOST * rounding[:kept]
    return Decay(times[:kept], distances[:kept], rates, distances[0] * np.exp(-integral), tolerance, metric)


def _visible(rounding: np.ndarray) -> int:
    """Count the nodes, an odd number, before rounding hides the distance.

    Raises
    ------
    InputError
        If there are fewer than three.
    """
    hidden = rounding * LOST > HIDDEN
    kept = int(hidden.argmax() - 1) // 2 * 2 + 1 if hidden.any() else len(rounding)
    if kept < 3:
        raise InputError(
            "rounding hides the distance of the two solutions within two steps: take a larger separation, or shorter "
            "steps where they contract fast"
        )
    return kept


def _integral(times: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Trapezoidal integral from the first to each node."""
    return np.concatenate([[0.0], np.cumsum(0.5 * np.diff(times) * (rates[1:] + rates[:-1]))])
