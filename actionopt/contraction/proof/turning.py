"""How fast the matrices that decide a rate move over a region, in metrics that depend on the weights **[ours]**.

For squared errors, J, F and P the first three derivatives of the outputs in x, r the residuals and `u = -G^-1 dE/dx`:
the derivatives along x_k of the formulas of `metrics`. With `q = r + J u`, sums over samples and outputs divided by B,

    G'_k = F_k J^T + J F_k^T  (within a block),        u_k = -G^-1 (H_k + G'_k u),
    R'_k = F_k J^T + J F_k^T + P_k . q + F . q_k,      q_k = J_k + F_k u + J u_k              in the joint metric,

and in the layerwise one, with u_a the part of u that belongs to the module of weight i, q_a and q_ak formed with it,

    C'_kij    = F_ki J_j + J_i F_kj + P_kij . q_a + F_ij . q_ak + F_ki (F u_a)_j + J_i ((P_k u_a)_j + (F u_ak)_j)
    Gdot'_kij = ((P_k u)_i + (F u_k)_i) J_j + (F u)_i F_kj + the same turned,      R' = sym C' - Gdot' / 2.

At a point x of the ball R and G are those of the centre plus `R'[x]` and `G'[x]` of a mean over the ball.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.contraction.proof.metrics import Pencil, blocks_of
from actionopt.contraction.proof.outputs import Outputs, rows
from actionopt.ops.interval import INTERVAL, solved
from actionopt.ops.rounded import Interval, point
from actionopt.problem import Problem


@dataclass(frozen=True)
class Turning:
    """Derivatives of R and G over a region, their first axis that of x: `(n, n, n)` each."""

    form: Interval
    metric: Interval


def can_turn(problem: Problem, costs: list[Outputs]) -> bool:
    """Whether the formulas hold: squared errors, pulled back with a constant metric of the outputs."""
    return all(cost.squared for cost in costs) and problem.output_metric in ("fisher", "euclidean")


def turning(problem: Problem, costs: list[Outputs], hessian: Interval, at: Pencil, metric: str) -> Turning:
    """Enclose the derivatives of R and G over a region.

    Parameters
    ----------
    problem : Problem
    costs : list of Outputs
        Over the region, with third derivatives; all squared errors.
    hessian : Interval (n, n)
        Of the energy, over the region.
    at : Pencil
        Over the region.
    metric : "joint" or "layerwise"
    """
    n = problem.size
    slices, own = blocks_of(problem, metric)
    jacobian = _stack([_weighted(cost, problem, _of(cost.jacobian), 1) for cost in costs])
    bent = _stack([_weighted(cost, problem, _of(cost.bent), 2) for cost in costs])
    deep = _stack([_weighted(cost, problem, _of(cost.deep), 3) for cost in costs])
    errors = _stack([_weighted(cost, problem, cost.z - cost.targets, 0) for cost in costs])
    u = at.velocity

    crossed = _both(_outer(bent, jacobian))  # F_ki J_j + J_i F_kj
    turned = crossed * own
    moved = -solved(at.metric, hessian + _contract(turned, u).map(np.transpose))  # u_k as columns, (n, k)
    form: Interval = point(np.zeros((n, n, n)))
    for piece in slices:
        mask = np.zeros(n)
        mask[piece] = 1.0
        part, part_moved = u * mask, moved * mask[:, None]
        bent_part = _contract(bent, part)  # (P, n)
        along = errors + _contract(jacobian, part)
        slope = jacobian + bent_part + INTERVAL.matmul(jacobian, part_moved)
        found = crossed + _sum(along, deep) + _outer(slope, bent)
        if len(slices) > 1:
            rest = _contract(deep, part) + INTERVAL.matmul(bent, part_moved).map(lambda x: np.swapaxes(x, -1, -2))
            found = found + _outer(bent, bent_part)
            found = found + _outer(rest, jacobian).map(lambda x: np.swapaxes(x, -1, -2))
        form = form + found * mask[:, None]
    if len(slices) > 1:
        rest = _contract(deep, u) + INTERVAL.matmul(bent, moved).map(lambda x: np.swapaxes(x, -1, -2))
        rate = _outer(rest, jacobian) + _outer(bent, _contract(bent, u)).map(lambda x: np.swapaxes(x, -1, -2))
        form = (_both(form) - _both(rate) * own) * 0.5
    return Turning(form, turned)


def _weighted(cost: Outputs, problem: Problem, x: Interval, own: int) -> Interval:
    """Join samples and outputs, times the root of the cost's share."""
    return rows(x * INTERVAL.sqrt(point(cost.weight) / float(problem.samples)), own)


def _stack(parts: list[Interval]) -> Interval:
    return Interval(np.concatenate([x.lo for x in parts]), np.concatenate([x.hi for x in parts]))


def _outer(left: Interval, right: Interval) -> Interval:
    """Return `sum_p left_p (x) right_p` as `(n, n, n)`: one of them has one axis, the other two."""
    n = left.shape[-1]
    flat = [x.map(lambda a: a.reshape(len(a), -1)) for x in (left, right)]
    return INTERVAL.matmul(INTERVAL.transpose(flat[0]), flat[1]).map(lambda a: a.reshape(n, n, n))


def _sum(weights: Interval, tensors: Interval) -> Interval:
    """Return `sum_p weights_p tensors_p`."""
    flat = tensors.map(lambda a: a.reshape(len(a), -1))
    return INTERVAL.matmul(weights[None], flat)[0].map(lambda a: a.reshape(tensors.shape[1:]))


def _contract(x: Interval, u: Interval) -> Interval:
    """Contract the last axis with u."""
    flat = x.map(lambda a: a.reshape(-1, a.shape[-1]))
    return INTERVAL.matmul(flat, u[:, None])[:, 0].map(lambda a: a.reshape(x.shape[:-1]))


def _both(x: Interval) -> Interval:
    """Add the tensor with its last two axes turned."""
    return x + x.map(lambda a: np.swapaxes(a, -1, -2))


def _of(x: Interval | None) -> Interval:
    assert x is not None
    return x
