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

from actionopt.backprop import backward, forward_states, split_weights
from actionopt.errors import unknown_name
from actionopt.metric.batched import METRICS
from actionopt.metric.output import output_product
from actionopt.modules.derived import pull_back
from actionopt.ops import DualOps, Linear, Ops, duals_over
from actionopt.ops.base import Array
from actionopt.ops.linear import bottom
from actionopt.problem import Problem


class LocalModel:
    """phi of a problem in one of its metrics.

    Parameters
    ----------
    problem : Problem
    metric : "layerwise", "joint" or "euclidean"
        Block diagonal over modules, all modules at once, or the mass alone.

    Raises
    ------
    InputError
        If there is no metric of that name.

    Notes
    -----
    Joint: `u^T G u = u^T D u + 1/B sum_b |J u|^2` with one tangent J u of the outputs. Layerwise: a tangent for each
    module, of its own weights alone, stacked on a leading axis.
    """

    def __init__(self, problem: Problem, metric: str) -> None:
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
        self.problem = problem
        self.metric = metric
        self.constant = metric == "euclidean" or problem.output_metric is None
        stacked = metric == "layerwise" and not self.constant and len(problem.modules) > 1
        self._masks = module_masks(problem) if stacked else None

    def momentum(self, ops: Ops, w: Array, u: Array) -> Array:
        """Return `dphi/du = G(w) u + g(w)`, `(..., n)`.

        Parameters
        ----------
        w, u : arrays (..., n) of `ops`
            NumPy arrays, duals, or duals with recorded tangents; u and tangents may have more leading axes than w.
        """
        problem = self.problem
        if self.constant:
            weights = split_weights(problem, ops, w)
            states = forward_states(problem, ops, weights)
            adjoint = problem.loss.gradient(ops, states[-1], problem.target_array)
        else:
            jets, lifted, jet_states = self._push(ops, w, u)
            weights, states = ([jets.parts(x)[0] for x in xs] for xs in (lifted, jet_states))
            adjoint = problem.loss.gradient(ops, states[-1], problem.target_array)
            if (tangent := jets.parts(jet_states[-1])[1]) is not None:
                adjoint = adjoint + output_product(problem, ops, states[-1], problem.target_array, tangent)
        _, pulled = backward(problem, ops, weights, states, adjoint * (1.0 / problem.samples))
        return self._decayed(self._own(ops, pulled, w), w) + u * ops.row(problem.mass)

    def derivatives(self, ops: Ops, w: Array, u: Array) -> tuple[Array, Array]:
        """Return `dphi/dw` and `dphi/du = G u + g`, both `(..., n)`; arguments as for `momentum`."""
        force, pulled = self.pulled(ops, w, u)
        return force, pulled + u * ops.row(self.problem.mass)

    def pulled(self, ops: Ops, w: Array, u: Array) -> tuple[Array, Array]:
        """Return `dphi/dw` and `dphi/du - D u`, D the mass; where the metric is D alone: `H u` and `g`."""
        problem = self.problem
        jets, weights, states = self._push(ops, w, u)
        adjoint = self._output_adjoint(jets, states[-1]) * (1.0 / problem.samples)
        _, adjoints = backward(problem, jets, weights, states, adjoint)
        values, tangents = zip(*[jets.parts(x) for x in adjoints], strict=True)
        force = ops.concatenate([v * 0.0 if t is None else t for t, v in zip(tangents, values, strict=True)])
        force = self._total(ops, force, w)
        if problem.weight_decay:
            force = force + problem.weight_decay * u
        return force, self._decayed(self._own(ops, list(values), w), w)

    def _decayed(self, pulled: Array, w: Array) -> Array:
        return pulled + self.problem.weight_decay * w if self.problem.weight_decay else pulled

    def _push(self, ops: Ops, w: Array, u: Array) -> tuple[DualOps, list[Array], list[Array]]:
        """Push the tangents of u forward: the duals' namespace, weights a module and states, as duals."""
        jets = duals_over(ops)
        if self._masks is not None:
            w, u = self._stacked(ops, w, u, self._masks)
        pairs = zip(split_weights(self.problem, ops, w), split_weights(self.problem, ops, u), strict=True)
        weights = [jets.dual(piece, move) for piece, move in pairs]
        return jets, weights, forward_states(self.problem, jets, weights)

    def _output_adjoint(self, jets: DualOps, outputs: Array) -> Array:
        """Return the gradient of `loss'(z) . z_t + 1/2 z_t^T g_o(z) z_t`: in z_t as value, in z as tangent."""
        problem = self.problem
        adjoint = problem.loss.gradient(jets, outputs, problem.target_array)
        return adjoint if self.constant else adjoint + half_square_gradient(problem, jets, outputs)

    def _stacked(self, ops: Ops, w: Array, u: Array, masks: np.ndarray) -> tuple[Array, Array]:
        """Give u an axis of one tangent a module, each zero outside its module, in front of the axes of w."""
        axis = -1 - np.ndim(bottom(w))
        stack = masks.reshape(len(masks), *[1] * (-2 - axis), -1)
        moved = on_leaves(ops, lambda x: np.expand_dims(x, axis) * stack, u)
        return on_tangents(ops, lambda x: np.expand_dims(x, axis), w), moved

    def _own(self, ops: Ops, pieces: list[Array], w: Array) -> Array:
        """Join what belongs to each module: of a stack of tangents, the module's own."""
        if self._masks is None:
            return ops.concatenate(pieces)
        axes = np.ndim(bottom(w))

        def take(x: np.ndarray, index: int) -> np.ndarray:
            # a coefficient that no tangent enters has the axis with length one
            return x[(..., min(index, x.shape[-1 - axes] - 1), *[slice(None)] * axes)]

        return ops.concatenate([on_leaves(ops, partial(take, index=i), p) for i, p in enumerate(pieces)])

    def _total(self, ops: Ops, stack: Array, w: Array) -> Array:
        """Sum over the stack of tangents."""
        if self._masks is None:
            return stack
        axis = -1 - np.ndim(bottom(w))
        return on_leaves(ops, lambda x: x.sum(axis=axis), stack)


def module_masks(problem: Problem) -> np.ndarray:
    """Return one row a module, `(L, n)`: one at its weights, zero elsewhere."""
    masks = np.zeros((len(problem.modules), problem.size))
    for mask, piece in zip(masks, problem.slices, strict=True):
        mask[piece] = 1.0
    return masks


def half_square_gradient(problem: Problem, jets: DualOps, outputs: Array) -> Array:
    """Gradient of `1/2 z_t^T g_o(z) z_t` for outputs `z + eps z_t`: in z_t as value, in z as tangent."""
    z, tangent = jets.parts(outputs)
    product = output_product(problem, jets, outputs, problem.target_array, jets.dual(tangent, None))
    value, slope = jets.parts(product)
    if callable(problem.output_metric):
        slope = pull_back(lambda ops, y, v: _half_square(problem, ops, y, v), jets.inner, (z, tangent), (2, 2))[0]
    elif slope is not None:
        # g_o is a Hessian, so its derivative is symmetric and the gradient of the square is half that of the product
        slope = slope * 0.5
    return jets.dual(value, slope)


def _half_square(problem: Problem, ops: Ops, y: Array, v: Array) -> Array:
    return 0.5 * ops.sum(v * output_product(problem, ops, y, problem.target_array, v))


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
