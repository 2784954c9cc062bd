"""`prove_stability`: how far one replaced sample can move what the flow learns, proved **[ours]**.

Let S and S' be data sets of n samples that differ in one, z and z', both flows started at the same weights. With the
metric the mass, the rate of S at least lam on the ball `|w - c|_D <= R`, and

    d = 1/n sup |grad l_z - grad l_z'|_{D^-1}            over the ball and all pairs that may be exchanged,

`|velocity(c)| + d < lam R` keeps both flows in the ball, and their distance obeys `r' <= -lam r + d`, so

    |w_1 - w_2|_D <= (1 - exp(-lam T)) d / lam.

The limits alone satisfy `H (w_1 - w_2) = (grad l_z - grad l_z')(w_2) / n` with a mean H of the Hessian, whence
`|w_1 - w_2| <= |H_c^-1 (grad l_z - grad l_z')| / n / (1 - eta)`, eta the distance of H from H_c, seen by H_c^-1:
nothing is lost to different curvatures. In a metric that depends on the data, `G_S - G_S'` moves the velocity u too:
with `sigma = |G^-1|`, Gamma the largest squared norm of a sample's rows,

    |u_S - u_S'|  <=  sigma/n (n d + Gamma |u_S|) / (1 - sigma Gamma / n).

In mini-batch descent with steps eta and one stream of indices, if every sample's loss with decay is convex and
L-smooth on the ball, `E |w_1 - w_2|_D <= 2 eta d / (1 - q)`, `q^2 = 1 - eta lam (2 - eta L)`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, box_of, unit_scale
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.lipschitz import read_data
from actionopt.contraction.proof.metrics import metric_matrix, sample_rows
from actionopt.contraction.proof.outputs import norms_up, outputs
from actionopt.contraction.proof.prover import Prover
from actionopt.contraction.proof.samples import Slopes, greatest_separation, matrix_norms, slopes_over
from actionopt.contraction.proof.taylor import spread_of
from actionopt.contraction.smooth import check_smooth
from actionopt.errors import InputError, unknown_name
from actionopt.metric.batched import METRICS
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import UNIT, Interval, middle, point
from actionopt.problem import Problem, takes_problem
from actionopt.tables import html_table, text_table

QUANTITIES = ("loss", "weights", "limit")
TRIES = 14  # radii tried


@dataclass(frozen=True)
class StabilityProof:
    """A bound on what replacing one sample can change.

    Attributes
    ----------
    status : str
        "proved" or "undecided".
    bound : float
        On the quantity, for every replacement; inf where nothing is proved.
    quantity : str
        "loss": `|loss_z(w_1) - loss_z(w_2)|` of any sample, of the problem or a replacement; "weights": Euclidean
        distance at the horizon; "limit": Euclidean distance of the limits.
    rate : float
        Proved on the ball.
    radius : float
        Of the ball around the centre that both flows stay in when they start within it.
    separation : float
        Bound d of the distance of the two velocities, in the metric.
    kappa : float
        Largest norm of a sample's gradient on the ball, dual to the mass.
    metric : str
    horizon : float or None
    message : str
    seconds : float
        Processor time.

    Examples
    --------
    >>> ridge = ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 3.0], ao.SquaredError(), weight_decay=0.5)
    >>> centre = ao.train(ridge).weights
    >>> proof = ao.prove_stability(ridge, centre, replacements=([[0.5]], [[2.0]]), quantity="limit")
    >>> bool(proof.proved and proof.bound > 0)
    True
    """

    status: str
    bound: float
    quantity: str
    rate: float
    radius: float
    separation: float
    kappa: float
    metric: str
    horizon: float | None
    message: str
    seconds: float

    @property
    def proved(self) -> bool:
        """Whether the bound holds."""
        return self.status == "proved"

    @property
    def ok(self) -> bool:
        """The same as `proved`."""
        return self.proved

    def _rows(self) -> list[tuple[str, Any]]:
        return [
            ("status", self.status),
            (f"bound on the {self.quantity}", self.bound),
            ("rate above", self.rate),
            ("within the radius", self.radius),
            ("velocities apart by", self.separation),
            ("kappa", self.kappa),
            ("seconds", round(self.seconds, 3)),
        ]

    def table(self) -> str:
        """Write what was found as two columns."""
        return text_table(("", "value"), self._rows())

    def __repr__(self) -> str:
        return f"StabilityProof({self.status}: {self.message})"

    def _repr_html_(self) -> str:
        return html_table(("", "value"), self._rows(), self.message)


@takes_problem
def prove_stability(
    problem: Problem,
    centre: Any,
    *,
    replacements: Any,
    horizon: float | None = None,
    quantity: str = "loss",
    metric: str = "euclidean",
    step_size: float | None = None,
) -> StabilityProof:
    """Bound what replacing one sample of a problem can change.

    Parameters
    ----------
    problem : Problem
    centre : array (n,)
        Near the minimum that the flow goes to, as `train` returns it; the flows start in the ball of `.radius` around.
    replacements : (inputs, targets)
        The samples that may come in the place of one of the problem's, as arrays or boxes (`bound_lipschitz`).
    horizon : float, optional
        Time the flows run for; arbitrarily long where None.
    quantity : "loss", "weights" or "limit"
        What is bounded: the change of a sample's loss, the distance of the weights, or that of the limits alone.
    metric : "euclidean", "joint" or "layerwise"
        Of the flow; the last two depend on the data, and the bound covers that.
    step_size : float, optional
        Bound mini-batch gradient descent with this step, both runs drawing the same indices, in expectation, in place
        of the flow; euclidean metric, not for "limit".

    Returns
    -------
    StabilityProof

    Raises
    ------
    InputError
        If an argument cannot be used.

    Examples
    --------
    >>> ridge = ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 3.0], ao.SquaredError(), weight_decay=0.5)
    >>> centre = ao.train(ridge).weights
    >>> proof = ao.prove_stability(ridge, centre, replacements=([[0.5]], [[2.0]]), quantity="limit")
    >>> bool(proof.proved)
    True
    """
    if quantity not in QUANTITIES:
        raise unknown_name("quantity", quantity, QUANTITIES)
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    centre = problem.check_weights(centre, "centre")
    if centre.ndim != 1:
        raise InputError(f"centre must have shape ({problem.size},), one point; got {centre.shape}")
    for what, value in (("horizon", horizon), ("step_size", step_size)):
        if value is not None and not (np.isfinite(value) and value > 0.0):
            raise InputError(f"{what} must be positive and finite, got {value}")
    if step_size is not None and (metric != "euclidean" or quantity == "limit"):
        raise InputError("step_size bounds mini-batch descent in the euclidean metric, for 'loss' or 'weights'")
    data = read_data(problem, replacements)
    check_smooth(problem, centre, output_metric=metric != "euclidean")
    constant = metric == "euclidean" or problem.output_metric is None
    begun = time.process_time()
    prover = Prover(problem, centre, "euclidean" if constant else metric, 1, np.inf)
    task = _Task(prover, data, horizon, quantity, step_size)
    with np.errstate(all="ignore"):
        found = task.solve()
    bound, rate, radius, d, kappa, message = found
    status = "proved" if np.isfinite(bound) else "undecided"
    seconds = time.process_time() - begun
    return StabilityProof(status, bound, quantity, rate, radius, d, kappa, metric, horizon, message, seconds)


Found = tuple[float, float, float, float, float, str]


@dataclass
class _Task:
    """One bound: the ball is grown until both flows stay in it."""

    prover: Prover
    data: tuple[Interval, Interval]
    horizon: float | None
    quantity: str
    step_size: float | None

    def solve(self) -> Found:
        """Return bound, rate, radius, d, kappa and what they mean."""
        prover = self.prover
        slopes = self._slopes(0.0)
        rate = float(least_eigenvalue(prover.at_centre[2])) if prover.metric == "euclidean" else prover.rate(1e-12)
        d = greatest_separation(*slopes) / prover.problem.samples
        if not (rate > 0.0 and np.isfinite(d)):
            return np.inf, rate, 0.0, d, np.inf, "the flow is not proved to contract at the centre: no bound"
        radius = 1.05 * (prover.speed + d) / rate or 1e-9
        for _ in range(TRIES):
            found = self._on(radius)
            if found is not None:
                return found
            radius *= 1.3 if self.step_size is None else 2.0
        return (
            np.inf,
            prover.rate(radius),
            radius,
            d,
            np.inf,
            (
                f"no ball up to radius {radius:.4g} was proved that both flows stay in: "
                f"{prover.problem.samples} samples are too few for this rate, or the centre is too far from the minimum"
            ),
        )

    def _slopes(self, radius: float) -> tuple[Slopes, Slopes]:
        problem, centre = self.prover.problem, self.prover.centre
        return slopes_over(problem, centre, radius), slopes_over(problem, centre, radius, self.data)

    def _on(self, radius: float) -> Found | None:
        """Return what holds on a ball; None where the flows may leave it."""
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
        kappa = max(float(one.lengths().max()) for one in slopes)
        if self.step_size is not None:
            distance = self._descent(radius, rate, d, slopes)
            if not np.isfinite(distance):
                return None
        elif self.quantity == "limit":
            return self._limit(radius, rate, d, kappa, slopes)
        else:
            reached = 1.0
            if self.horizon is not None:
                reached = float((1.0 - INTERVAL.exp(point(-rate) * self.horizon)).hi)
            distance = _up(reached * d / rate)
        scale = float(unit_scale(prover.problem).max())
        bound = _up(distance * (kappa if self.quantity == "loss" else scale) * ROUNDED)
        how = "mini-batch descent, in expectation" if self.step_size is not None else "the flow"
        what = {"loss": "the loss of any sample changes", "weights": "the weights change"}[self.quantity]
        message = f"{what} by at most {bound:.6g} ({how}), rate {rate:.4g} within {radius:.4g} of the centre"
        return bound, rate, radius, d, kappa, message

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

    def _limit(self, radius: float, rate: float, d: float, kappa: float, slopes: tuple[Slopes, Slopes]) -> Found:
        prover = self.prover
        problem = prover.problem
        inverse = np.linalg.inv(middle(prover.at_centre[2])[0])
        off = float(matrix_norms(INTERVAL.matmul(point(inverse), prover.at_centre[2]) - np.eye(problem.size)))
        moved = np.inf
        if prover.order > 2:
            moved = spread_of(INTERVAL.matmul(point(inverse), prover.derivatives(radius)[3])) * radius * ROUNDED
        eta = _up(off + moved)
        distance = d / rate
        if eta < 1.0:
            apart = greatest_separation(*slopes, transform=inverse)
            distance = min(distance, apart / problem.samples / (1.0 - eta))
        bound = _up(distance * float(unit_scale(problem).max()) * ROUNDED)
        message = f"the limits are at most {bound:.6g} apart, rate {rate:.4g} within {radius:.4g} of the centre"
        return bound, rate, radius, d, kappa, message

    def _descent(self, radius: float, rate: float, d: float, slopes: tuple[Slopes, Slopes]) -> float:
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
