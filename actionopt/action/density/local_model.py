"""The local model of a gradient flow, `phi(w, u) = g(w) . u + 1/2 u^T G(w) u`, and its derivatives.

Its minimiser over u is the velocity of the Riemannian gradient flow, `u* = -G^{-1} g`, and the action density is
the gap `l(w, v) = phi(w, v) - min_u phi(w, u) = 1/2 |v - u*|^2_G` **[ours]**. So every derivative the action needs
is one of phi; G is only ever applied, to all stages at once, by pushing tangents through the chain and pulling
adjoints back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from actionopt.metric.kinds import kind_of
from actionopt.metric.output import output_product
from actionopt.modules.derived import pull_back
from actionopt.ops import DualOps, Linear, Ops, duals_over
from actionopt.ops.base import Array
from actionopt.ops.tape import bottom
from actionopt.problem import Problem


class LocalModel:
    """phi of a problem in one of its metrics.

    Parameters
    ----------
    problem : Problem
    metric : "layerwise", "joint" or "euclidean"
        Block diagonal over groups of weights, all of them at once, or the mass alone.

    Raises
    ------
    InputError
        If there is no metric of that name.

    Notes
    -----
    Joint: `u^T G u = u^T D u + 1/B sum_b |J u|^2` with one tangent J u of the outputs. Layerwise: a tangent for each
    group of weights, of its own alone, stacked on a leading axis.
    """

    def __init__(self, problem: Problem, metric: str) -> None:
        kind = kind_of(metric)
        self.problem = problem
        self.metric = metric
        self.constant = kind.constant(problem)
        self._moving = kind.tangents(problem)
        self._masks = None if self._moving is None else group_masks(problem)[self._moving]

    def momentum(self, ops: Ops, w: Array, u: Array) -> Array:
        """Return `dphi/du = G(w) u + g(w)`, `(..., n)`.

        Parameters
        ----------
        w, u : arrays (..., n) of `ops`
            NumPy arrays, duals, or duals with recorded tangents; u and tangents may have more leading axes than w.
        """
        network = self.problem.network
        if self.constant:
            weights = network.split(ops, w)
            states = network.forward(ops, weights)
            sources = network.slopes(ops, states)
        else:
            jets, lifted, jet_states = self._push(ops, w, u)
            weights, states = ([jets.parts(x)[0] for x in xs] for xs in (lifted, jet_states))
            sources = network.slopes(ops, states)
            for j, term in enumerate(network.costs):
                if (tangent := jets.parts(jet_states[term.node])[1]) is not None:
                    y, target = states[term.node], network.targets[j]
                    sources[term.node] = sources[term.node] + output_product(self.problem, j, ops, y, target, tangent)
        pulled = network.backward(ops, weights, states, self._mean(sources))[1]
        return self._decayed(self._own(ops, pulled, w), w) + u * ops.row(self.problem.mass)

    def derivatives(self, ops: Ops, w: Array, u: Array) -> tuple[Array, Array]:
        """Return `dphi/dw` and `dphi/du = G u + g`, both `(..., n)`; arguments as for `momentum`."""
        force, pulled = self.pulled(ops, w, u)
        return force, pulled + u * ops.row(self.problem.mass)

    def pulled(self, ops: Ops, w: Array, u: Array) -> tuple[Array, Array]:
        """Return `dphi/dw` and `dphi/du - D u`, D the mass; where the metric is D alone: `H u` and `g`."""
        jets, weights, states = self._push(ops, w, u)
        network = self.problem.network
        adjoints = network.backward(jets, weights, states, self._mean(self._sources(jets, states)))[1]
        values, tangents = zip(*[jets.parts(x) for x in adjoints], strict=True)
        force = ops.concatenate([v * 0.0 if t is None else t for t, v in zip(tangents, values, strict=True)])
        force = self._total(ops, force, w)
        if self.problem.weight_decay:
            force = force + self.problem.weight_decay * u
        return force, self._decayed(self._own(ops, list(values), w), w)

    def _mean(self, sources: dict[int, Array]) -> dict[int, Array]:
        return {node: source * (1.0 / self.problem.samples) for node, source in sources.items()}

    def _decayed(self, pulled: Array, w: Array) -> Array:
        return pulled + self.problem.weight_decay * w if self.problem.weight_decay else pulled

    def _push(self, ops: Ops, w: Array, u: Array) -> tuple[DualOps, list[Array], list[Array]]:
        """Push the tangents of u forward: the duals' namespace, weights a group and states, as duals."""
        jets, network = duals_over(ops), self.problem.network
        if self._masks is not None:
            w, u = self._stacked(ops, w, u, self._masks)
        pairs = zip(network.split(ops, w), network.split(ops, u), strict=True)
        weights = [jets.dual(piece, move) for piece, move in pairs]
        return jets, weights, network.forward(jets, weights)

    def _sources(self, jets: DualOps, states: list[Array]) -> dict[int, Array]:
        """Gradients of `loss'(z) . z_t + 1/2 z_t^T g_o(z) z_t` by node: in z_t as value, in z as tangent."""
        network = self.problem.network
        sources = network.slopes(jets, states)
        if not self.constant:
            for j, term in enumerate(network.costs):
                square = half_square_gradient(self.problem, j, jets, states[term.node])
                sources[term.node] = sources[term.node] + square
        return sources

    def _stacked(self, ops: Ops, w: Array, u: Array, masks: np.ndarray) -> tuple[Array, Array]:
        """Give u an axis of one tangent a group, each zero outside its group, in front of the axes of w."""
        axis = -1 - np.ndim(bottom(w))
        stack = masks.reshape(len(masks), *[1] * (-2 - axis), -1)
        moved = on_leaves(ops, lambda x: np.expand_dims(x, axis) * stack, u)
        return on_tangents(ops, lambda x: np.expand_dims(x, axis), w), moved

    def _own(self, ops: Ops, pieces: list[Array], w: Array) -> Array:
        """Join what belongs to each group: of a stack of tangents, the group's own."""
        if self._moving is None:
            return ops.concatenate(pieces)
        axes, places = np.ndim(bottom(w)), {group: place for place, group in enumerate(self._moving)}

        def take(x: np.ndarray, index: int) -> np.ndarray:
            # a coefficient that no tangent enters has the axis with length one
            return x[(..., min(index, x.shape[-1 - axes] - 1), *[slice(None)] * axes)]

        return ops.concatenate(
            [on_leaves(ops, partial(take, index=places.get(i, 0)), piece) for i, piece in enumerate(pieces)]
        )

    def _total(self, ops: Ops, stack: Array, w: Array) -> Array:
        """Sum over the stack of tangents."""
        if self._masks is None:
            return stack
        axis = -1 - np.ndim(bottom(w))
        return on_leaves(ops, lambda x: x.sum(axis=axis), stack)


def group_masks(problem: Problem) -> np.ndarray:
    """Return one row a group of weights, `(groups, n)`: one at its weights, zero elsewhere."""
    masks = np.zeros((len(problem.groups), problem.size))
    for mask, piece in zip(masks, problem.slices, strict=True):
        mask[piece] = 1.0
    return masks


def half_square_gradient(problem: Problem, cost: int, jets: DualOps, outputs: Array) -> Array:
    """Gradient of `1/2 z_t^T g_o(z) z_t` at states `z + eps z_t` of a cost's node: in z_t as value, in z as tangent."""
    z, tangent = jets.parts(outputs)
    if tangent is None:
        return jets.dual(z * 0.0, None)
    product = output_product(problem, cost, jets, outputs, problem.network.targets[cost], jets.dual(tangent, None))
    value, slope = jets.parts(product)
    if callable(problem.output_metric):
        slope = pull_back(lambda ops, y, v: _half_square(problem, cost, ops, y, v), jets.inner, (z, tangent), (2, 2))[0]
    elif slope is not None:
        # g_o is a Hessian, so its derivative is symmetric and the gradient of the square is half that of the product
        slope = slope * 0.5
    return jets.dual(value, slope)


def _half_square(problem: Problem, cost: int, ops: Ops, y: Array, v: Array) -> Array:
    return 0.5 * ops.sum(v * output_product(problem, cost, ops, y, problem.network.targets[cost], v))


def on_leaves(ops: Ops, function: Callable[[np.ndarray], np.ndarray], x: Any) -> Any:
    """Apply a linear function of NumPy arrays to every coefficient of a (nested) dual."""
    if isinstance(x, Linear):
        return x.ops.apply(function, x)
    if not isinstance(ops, DualOps):
        return None if x is None else function(x)
    value, tangent = ops.parts(x)
    return ops.dual(
        on_leaves(ops.inner, function, value), None if tangent is None else on_leaves(ops.inner, function, tangent)
    )


def on_tangents(ops: Ops, function: Callable[[np.ndarray], np.ndarray], x: Any) -> Any:
    """Apply a linear function of NumPy arrays to every coefficient of a (nested) dual but its plain value."""
    if not isinstance(ops, DualOps):
        return x
    value, tangent = ops.parts(x)
    return ops.dual(
        on_tangents(ops.inner, function, value), None if tangent is None else on_leaves(ops.inner, function, tangent)
    )
