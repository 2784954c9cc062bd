"""`prove_stability`: how far one replaced sample can move what the flow learns, proved **[ours]**.

Let S and S' be data sets of n samples that differ in one, z and z', both flows started at the same weights. With the
metric the mass, the rate of S at least lam on the ball `|w - c|_D <= R`, and

    d = 1/n sup |grad l_z - grad l_z'|_{D^-1}            over the ball and all pairs that may be exchanged,

`|velocity(c)| + d < lam R` keeps both flows in the ball, and their distance obeys `r' <= -lam r + d`, so

    |w_1 - w_2|_D <= (1 - exp(-lam T)) d / lam.

Followed mode by mode (`modes`) neither directions nor different curvatures are lost: the smaller bound counts. The
limits alone satisfy `H (w_1 - w_2) = (grad l_z - grad l_z')(w_2) / n` with a mean H of the Hessian, whence
`|w_1 - w_2| <= |H_c^-1 (grad l_z - grad l_z')| / n / (1 - eta)`, eta the distance of H from H_c, seen by H_c^-1. In a
metric that depends on the data, `G_S - G_S'` moves the velocity u too: with `sigma = |G^-1|`, Gamma the largest squared
norm of a sample's rows,

    |u_S - u_S'|  <=  sigma/n (n d + Gamma |u_S|) / (1 - sigma Gamma / n).

In mini-batch descent with steps eta and one stream of indices, if every sample's loss with decay is convex and
L-smooth on the ball, `E |w_1 - w_2|_D <= 2 eta d / (1 - q)`, `q^2 = 1 - eta lam (2 - eta L)`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, unit_scale
from actionopt.contraction.proof.exchange import Exchange
from actionopt.contraction.proof.lipschitz import read_data
from actionopt.contraction.proof.outputs import norms_up
from actionopt.contraction.proof.prover import Prover
from actionopt.contraction.proof.result import Proof
from actionopt.contraction.smooth import check_smooth
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.metric.batched import METRICS
from actionopt.ops.rounded import point
from actionopt.problem import Problem, takes_problem

QUANTITIES = ("loss", "weights", "limit")


@dataclass(frozen=True, repr=False)
class StabilityProof(Proof):
    """A bound on what replacing one sample can change.

    Attributes
    ----------
    status : str
        "proved" or "undecided".
    message : str
        What the status means here, and what to try.
    seconds : float
        Processor time.
    bound : float
        On the quantity, for every replacement; inf where nothing is proved.
    quantity : str
        "loss": `|loss_z(w_1) - loss_z(w_2)|` of any sample, of the problem or a replacement; "weights": Euclidean
        distance at the horizon; "limit": Euclidean distance of the limits.
    rate : float
        Proved on the ball.
    radius : float
        Of the ball around the centre, in the norm of the mass, in which both flows may start.
    separation : float
        Bound d of the distance of the two velocities, in the metric.
    kappa : float
        Largest norm of a sample's gradient on the ball, dual to the mass.
    metric : str
    horizon : float or None

    Examples
    --------
    >>> ridge = ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 3.0], ao.SquaredError(), weight_decay=0.5)
    >>> centre = ao.train(ridge).weights
    >>> proof = ao.prove_stability(ridge, centre, replacements=([[0.5]], [[2.0]]), quantity="limit")
    >>> bool(proof.proved and proof.bound > 0)
    True
    """

    bound: float
    quantity: str
    rate: float
    radius: float
    separation: float
    kappa: float
    metric: str
    horizon: float | None

    def rows(self) -> list[tuple[str, Any]]:
        return [
            (f"bound on the {self.quantity}", self.bound),
            ("rate above", self.rate),
            ("within the radius", self.radius),
            ("velocities apart by", self.separation),
            ("kappa", self.kappa),
        ]


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
    start: Any = None,
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
    start : array (n,), optional
        Where both start: the ball is grown until it holds these weights.

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
    if not is_name(quantity, QUANTITIES):
        raise unknown_name("quantity", quantity, QUANTITIES)
    if not is_name(metric, METRICS):
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
    away = 0.0 if start is None else _distance(problem, centre, problem.check_point(start, "start"))
    with np.errstate(all="ignore"):
        found = Exchange(prover, data, horizon, quantity, step_size, away).solve()
    return StabilityProof(
        "proved" if np.isfinite(found.bound) else "undecided", found.message, time.process_time() - begun,
        found.bound, quantity, found.rate, found.radius, found.separation, found.kappa, metric, horizon,
    )  # fmt: skip


def _distance(problem: Problem, centre: np.ndarray, start: np.ndarray) -> float:
    """Upper bound of `|start - centre|_D`."""
    return float(norms_up(((point(start) - centre) / point(unit_scale(problem))).magnitude)) * ROUNDED
