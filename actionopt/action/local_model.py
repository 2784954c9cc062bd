"""The local model of a gradient flow, `phi(w, u) = g(w) . u + 1/2 u^T G(w) u`, and its derivatives.

Its minimiser over u is the velocity of the Riemannian gradient flow, `u* = -G^{-1} g`, and the action density is
the gap `l(w, v) = phi(w, v) - min_u phi(w, u) = 1/2 |v - u*|^2_G` **[ours]**. So every derivative the action needs
is one of phi; G is only ever applied, to all stages at once, by pushing tangents through the chain and pulling
adjoints back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.backprop import backward, forward_states, split_weights
from actionopt.errors import unknown_name
from actionopt.metric.batched import METRICS
from actionopt.metric.output import output_product
from actionopt.modules.derived import pull_back
from actionopt.ops import DualOps, Ops
from actionopt.ops.base import Array
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
        count = len(problem.modules)
        self._masks = np.eye(count) if metric == "layerwise" and not self.constant and count > 1 else None

    def momentum(self, ops: Ops, w: Array, u: Array) -> Array:
        """Return `dphi/du = G(w) u + g(w)`, `(..., n)`.

        Parameters
        ----------
        w, u : arrays (..., n) of `ops`
            NumPy arrays or duals; u may have more leading axes than w.
        """
        problem = self.problem
        if self.constant:
            weights = split_weights(problem, ops, w)
            states = forward_states(problem, ops, weights)
            adjoint = problem.loss.gradient(ops, states[-1], problem.target_array)
        else:
            jets, lifted, jet_states = self._push(ops, w, u)
            adjoint = jets.parts(self._output_adjoint(jets, jet_states[-1]))[0]
            weights, states = ([jets.parts(x)[0] for x in xs] for xs in (lifted, jet_states))
        _, pulled = backward(problem, ops, weights, states, adjoint * (1.0 / problem.samples))
        return self._with_mass(ops, ops.concatenate(self._own(ops, pulled)), w, u)

    def derivatives(self, ops: Ops, w: Array, u: Array) -> tuple[Array, Array]:
        """Return `dphi/dw` and `dphi/du = G u + g`, both `(..., n)`; arguments as for `momentum`."""
        problem = self.problem
        jets, weights, states = self._push(ops, w, u)
        adjoint = self._output_adjoint(jets, states[-1]) * (1.0 / problem.samples)
        _, pulled = backward(problem, jets, weights, states, adjoint)
        values, tangents = zip(*[jets.parts(x) for x in pulled], strict=True)
        force = ops.concatenate([self._total(ops, t, v) for t, v in zip(tangents, values, strict=True)])
        if problem.weight_decay:
            force = force + problem.weight_decay * u
        return force, self._with_mass(ops, ops.concatenate(self._own(ops, list(values))), w, u)

    def _with_mass(self, ops: Ops, pulled: Array, w: Array, u: Array) -> Array:
        momentum = pulled + u * ops.row(self.problem.mass)
        return momentum + self.problem.weight_decay * w if self.problem.weight_decay else momentum

    def _push(self, ops: Ops, w: Array, u: Array) -> tuple[DualOps, list[Array], list[Array]]:
        """Push the tangents of u forward: the duals' namespace, weights a module and states, as duals."""
        jets = DualOps(ops)
        moves = split_weights(self.problem, ops, u)
        rank = max(deepest_rank(ops, w), deepest_rank(ops, u))
        weights = [
            jets.dual(piece, self._spread(ops, move, index, rank))
            for index, (piece, move) in enumerate(zip(split_weights(self.problem, ops, w), moves, strict=True))
        ]
        return jets, weights, forward_states(self.problem, jets, weights)

    def _output_adjoint(self, jets: DualOps, outputs: Array) -> Array:
        """Return the gradient of `loss'(z) . z_t + 1/2 z_t^T g_o(z) z_t`: in z_t as value, in z as tangent."""
        problem = self.problem
        adjoint = problem.loss.gradient(jets, outputs, problem.target_array)
        return adjoint if self.constant else adjoint + half_square_gradient(problem, jets, outputs)

    def _spread(self, ops: Ops, move: Array, index: int, rank: int) -> Array:
        """Stack one module's move with zeros for the other modules' tangents, on a new axis before `rank` others."""
        if self._masks is None:
            return move
        mask = self._masks[index].reshape(-1, *[1] * rank)
        return on_leaves(ops, lambda x: x * mask, move)

    def _own(self, ops: Ops, stacks: list[Array]) -> list[Array]:
        """Take from each module's stack what belongs to its own tangent."""
        if self._masks is None:
            return stacks
        return [on_leaves(ops, lambda x, i=i: x[i], stack) for i, stack in enumerate(stacks)]

    def _total(self, ops: Ops, stack: Array | None, like: Array) -> Array:
        """Sum a stack over the tangents; None is zero."""
        stack = like * 0.0 if stack is None else stack
        return stack if self._masks is None else on_leaves(ops, lambda x: x.sum(axis=0), stack)


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


def deepest_rank(ops: Ops, x: Array | None) -> int:
    """Return the largest number of axes among the coefficients of a (nested) dual."""
    if x is None:
        return 0
    if not isinstance(ops, DualOps):
        return ops.rank(x)
    return max(deepest_rank(ops.inner, part) for part in ops.parts(x))


def on_leaves(ops: Ops, function: Callable[..., Any], x: Any) -> Any:
    """Apply a function of NumPy arrays to every coefficient of a (nested) dual."""
    if not isinstance(ops, DualOps):
        return None if x is None else function(x)
    value, tangent = ops.parts(x)
    return ops.dual(
        on_leaves(ops.inner, function, value), None if tangent is None else on_leaves(ops.inner, function, tangent)
    )
