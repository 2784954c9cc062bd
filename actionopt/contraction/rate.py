"""Contraction rates: how fast neighbouring solutions of the gradient flow approach each other.

Along the flow small displacements d obey `d/dt (d^T G d) = d^T (Gdot + G J + J^T G) d <= -2 rate d^T G d`, so

    rate(w) = -1/2 * the largest eigenvalue of the pencil (Gdot + G J + J^T G, G)

(Lohmiller and Slotine 1998; for gradient flows Wensing and Slotine 2020). Where it is positive in a region, distances
in the metric shrink at least like exp(-rate t) there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh

from actionopt.action.trajectory import Trajectory
from actionopt.contraction.displacement import displacement
from actionopt.errors import InputError
from actionopt.problem import Problem, takes_problem
from actionopt.tables import html_table


@dataclass(frozen=True)
class Contraction:
    """The contraction rate at one point.

    Attributes
    ----------
    rate : float
        Exponential rate, per unit of the flow's time; negative where neighbours separate.
    direction : array (n,)
        The displacement that contracts least, of length one in the metric, its largest entry positive.
    weights : array (n,)
    metric : str

    Examples
    --------
    >>> found = ao.contraction_at(problem, w)
    >>> bool(found.rate == ao.contraction_rate(problem, w))
    True
    """

    rate: float
    direction: np.ndarray
    weights: np.ndarray
    metric: str

    @property
    def contracting(self) -> bool:
        """Whether neighbouring solutions approach each other here."""
        return self.rate > 0.0

    def __repr__(self) -> str:
        return f"Contraction(rate {self.rate:.6g} in the {self.metric} metric, {len(self.weights)} weights)"

    def _repr_html_(self) -> str:
        return html_table(("rate", "metric", "weights"), [(self.rate, self.metric, len(self.weights))])


@takes_problem
def contraction_at(problem: Problem, w: Any, *, metric: str = "layerwise") -> Contraction:
    """Compute the contraction rate at `w (n,)` and the direction that contracts least.

    Parameters
    ----------
    problem : Problem
    w : array (n,)
    metric : "layerwise", "joint" or "euclidean"
        Which metric the flow descends in and distances are measured in; euclidean is the mass alone.

    Returns
    -------
    Contraction

    Raises
    ------
    InputError
        If the weights or the metric cannot be used, something is not finite at w, or the energy has a kink there.

    Examples
    --------
    >>> bool(np.isfinite(ao.contraction_at(problem, w).rate))
    True
    """
    local = displacement(problem, w, metric)
    values, vectors = eigh(local.rate_form, local.metric, subset_by_index=[0, 0])
    direction = vectors[:, 0]
    return Contraction(float(values[0]), direction * np.sign(direction[abs(direction).argmax()]), local.weights, metric)


@takes_problem
def contraction_rate(problem: Problem, w: Any, *, metric: str = "layerwise") -> float:
    """Return the contraction rate at `w (n,)`: exact derivatives, in time O(n) reverse passes and O(n^3).

    Parameters, errors and convention are those of `contraction_at`. For the rate at each node of a trajectory see
    `rates_along`, which is also `contraction_rate.along`.

    Examples
    --------
    >>> import actionopt as ao
    >>> bowl = ao.Problem(ao.Parameter(2), None, [[0.0, 0.0]], ao.SquaredError(), output_metric=None, mass=[1.0, 4.0])
    >>> round(ao.contraction_rate(bowl, [0.3, -0.2]), 12)
    0.25
    """
    local = displacement(problem, w, metric)
    return float(eigh(local.rate_form, local.metric, eigvals_only=True, subset_by_index=[0, 0])[0])


@takes_problem
def rates_along(problem: Problem, trajectory: Trajectory | Any, *, metric: str = "layerwise") -> np.ndarray:
    """Compute the contraction rate at each node.

    Parameters
    ----------
    problem : Problem
    trajectory : Trajectory or array (N, n)
        The nodes, as a trajectory or as weights.
    metric : "layerwise", "joint" or "euclidean"

    Returns
    -------
    array (N,)

    Raises
    ------
    InputError
        As `contraction_at`, naming the node.

    Examples
    --------
    >>> found = ao.flow(problem, w, horizon=1.0, steps=4)
    >>> ao.rates_along(problem, found.weights).shape
    (5,)
    """
    nodes = problem.check_weights(trajectory.weights if isinstance(trajectory, Trajectory) else trajectory)
    rates = np.empty(len(nodes := np.atleast_2d(nodes)))
    for k, w in enumerate(nodes):
        try:
            rates[k] = contraction_rate(problem, w, metric=metric)
        except InputError as error:
            raise InputError(f"node {k}: {error}") from error
    return rates


contraction_rate.along = rates_along  # type: ignore[attr-defined]
