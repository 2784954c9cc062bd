"""One stage of a problem's Riemannian gradient flow as a CasADi graph, without the inverse of its metric.

The flow's own velocity u is a variable of the stage, held by `G(w) u + g(w) = 0`, and the density is
`l = 1/2 (v - u)^T G(w) (v - u)`. G is applied by pushing tangents through the chain and pulling adjoints back.
Condensed, states and adjoints are expressions in w; lifted, they are variables too, and the equations of the layers
and their adjoints are constraints.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import casadi as ca
import numpy as np

from actionopt.backprop import adjoints
from actionopt.metric.batched import BatchedMetric
from actionopt.metric.output import output_product
from actionopt.modules import Module
from actionopt.ops import CASADI
from actionopt.problem import Problem
from actionopt.symbolic import loss_function, module_function

Sample = list[ca.SX]  # states or adjoints of one sample, one column a module


class FlowStage:
    """The graph of one stage.

    Attributes
    ----------
    w, v : SX (n,)
    extra : SX
        What else is unknown: `u (n,)` unless the metric is constant; then, where lifted, the states z_1 .. z_L and the
        adjoints lam_1 .. lam_L of every sample, sample after sample, with `lam = dE/dz` as in `actionopt.adjoints`.
    density : SX
        `l(w, v)`, divided by the scale, as are loss, mass and adjoints: all of them grow with the loss's unit.
    equalities : list of SX
        `G u + g` `(n,)` unless the metric is constant; where lifted `f(z_{a-1}, w_a) - z_a` and
        `A_{a+1}^T lam_{a+1} - lam_a` (at the output `loss'/B - lam_L`), sample after sample.
    """

    def __init__(self, problem: Problem, metric: str, lifted: bool, scale: float = 1.0) -> None:
        problem.network.check_chain("a lifted or CasADi action")
        self.problem, self.joint = problem, metric == "joint"
        self.mass, self.decay = problem.mass / scale, problem.weight_decay / scale
        self.constant = metric == "euclidean" or problem.output_metric is None
        self.layers = [_Layer(module) for module in problem.modules]
        self.loss_gradient, self.output_metric = _output_functions(problem, scale)
        n = problem.size
        self.w, self.v = ca.SX.sym("w", n), ca.SX.sym("v", n)
        u = ca.SX.sym("u", 0 if self.constant else n)
        self.weights = [self.w[piece] for piece in problem.slices]
        samples = [self._sample(b, lifted) for b in range(problem.samples)]
        self.gradient = self._gradient(samples)
        self.extra = ca.vertcat(u, *[sample.unknowns for sample in samples])
        if self.constant:
            self.equalities = [sample.equations for sample in samples] if lifted else []
            gap = self.v + self.gradient / self.mass
            self.density = 0.5 * ca.dot(gap * self.mass, gap)
            return
        flow = self._metric_product(samples, u)[0]
        self.density = 0.5 * self._metric_product(samples, self.v - u)[1]
        self.equalities = [flow + self.gradient, *([sample.equations for sample in samples] if lifted else [])]

    def _sample(self, b: int, lifted: bool) -> _Sample:
        """States and adjoints of sample b: expressions in w, or variables with their equations."""
        inputs, target = ca.SX(self.problem.inputs[b]), ca.DM(self.problem.target_array[b])
        if not lifted:
            before, output = self._forward(inputs)
            return _Sample(before, output, self._backward(before, output, target), target)
        states = [ca.SX.sym("z", layer.out_size) for layer in self.layers]
        adjoints = [ca.SX.sym("lam", layer.out_size) for layer in self.layers]
        before = [inputs, *states[:-1]]
        forward = [layer.forward(z, w) for layer, z, w in zip(self.layers, before, self.weights, strict=True)]
        backward = self._backward(before, states[-1], target, adjoints)
        unknowns = ca.vertcat(*states, *adjoints)
        return _Sample(before, states[-1], adjoints, target, unknowns, ca.vertcat(*forward, *backward) - unknowns)

    def _forward(self, z: ca.SX) -> tuple[Sample, ca.SX]:
        """Inputs of the layers, and the output."""
        before: Sample = []
        for layer, w in zip(self.layers, self.weights, strict=True):
            before.append(z)
            z = layer.forward(z, w)
        return before, z

    def _backward(self, before: Sample, output: ca.SX, target: ca.DM, given: Sample | None = None) -> Sample:
        """Adjoints lam_1 .. lam_L, each pulled back from the one above: from those given where there are any."""
        adjoints = [self.loss_gradient(output, target) / self.problem.samples]
        for a in range(len(self.layers) - 1, 0, -1):
            above = given[a] if given else adjoints[0]
            adjoints.insert(0, self.layers[a].pull(before[a], self.weights[a], above)[0])
        return adjoints

    def _gradient(self, samples: list[_Sample]) -> ca.SX:
        """`g = sum_b B_b^T lam_b + weight_decay w`."""
        total = self.decay * self.w
        for sample in samples:
            parts = zip(self.layers, sample.before, self.weights, sample.adjoints, strict=True)
            total += ca.vertcat(*[layer.pull(z, w, lam)[1] for layer, z, w, lam in parts])
        return total

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
        if self.joint:
            tangent = self._push(sample, moves, range(len(self.layers)))
            force = self.output_metric(sample.output, sample.target, tangent)
            return ca.vertcat(*self._pull(sample, force, 0)), ca.dot(tangent, force)
        own, square = [], ca.SX(0)
        for a in range(len(self.layers)):
            tangent = self._push(sample, moves, [a])
            force = self.output_metric(sample.output, sample.target, tangent)
            own.append(self._pull(sample, force, a)[0])
            square += ca.dot(tangent, force)
        return ca.vertcat(*own), square

    def _push(self, sample: _Sample, moves: list[ca.SX], moving: range | list[int]) -> ca.SX:
        """Tangent of the output when the weights of the `moving` layers move."""
        tangent = ca.SX.zeros(self.layers[moving[0]].in_size)
        for a in range(moving[0], len(self.layers)):
            move = moves[a] if a in moving else ca.SX.zeros(moves[a].numel())
            tangent = self.layers[a].push(sample.before[a], self.weights[a], tangent, move)
        return tangent

    def _pull(self, sample: _Sample, adjoint: ca.SX, down_to: int) -> list[ca.SX]:
        """Weight adjoints of the layers from `down_to` up."""
        pieces: list[ca.SX] = []
        for a in range(len(self.layers) - 1, down_to - 1, -1):
            adjoint, piece = self.layers[a].pull(sample.before[a], self.weights[a], adjoint)
            pieces.insert(0, piece)
        return pieces


@dataclass(frozen=True)
class _Sample:
    """Inputs of the layers, output and adjoints of one sample; its unknowns and equations where lifted."""

    before: Sample
    output: ca.SX
    adjoints: Sample
    target: ca.DM
    unknowns: ca.SX = field(default_factory=lambda: ca.SX(0, 1))
    equations: ca.SX = field(default_factory=lambda: ca.SX(0, 1))


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


def _output_functions(problem: Problem, scale: float) -> tuple[ca.Function, ca.Function]:
    """Functions of one sample, over the scale: the loss's gradient `(y, target)`, the output metric times x."""
    y = ca.SX.sym("y", problem.modules[-1].out_size)
    x = ca.SX.sym("x", y.numel())
    target = ca.SX.sym("target", problem.target_array.shape[1])
    loss = loss_function(problem.loss, y.numel(), target.numel())(y, target)
    gradient = ca.gradient(loss, y)
    if problem.output_metric == "fisher":
        product = ca.jtimes(gradient, y, x)
    else:
        product = output_product(problem, 0, CASADI, y.T, target.T, x.T).T
    return (
        ca.Function("loss_gradient", [y, target], [ca.densify(gradient / scale)]),
        ca.Function("output_metric", [y, target, x], [ca.densify(product / scale)]),
    )


def extra_values(problem: Problem, metric: str, w: np.ndarray, lifted: bool, scale: float = 1.0) -> np.ndarray:
    """Values `(M, e)` of a FlowStage's extra unknowns at positions `w (M, n)`: what its equations determine."""
    found = adjoints(problem, w)
    parts: list[np.ndarray] = []
    if metric != "euclidean" and problem.output_metric is not None:
        parts.append(-BatchedMetric(problem, w, metric=metric).solve(found.gradient))
    if lifted:
        adjoints_scaled = [adjoint / scale for adjoint in found.adjoints]
        by_sample = np.concatenate([*found.states, *adjoints_scaled], axis=-1)
        parts.append(by_sample.reshape(len(w), -1))
    return np.concatenate([np.zeros((len(w), 0)), *parts], axis=1)
