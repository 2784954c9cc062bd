"""Rates over a region in the joint and the layerwise metric: exact formulas, evaluated on intervals **[ours]**.

With z the outputs of a cost, J and F their derivatives in x, l' and H_l those of the loss, g the output metric and
`G = 1 + 1/B sum_b J^T g J`, `u = -G^-1 dE/dx`, the matrix of `d/dt (d^T G d) = -2 d^T R d` is, joint metric,

    R = rho s^2 + 1/B sum_b [ J^T (H_l + 1/2 Dg[J u]) J + F . (l' + g J u) ]

for an output metric that is a Hessian (fisher) or constant: the derivatives of G through J cancel. In the layerwise
metric, with a the module of weight i and u_a its part of u,

    R = sym C - Gdot / 2,
    C_ij    = rho s^2 + 1/B sum_b [ J_i g_l J_j + F_ij . (l' + g J u_a) + J_i g (F u_a)_j + J_i Dg[J u_a] J_j ]
    Gdot_ij = 1/B sum_b [ (F u)_i g J_j + J_i g (F u)_j + J_i Dg[J u] J_j ]     within a module, 0 between modules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.contraction.proof.derivatives import decay, unit_mass
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.outputs import Outputs, joined, norms_up, rows
from actionopt.contraction.proof.taylor import weighed
from actionopt.errors import InputError
from actionopt.ops.interval import INTERVAL, solved
from actionopt.ops.rounded import UNIT, Interval, meet, middle, point
from actionopt.problem import Problem


@dataclass(frozen=True)
class Pencil:
    """The matrices that decide the rate over a region: R and G, with the velocity u, all in x.

    Attributes
    ----------
    form, metric : Interval (n, n)
    velocity : Interval (n,)
    """

    form: Interval
    metric: Interval
    velocity: Interval

    def rate(self) -> float:
        """Return a lower bound of the eigenvalues of `(R, G)`; -inf for none."""
        if not (self.form.finite and self.metric.finite):
            return -np.inf
        form, metric = middle(self.form)[0], middle(self.metric)[0]
        chol = np.linalg.cholesky(metric)
        half = np.linalg.solve(chol, form)
        values, vectors = np.linalg.eigh(_even(np.linalg.solve(chol, half.T)))
        w = np.linalg.solve(chol.T, vectors)
        level = float(values[0])
        rest = float(least_eigenvalue(weighed(self.form - self.metric * level, w)))
        lengths = weighed(self.metric, w)
        least, most = float(least_eigenvalue(lengths)), float(greatest_eigenvalue(lengths))
        if not least > 0.0:
            return -np.inf
        return float(np.nextafter(level + np.nextafter(rest / (most if rest >= 0.0 else least), -np.inf), -np.inf))


def pencil(
    problem: Problem, costs: list[Outputs], gradient: Interval, metric: str, slope: Interval | None = None
) -> Pencil:
    """Enclose R, G and u over a region.

    Parameters
    ----------
    problem : Problem
    costs : list of Outputs
        Over the region, with second derivatives.
    gradient : Interval (n,)
        Of the energy in x, over the region; or without what `slope` adds.
    metric : "joint" or "layerwise"
    slope : Interval (n, n), optional
        The gradient moves by this times any vector of length one.

    Raises
    ------
    InputError
        If the metric is a callable, or is not positive over the region.
    """
    if callable(problem.output_metric):
        raise InputError("a proof knows the output metrics 'fisher' and 'euclidean', and None; this one is a callable")
    slices, own = blocks_of(problem, metric)
    share = point(1.0) / float(problem.samples)
    matrix = metric_matrix(problem, costs, metric)
    velocity = -_solved(matrix, gradient, slope)
    form = decay(problem)
    for cost in costs:
        form = form + _own_form(problem, cost, velocity, slices, own) * share
    return Pencil(_symmetrised(form), matrix, velocity)


def metric_matrix(problem: Problem, costs: list[Outputs], metric: str) -> Interval:
    """Enclose G in x over a region, `(n, n)`."""
    own = blocks_of(problem, metric)[1]
    matrix = unit_mass(problem.size)
    for cost in costs:
        jacobian = _of(cost.jacobian)
        matrix = matrix + _gram(jacobian, _measured(problem, cost, jacobian)) * (point(own) / float(problem.samples))
    return matrix


def sample_rows(problem: Problem, costs: list[Outputs], metric: str) -> np.ndarray:
    """Bound the squared norm of every sample's rows over a region, `(B,)`: of what it adds to B (G - 1)."""
    slices, _ = blocks_of(problem, metric)
    best: list[np.ndarray] = []
    for piece in slices:
        total: np.ndarray | float = 0.0
        for cost in costs:
            jacobian = _of(cost.jacobian)[..., piece]
            product = INTERVAL.matmul(INTERVAL.transpose(jacobian), _measured(problem, cost, jacobian))
            total = total + np.maximum(greatest_eigenvalue(product), 0.0)
        best.append(np.asarray(total))
    return np.max(best, axis=0) * (1.0 + 8.0 * UNIT)


def blocks_of(problem: Problem, metric: str) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the blocks of the metric, and a matrix `(n, n)` that is one on them."""
    n = problem.size
    slices = problem.slices if metric == "layerwise" else (slice(0, n),)
    own = np.zeros((n, n))
    for piece in slices:
        own[piece, piece] = 1.0
    return slices, own


def _own_form(
    problem: Problem, cost: Outputs, velocity: Interval, slices: tuple[slice, ...], own: np.ndarray
) -> Interval:
    """What one cost gives to R, times the number of samples."""
    jacobian, bent = _of(cost.jacobian), _of(cost.bent)
    found = _gram(jacobian, cost.curved(jacobian))
    n = problem.size
    for piece in slices:
        mask = np.zeros(n)
        mask[piece] = 1.0
        part = velocity * mask
        along = _along(jacobian, part)  # (B, d)
        measured = _measured(problem, cost, along[..., None])[..., 0]
        pulled = joined(rows(bent, 2), rows(cost.slopes() + measured, 0))
        if len(slices) > 1:
            moved = _along(bent, part)  # (B, d, n)
            pulled = pulled + _gram(jacobian, _measured(problem, cost, moved))
        if (turned := _turned_metric(problem, cost, along, jacobian)) is not None:
            pulled = pulled + _gram(jacobian, turned) * (1.0 if len(slices) > 1 else 0.5)
        found = found + pulled * mask[:, None]
    if len(slices) == 1:
        return found
    moved = _along(bent, velocity)
    rate = _gram(jacobian, _measured(problem, cost, moved))
    rate = rate + INTERVAL.transpose(rate)
    if (turned := _turned_metric(problem, cost, _along(jacobian, velocity), jacobian)) is not None:
        rate = rate + _gram(jacobian, turned)
    return _symmetrised(found) - rate * (0.5 * own)


def _measured(problem: Problem, cost: Outputs, tangents: Interval) -> Interval:
    """Apply the output metric to tangents `(B, d, k)`."""
    if problem.output_metric is None:
        return tangents * 0.0
    return tangents * cost.weight if problem.output_metric == "euclidean" else cost.curved(tangents)


def _turned_metric(problem: Problem, cost: Outputs, along: Interval, tangents: Interval) -> Interval | None:
    """Apply the derivative of the output metric; None where it is constant."""
    return cost.turned(along, tangents) if problem.output_metric == "fisher" else None


def _gram(a: Interval, b: Interval) -> Interval:
    """Return `sum_p a_p^T b_p` over samples and outputs, `(n, n)`."""
    left, right = rows(a, 1), rows(b, 1)
    return INTERVAL.matmul(INTERVAL.transpose(left), right)


def _along(x: Interval, u: Interval) -> Interval:
    """Contract the last axis with u."""
    return INTERVAL.matmul(x if x.ndim > 2 else x[None], u[:, None])[..., 0]


def _solved(matrix: Interval, right: Interval, slope: Interval | None) -> Interval:
    """Enclose the solution of a linear system of the metric.

    Raises
    ------
    InputError
        If a matrix inside may be singular.
    """
    found = solved(matrix, right[:, None], slope)[..., 0]
    if matrix.finite and right.finite and not found.finite:
        raise InputError("the metric may be singular over this region: take a smaller radius, or a larger mass")
    return found


def _symmetrised(matrix: Interval) -> Interval:
    return (matrix + INTERVAL.transpose(matrix)) * 0.5


def _even(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.T)


def _of(x: Interval | None) -> Interval:
    assert x is not None
    return x


def gradient_over(centre: Interval, hessian: Interval, radius: float, wide: Interval) -> Interval:
    """Return the gradient over a ball from that at its centre and the Hessian over it, met with another enclosure."""
    reach = norms_up(hessian.magnitude) * radius * (1.0 + 4.0 * UNIT)
    return meet(centre + Interval(-reach, reach), wide)
