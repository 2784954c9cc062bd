"""Outputs of a network over a region, with their derivatives in x (`derivatives`): forward jets over intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, derivative_of, exact_network, seeded, unless_unknown
from actionopt.contraction.proof.symmetry import symmetric
from actionopt.losses import Logistic, Loss, SquaredError
from actionopt.ops.base import Ops
from actionopt.ops.interval import INTERVAL
from actionopt.ops.jets import jets_over
from actionopt.ops.rounded import UNIT, Interval, as_interval, meet
from actionopt.problem import Problem


@dataclass(frozen=True)
class Outputs:
    """What one cost sees over a region: outputs z, their Jacobian J, second and third derivative F and P.

    Attributes
    ----------
    loss : Loss
    weight : float
        Of the cost.
    targets : Interval (B, t)
    z, jacobian, bent, deep : Interval (..., B, d), (..., B, d, n), (..., B, d, n, n), (..., B, d, n, n, n)
        None where they were not asked for.
    """

    loss: Loss
    weight: float
    targets: Interval
    z: Interval
    jacobian: Interval | None = None
    bent: Interval | None = None
    deep: Interval | None = None

    @property
    def squared(self) -> bool:
        """Whether the loss is half a squared distance, so that its Hessian is the identity."""
        return type(self.loss).curvature is SquaredError.curvature

    @property
    def separable(self) -> bool:
        """Whether the Hessian of the loss is known to be diagonal and not negative."""
        return self.squared or type(self.loss).curvature is Logistic.curvature

    def slopes(self) -> Interval:
        """Return the derivative of the cost in z, `(..., B, d)`."""
        return as_interval(self.loss.gradient(INTERVAL, self.z, self.targets)) * self.weight

    def curved(self, tangents: Interval) -> Interval:
        """Return the Hessian of the cost in z times tangents `(..., B, d, k)`."""
        if self.squared:
            return tangents * self.weight
        moved = tangents.map(lambda x: np.moveaxis(x, -1, 0))
        product = as_interval(self.loss.curvature(INTERVAL, self.z, self.targets, moved)) * self.weight
        return product.map(lambda x: np.moveaxis(x, 0, -1))

    def turned(self, along: Interval, tangents: Interval) -> Interval | None:
        """Return the derivative of the Hessian along `(..., B, d)`, times tangents `(..., B, d, k)`; None for zero."""
        if self.squared:
            return None
        ops = jets_over(INTERVAL)
        moved = tangents.map(lambda x: np.moveaxis(x, -1, 0))
        product = self.loss.curvature(ops, ops.dual(self.z, along), self.targets, ops.dual(moved, None))
        slope = ops.parts(product)[1]
        if slope is None:
            return None
        return (as_interval(slope) * self.weight).map(lambda x: np.moveaxis(x, 0, -1))


def outputs(
    problem: Problem, box: Interval, order: int, data: Any = None, visit: Callable[[Ops], Any] | None = None
) -> list[Outputs]:
    """Enclose what every cost sees over boxes of weights `(..., n)`, with derivatives up to `order` <= 3.

    `data = (inputs, targets)` takes the place of the problem's samples, as intervals or as numbers; `visit`
    is that of `derivatives`.
    """
    ops, w = seeded(problem, box, order)
    n, network = problem.size, exact_network(problem, data)
    states = network.forward(ops, network.split(ops, w), None if visit is None else visit(ops))
    found = []
    for term, targets in zip(network.costs, network.targets, strict=True):
        own = (*box.shape[:-1], network.samples, network.nodes[term.node].size)
        z, *slopes = [derivative_of(ops, states[term.node], order, k, n, own) for k in range(order + 1)]
        slopes = [unless_unknown(x, z, k) for k, x in enumerate(slopes, start=1)]
        jacobian = slopes[0] if slopes else None
        bent = symmetric(slopes[1], 2) if order > 1 else None
        deep = symmetric(slopes[2], 3) if order > 2 else None
        found.append(Outputs(term.loss, term.weight, as_interval(targets), z, jacobian, bent, deep))
    return found


def centred(wide: list[Outputs], centre: list[Outputs], radius: float) -> list[Outputs]:
    """Sharpen enclosures over the ball `|x| <= radius` around a centre by the mean value theorem.

    On a ball a function moves by at most the radius times the norm of its gradient, which a box overestimates by up to
    sqrt(n).
    """
    return [_centred(a, b, radius * ROUNDED) for a, b in zip(wide, centre, strict=True)]


def _centred(wide: Outputs, centre: Outputs, radius: float) -> Outputs:
    jacobian = wide.jacobian
    assert jacobian is not None
    assert centre.jacobian is not None
    if wide.bent is not None:
        jacobian = meet(jacobian, _moved(centre.jacobian, wide.bent, radius))
    return replace(wide, jacobian=jacobian, z=meet(wide.z, _moved(centre.z, jacobian, radius)))


def _moved(value: Interval, slope: Interval, radius: float) -> Interval:
    with np.errstate(all="ignore"):
        reach = norms_up(slope.magnitude) * radius * (1.0 + UNIT)
        reach = np.where(np.isnan(reach), np.inf, reach)
    return value + Interval(-reach, reach)


def norms_up(x: np.ndarray) -> np.ndarray:
    """Euclidean norms along the last axis, rounded up."""
    with np.errstate(all="ignore"):
        return np.sqrt((x * x).sum(axis=-1)) * (1.0 + (x.shape[-1] + 8) * UNIT) + 2.0**-500


def rows(x: Interval, own: int) -> Interval:
    """Join samples and outputs into one axis: `(..., B, d, n..)` to `(..., P, n..)` with `own` axes behind."""
    lead, tail = x.shape[: x.ndim - 2 - own], x.shape[x.ndim - own :]
    return x.map(lambda a: a.reshape((*lead, -1, *tail)))


def joined(x: Interval, weights: Interval) -> Interval:
    """Return `sum_p weights_p x_p`, `(..., n..)` of rows `(..., P, n..)` and `(..., P)`."""
    lead = weights.shape[:-1]
    tail = x.shape[len(lead) + 1 :]
    flat = x.map(lambda a: a.reshape((*lead, a.shape[len(lead)], -1)))
    return INTERVAL.matmul(weights[..., None, :], flat).map(lambda a: a.reshape((*lead, *tail)))
