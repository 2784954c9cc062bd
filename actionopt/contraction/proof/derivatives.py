"""Derivatives of the energy over boxes of weights: the loss of every sample on nested jets over intervals.

Weights are counted in units of the mass: `w = c + s x` with `s = 1/sqrt(D)` rounded, so that a ball of the norm
`|w - c|_D` is one of `|x|`, up to `ROUNDED`, and the mass is the identity. Derivatives are those in x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.contraction.proof.squared import all_squared, squared_energy
from actionopt.contraction.proof.symmetry import symmetric
from actionopt.network import Network
from actionopt.ops.base import Array, Ops
from actionopt.ops.dual import DualOps
from actionopt.ops.interval import INTERVAL
from actionopt.ops.jets import jets_over
from actionopt.ops.rounded import TINY, Interval, as_interval, ball, point, unknown_stays
from actionopt.problem import Problem

ROUNDED = 1.0 + 2.0**-48  # what the rounding of s makes of a length, with room


def unit_scale(problem: Problem) -> np.ndarray:
    """Return s `(n,)`: the weights' units, in which the mass is the identity."""
    return 1.0 / np.sqrt(problem.mass)


def box_of(problem: Problem, centre: np.ndarray, radius: Any) -> Interval:
    """Return the box `(..., n)` around the ball `|w - centre|_D <= radius`; radius is a number or `(..., n)`, in x."""
    lengths = np.broadcast_to(np.asarray(radius, dtype=float), np.shape(centre))
    if not lengths.any():
        return point(centre)
    return ball(centre, lengths * unit_scale(problem) * ROUNDED + TINY)


def derivatives(
    problem: Problem, box: Interval, order: int, visit: Callable[[Ops], Any] | None = None
) -> list[Interval]:
    """Enclose energy, gradient, Hessian, .. in x over boxes of weights.

    Parameters
    ----------
    problem : Problem
    box : Interval (..., n)
    order : int
        Of the highest derivative.
    visit : callable, optional
        Makes, for a namespace, a visit for `Network.forward`, as `sharpen` has it.

    Returns
    -------
    list of Interval
        `(...)`, `(..., n)`, `(..., n, n)`, .., each symmetric.
    """
    ops, w = seeded(problem, box, order)
    n, network = problem.size, exact_network(problem)
    states = network.forward(ops, network.split(ops, w), None if visit is None else visit(ops))
    lead = box.shape[:-1]
    if all_squared(network):
        found = _squared(problem, network, ops, states, order, lead)
    else:
        losses, own = network.values(ops, states), (*lead, problem.samples)
        found = [_mean(derivative_of(ops, losses, order, k, n, own), k) for k in range(order + 1)]
    if problem.weight_decay:
        for k, term in enumerate(_decay(problem, box)[: order + 1]):
            found[k] = found[k] + term
    found = [unless_unknown(x, found[0], k) for k, x in enumerate(found)]
    return [found[0], *[symmetric(x, k) for k, x in enumerate(found[1:], start=1)]]


def seeded(problem: Problem, box: Interval, order: int) -> tuple[Ops, Array]:
    """Return the namespace of jets of an order, and weights in it that move along every unit vector of x."""
    ops: Ops = INTERVAL
    w: Array = box
    n, lead = problem.size, len(box.shape) - 1
    for level in range(order):
        ops = jets_over(ops)
        w = ops.dual(w, np.diag(unit_scale(problem)).reshape(n, *[1] * (level + lead), n))
    return ops, w


def exact_network(problem: Problem, data: Any = None) -> Network:
    """Return the network on its samples as exact numbers, or on the intervals `data = (inputs, targets)`.

    Each is one array, or a tuple with one an input and one a cost.
    """
    network = problem.network
    inputs, targets = (network.data, network.targets) if data is None else map(_several, data)
    exact: Any = {"data": tuple(map(as_interval, inputs)), "targets": tuple(map(as_interval, targets))}
    return replace(network, **exact)


def _several(arrays: Any) -> tuple[Any, ...]:
    return arrays if isinstance(arrays, tuple) else (arrays,)


def derivative_of(ops: Ops, z: Array, order: int, k: int, n: int, own: tuple[int, ...]) -> Interval:
    """Take the k-th derivative of an array of shape `own` out of nested duals; its k axes of length n come last."""
    for level in range(order, 0, -1):
        assert isinstance(ops, DualOps)
        value, tangent = ops.parts(z)
        z, ops = (tangent if level <= k else value), ops.inner
        if z is None:
            return point(np.zeros((*own, *[n] * k)))
    shape = (*[n] * k, *own)

    def arranged(x: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.broadcast_to(x, shape), range(k), range(-k, 0)) if k else np.broadcast_to(x, shape)

    return as_interval(z).map(arranged)


def unless_unknown(x: Interval, value: Interval, k: int) -> Interval:
    """Return a k-th derivative: everything where nothing is known of the value, which may not be a number at all."""
    return unknown_stays(x, value[(..., *[None] * k)])


def _squared(
    problem: Problem, network: Network, ops: Ops, states: list[Array], order: int, lead: tuple[int, ...]
) -> list[Interval]:
    """The same as the mean of jets through the losses, from those of the outputs."""
    parts = []
    for term, target in zip(network.costs, network.targets, strict=True):
        own = (*lead, problem.samples, network.nodes[term.node].size)
        errors = [derivative_of(ops, states[term.node], order, k, problem.size, own) for k in range(order + 1)]
        errors[0] = errors[0] - target
        parts.append(squared_energy(errors, term.weight, problem.samples))
    return [sum(same[1:], start=same[0]) for same in zip(*parts, strict=True)]


def _mean(losses: Interval, k: int) -> Interval:
    """Average over the samples, the axis in front of the k last."""
    moved = losses.map(lambda x: np.moveaxis(x, -1 - k, -1))
    return INTERVAL.sum(moved) / float(losses.shape[-1 - k])


def unit_mass(n: int) -> Interval:
    """Return the mass in x, `(n, n)`: the identity, but for the rounding of s."""
    near = 2.0**-48
    return Interval((1.0 - near) * np.eye(n), (1.0 + near) * np.eye(n))


def decay(problem: Problem) -> Interval:
    """Return the Hessian in x of `rho/2 |w|^2`, `(n, n)`."""
    return point(unit_scale(problem)).square()[:, None] * (problem.weight_decay * np.eye(problem.size))


def _decay(problem: Problem, box: Interval) -> list[Interval]:
    """Value, gradient and Hessian in x of `rho/2 |w|^2`."""
    rho = problem.weight_decay
    return [INTERVAL.sum(box.square()) * (0.5 * rho), box * point(unit_scale(problem)) * rho, decay(problem)]
