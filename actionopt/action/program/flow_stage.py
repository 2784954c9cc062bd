"""One stage of a problem's Riemannian gradient flow as a CasADi graph, without the inverse of its metric.

The flow's own velocity u is a variable of the stage, held by `G(w) u + g(w) = 0`, and the density is
`l = 1/2 (v - u)^T G(w) (v - u)`. G is applied by pushing tangents through the network and pulling adjoints back.
Condensed, states and adjoints are expressions in w; lifted, they are variables too, and the equations of the nodes
and their adjoints are constraints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import casadi as ca
import numpy as np

from actionopt.backprop import adjoints
from actionopt.metric.batched import BatchedMetric
from actionopt.metric.kinds import kind_of
from actionopt.metric.output import output_product
from actionopt.modules import Module
from actionopt.network import Network, Place
from actionopt.ops import CASADI
from actionopt.ops.columns import COLUMNS
from actionopt.problem import Problem
from actionopt.symbolic import loss_function, module_function


class FlowStage:
    """The graph of one stage.

    Attributes
    ----------
    w, v : SX (n,)
    extra : SX
        What else is unknown: `u (n,)` unless the metric is constant; then, where lifted, the states and the adjoints
        of the nodes that run a module, for every sample, sample after sample, with `lam = dE/dz` as in
        `actionopt.adjoints`.
    density : SX
        `l(w, v)`, divided by the scale, as are loss, mass and adjoints: all of them grow with the loss's unit.
    equalities : list of SX
        `G u + g` `(n,)` unless the metric is constant; where lifted `f_k(z_of(k), w) - z_k` and, with what costs and
        children give, `dE/dz_k - lam_k`, sample after sample.
    """

    def __init__(self, problem: Problem, metric: str, lifted: bool, scale: float = 1.0) -> None:
        kind = kind_of(metric)
        self.problem, self.joint = problem, kind.together
        self.mass, decay = problem.mass / scale, problem.weight_decay / scale
        self.constant = kind.constant(problem)
        self.layers = {id(module): _Layer(module) for module in problem.modules}
        self.costs = [_CostFunctions(problem, j, scale) for j in range(len(problem.costs))]
        n = problem.size
        self.w, self.v = ca.SX.sym("w", n), ca.SX.sym("v", n)
        u = ca.SX.sym("u", 0 if self.constant else n)
        self.weights = [self.w[piece] for piece in problem.slices]
        samples = [self._sample(b, lifted) for b in range(problem.samples)]
        self.gradient = sum((sample.gradient for sample in samples), start=decay * self.w)
        self.extra = ca.vertcat(u, *[sample.unknowns for sample in samples])
        if self.constant:
            self.equalities = [sample.equations for sample in samples] if lifted else []
            gap = self.v + self.gradient / self.mass
            self.density = 0.5 * ca.dot(gap * self.mass, gap)
            return
        flow = self._metric_product(samples, u)[0]
        self.density = 0.5 * self._metric_product(samples, self.v - u)[1]
        self.equalities = [flow + self.gradient, *([sample.equations for sample in samples] if lifted else [])]

    def _layer(self, place: Place) -> _Layer:
        return self.layers[id(place.module)]

    def _sample(self, b: int, lifted: bool) -> _Sample:
        """States and gradient of sample b: expressions in w, or variables with their equations."""
        network = self._of_sample(b)
        unknowns: list[ca.SX] = []
        adjoints: list[ca.SX] = []
        equations: list[ca.SX] = []

        def forward(place: Place, w: ca.SX, z: ca.SX) -> ca.SX:
            return held(self._layer(place).forward(z, w), "z", unknowns)

        def backward(place: Place, w: ca.SX, z: ca.SX, state: ca.SX, adjoint: ca.SX) -> tuple[ca.SX, ca.SX]:
            pulled, own = self._layer(place).pull(z, w, held(adjoint, "lam", adjoints))
            return own, pulled

        def held(expression: ca.SX, name: str, among: list[ca.SX]) -> ca.SX:
            """Return a variable for the expression where lifted, and note its equation."""
            if not lifted:
                return expression
            among.append(ca.SX.sym(name, expression.numel()))
            equations.append(expression - among[-1])
            return among[-1]

        states = network.forward(COLUMNS, self.weights, forward)
        sources: dict[int, ca.SX] = {}
        for term, functions, target in zip(network.costs, self.costs, network.targets, strict=True):
            slope = functions.gradient(states[term.node], target) / self.problem.samples
            sources[term.node] = sources.get(term.node, 0) + slope
        gradient = network.backward(COLUMNS, self.weights, states, sources, backward)[1]
        if lifted:  # adjoints arise from the last node back
            places = len(unknowns)
            equations[places:] = equations[: places - 1 : -1]
        return _Sample(
            network,
            states,
            ca.vertcat(*gradient),
            ca.vertcat(ca.SX(0, 1), *unknowns, *adjoints[::-1]),
            ca.vertcat(ca.SX(0, 1), *equations),
        )

    def _of_sample(self, b: int) -> Network:
        """The network on the data and targets of one sample, as columns."""
        network = self.problem.network
        data, targets = (tuple(ca.SX(array[b]) for array in arrays) for arrays in (network.data, network.targets))
        return replace(network, data=data, targets=targets)

    def _metric_product(self, samples: list[_Sample], x: ca.SX) -> tuple[ca.SX, ca.SX]:
        """`G x` and `x . G x`, the mean over samples of tangents pushed forward and pulled back."""
        moves = [x[piece] for piece in self.problem.slices]
        product, square = x * self.mass, ca.dot(x * self.mass, x)
        for sample in samples:
            pulled, squared = self._pushed_and_pulled(sample, moves)
            product += pulled / self.problem.samples
            square += squared / self.problem.samples
        return product, square

    def _pushed_and_pulled(self, sample: _Sample, moves: list[ca.SX]) -> tuple[ca.SX, ca.SX]:
        groups = range(len(moves))
        if self.joint:
            own, square = self._through(sample, moves)
            return ca.vertcat(*own), square
        products, total = [], ca.SX(0)
        for a in groups:
            alone = [move if a == b else ca.SX(move.numel(), 1) for b, move in enumerate(moves)]
            own, square = self._through(sample, alone)
            products.append(own[a])
            total += square
        return ca.vertcat(*products), total

    def _through(self, sample: _Sample, moves: list[ca.SX]) -> tuple[list[ca.SX], ca.SX]:
        """Push a move of the weights to the costs and pull the output metric's force back, a piece a group."""
        tangents = self._push(sample, moves)
        sources: dict[int, ca.SX] = {}
        square = ca.SX(0)
        for term, functions, target in zip(sample.network.costs, self.costs, sample.network.targets, strict=True):
            state, tangent = sample.states[term.node], tangents[term.node]
            force = functions.metric(state, target, tangent)
            square += ca.dot(tangent, force)
            sources[term.node] = sources.get(term.node, 0) + force

        def visit(place: Place, w: ca.SX, z: ca.SX, state: ca.SX, adjoint: ca.SX) -> tuple[ca.SX, ca.SX]:
            pulled, own = self._layer(place).pull(z, w, adjoint)
            return own, pulled

        return sample.network.backward(COLUMNS, self.weights, sample.states, sources, visit)[1], square

    def _push(self, sample: _Sample, moves: list[ca.SX]) -> list[ca.SX]:
        """Tangents of all states when the weights move."""
        network, states = sample.network, sample.states
        still = replace(network, data=tuple(ca.SX(place.size, 1) for place in network.nodes[: len(network.data)]))

        def visit(place: Place, move: ca.SX, tangent: ca.SX) -> ca.SX:
            if not move.nnz() and not tangent.nnz():
                return ca.SX(place.size, 1)
            z, w = network.joined(COLUMNS, place, states), self.weights[place.group]  # type: ignore[index]
            return self._layer(place).push(z, w, tangent, move)

        return still.forward(COLUMNS, moves, visit)


@dataclass(frozen=True)
class _Sample:
    """The network on one sample's data, its states and gradient; its unknowns and equations where lifted."""

    network: Network
    states: list[ca.SX]
    gradient: ca.SX
    unknowns: ca.SX
    equations: ca.SX


class _Layer:
    """A module's forward, tangent and adjoint as functions of one sample."""

    def __init__(self, module: Module) -> None:
        self.in_size, self.out_size = module.in_size, module.out_size
        self.forward = module_function(module)
        z, w = ca.SX.sym("z", module.in_size), ca.SX.sym("w", module.weight_size)
        dz, dw = ca.SX.sym("dz", z.numel()), ca.SX.sym("dw", w.numel())
        adjoint, both = ca.SX.sym("adjoint", module.out_size), ca.vertcat(z, w)
        out = self.forward(z, w)
        self.push = ca.Function("push", [z, w, dz, dw], [ca.jtimes(out, both, ca.vertcat(dz, dw))])
        pulled = ca.vertsplit(ca.jtimes(out, both, adjoint, True), [0, z.numel(), both.numel()])
        self.pull = ca.Function("pull", [z, w, adjoint], pulled)


class _CostFunctions:
    """A cost's functions of one sample, over the scale: its gradient, and the output metric times a vector."""

    def __init__(self, problem: Problem, cost: int, scale: float) -> None:
        term = problem.costs[cost]
        y = ca.SX.sym("y", problem.nodes[term.node].size)
        x = ca.SX.sym("x", y.numel())
        target = ca.SX.sym("target", problem.network.targets[cost].shape[1])
        loss = term.weight * loss_function(term.loss, y.numel(), target.numel())(y, target)
        gradient = ca.gradient(loss, y)
        if problem.output_metric == "fisher":
            product = ca.jtimes(gradient, y, x)
        else:
            product = output_product(problem, cost, CASADI, y.T, target.T, x.T).T
        self.gradient = ca.Function("loss_gradient", [y, target], [ca.densify(gradient / scale)])
        self.metric = ca.Function("output_metric", [y, target, x], [ca.densify(product / scale)])


def extra_values(problem: Problem, metric: str, w: np.ndarray, lifted: bool, scale: float = 1.0) -> np.ndarray:
    """Values `(M, e)` of a FlowStage's extra unknowns at positions `w (M, n)`: what its equations determine."""
    found = adjoints(problem, w)
    parts: list[np.ndarray] = []
    if not kind_of(metric).constant(problem):
        parts.append(-BatchedMetric(problem, w, metric=metric).solve(found.gradient))
    if lifted:
        adjoints_scaled = [adjoint / scale for adjoint in found.adjoints]
        by_sample = np.concatenate([*found.states, *adjoints_scaled], axis=-1)
        parts.append(by_sample.reshape(len(w), -1))
    return np.concatenate([np.zeros((len(w), 0)), *parts], axis=1)
