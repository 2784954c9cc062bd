"""Is the energy smooth here? A kink of relu, abs or step has no Jacobian, and a formula cannot tell by its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.metric.output import output_product
from actionopt.network import Place
from actionopt.ops import NUMPY, DualOps
from actionopt.ops.base import Array
from actionopt.problem import Problem

KINKED = ("relu", "abs", "step")


def check_smooth(problem: Problem, w: np.ndarray, *, output_metric: bool) -> None:
    """Raise InputError where the energy is not differentiable twice at `w (n,)`, or a user's output metric once.

    The network, its losses and, if asked, the output metric are evaluated along a generic direction by a namespace that
    watches for an argument of relu, abs or step which is zero and moves with the weights; one that is zero for all
    weights, as a product with a feature that is zero, makes no kink.
    """
    ops, network = _Watch(), problem.network
    direction = np.random.default_rng(0).standard_normal(len(w))

    def visit(place: Place, piece: Array, z: Array) -> Array:
        assert place.module is not None
        out = place.module.forward(ops, piece, z)
        _report(ops, f"module {place.label}")
        return out

    with np.errstate(all="ignore"):
        states = network.forward(ops, network.split(ops, ops.dual(w, direction)), visit)
        for j, (term, target) in enumerate(zip(network.costs, network.targets, strict=True)):
            term.loss.value(ops, states[term.node], target)
            _report(ops, f"the loss, {term.loss.name},")
            if output_metric and callable(problem.output_metric):
                output_product(problem, j, ops, states[term.node], target, states[term.node])
                _report(ops, "the output metric")


class _Watch(DualOps):
    """Duals that note where a function with a kink is evaluated on it."""

    def __init__(self) -> None:
        super().__init__(NUMPY)
        self.found: str | None = None
        for name in KINKED:
            setattr(self, name, self._watched(name, getattr(self, name)))

    def _watched(self, name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def apply(x: Any) -> Any:
            value, tangent = self.parts(x)
            if tangent is not None and ((np.asarray(value) == 0.0) & (np.asarray(tangent) != 0.0)).any():
                self.found = name
            return function(x)

        return apply


def _report(ops: _Watch, where: str) -> None:
    if ops.found is not None:
        raise InputError(
            f"the energy is not smooth at these weights: {ops.found} in {where} is at its kink for a sample, so the "
            "flow has no Jacobian and no contraction rate here. Move the weights, or take a smooth function such as "
            "softplus"
        )
