"""The action density of a formula, differentiated by CasADi and evaluated at all stages by one mapped call.

For formulas of a few coordinates CasADi's scalar graphs beat NumPy's arrays, which pay for every operation of a
formula and every direction: value, gradient and Hessian of the Mueller-Brown potential at 200 stages take about a
millisecond.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import casadi as ca
import numpy as np

from actionopt.action.density.density import Density, Expansion
from actionopt.action.density.stage_formula import stage_value
from actionopt.action.lagrangian import Drift, Lagrangian
from actionopt.errors import InputError
from actionopt.interrupts import uninterrupted
from actionopt.ops.columns import COLUMNS
from actionopt.problem import Problem
from actionopt.symbolic import loss_function, module_function

HESSIAN_LIMIT = 64  # coordinates up to which the dense Hessian of l is formed at every stage


class LagrangianDensity(Density):
    """The density of a Lagrangian, or of the gradient flow of a small problem in a constant metric.

    `dense` asks for Hessians `(2n, 2n)` at every stage whatever n.
    """

    def __init__(self, what: Lagrangian | Problem, dense: bool = False) -> None:
        self.dense = dense or what.size <= HESSIAN_LIMIT
        self.name = what.name
        self.size = what.size
        self.block = 100_000
        self.metric = what.metric if isinstance(what, Drift) else None
        n = self.size
        self.w, self.v, self.t = ca.SX.sym("w", n), ca.SX.sym("v", n), ca.SX.sym("t")
        self.expression = (
            stage_value(what, self.w, self.v, self.t)
            if isinstance(what, Lagrangian)
            else _constant_flow(what, self.w, self.v)
        )
        self._maps: dict[tuple[str, int], ca.Function] = {}

    def expand(self, w: np.ndarray, v: np.ndarray, t: np.ndarray | None = None) -> Expansion:
        if t is None and self._timed:
            raise InputError(f"{self.name}: the Lagrangian depends on time, and no times were given")
        return LagrangianExpansion(self, w, v, np.zeros(len(w)) if t is None else t)

    @cached_property
    def _timed(self) -> bool:
        return bool(ca.depends_on(self.expression, self.t))

    @property
    def has_hessian(self) -> bool:
        """Whether a dense Hessian is formed at every stage."""
        return self.dense

    @cached_property
    def _slopes(self) -> ca.SX:
        return ca.gradient(self.expression, ca.vertcat(self.w, self.v))

    @cached_property
    def functions(self) -> dict[str, ca.Function]:
        """Functions of one stage: value, slopes `(2n,)`, Hessian `(2n, 2n)`, Hessian product, `l_vv`."""
        both, inputs = ca.vertcat(self.w, self.v), [self.w, self.v, self.t]
        move = ca.SX.sym("move", 2 * self.size)
        product = ca.jtimes(self._slopes, both, move)
        mass = ca.hessian(self.expression, self.v)[0]
        functions = {
            "value": ca.Function("value", inputs, [ca.densify(self.expression), ca.densify(self._slopes)]),
            "product": ca.Function("product", [*inputs, move], [ca.densify(product)]),
            "mass": ca.Function("mass", inputs, [ca.densify(mass)]),
        }
        if self.has_hessian:
            hessian = ca.densify(ca.hessian(self.expression, both)[0])
            functions["hessian"] = ca.Function("hessian", inputs, [hessian])
        return functions

    def call(self, name: str, *columns: np.ndarray) -> Any:
        """Evaluate a function at M stages: inputs `(M, k)`, outputs `(M, rows, columns)`."""
        stages = len(columns[0])
        key = (name, stages)
        if key not in self._maps:
            self._maps[key] = self.functions[name].map(stages) if stages > 1 else self.functions[name]
        function = self._maps[key]
        inputs = [
            np.ascontiguousarray(np.broadcast_to(column, (stages, function.numel_in(i) // stages)), dtype=float)
            for i, column in enumerate(columns)
        ]
        shapes = [function.size_out(i) for i in range(function.n_out())]
        # CasADi writes columns one after the other: stages first, then the columns of each
        outs = [np.empty((stages, columns // stages, rows)) for rows, columns in shapes]
        with uninterrupted():
            buffer, evaluate = function.buffer()  # no copies, no lists
            buffer = cast(Any, buffer)  # its stubs want sizes that its wrapper finds
            for i, column in enumerate(inputs):
                buffer.set_arg(i, memoryview(cast(Any, column)))
            for i, out in enumerate(outs):
                buffer.set_res(i, memoryview(cast(Any, out)))
            evaluate()
        return [out.swapaxes(1, 2) for out in outs]


class LagrangianExpansion(Expansion):
    """Expansion about stages `w, v (M, n)` at the times `t (M,)`."""

    def __init__(self, density: LagrangianDensity, w: np.ndarray, v: np.ndarray, t: np.ndarray) -> None:
        self.density = density
        self.w, self.v = w, v
        self._at = w, v, t[:, None]
        value, self._slopes = density.call("value", *self._at)
        self.value = value[:, 0, 0]

    @property
    def force(self) -> np.ndarray:
        return self._slopes[:, : self.density.size, 0]

    @property
    def momentum(self) -> np.ndarray:
        return self._slopes[:, self.density.size :, 0]

    @cached_property
    def hessian(self) -> np.ndarray:
        """Hessian of l in (w, v), `(M, 2n, 2n)`."""
        return self.density.call("hessian", *self._at)[0]

    def product(self, dw: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, move = self.density.size, np.concatenate([dw, dv], axis=-1)
        if self.density.has_hessian:
            out = np.einsum("mij,mj->mi", self.hessian, move)
        else:
            out = self.density.call("product", *self._at, move)[0][..., 0]
        return out[:, :n], out[:, n:]

    @cached_property
    def mass(self) -> np.ndarray:
        """`l_vv (M, n, n)`.

        Raises
        ------
        InputError
            If it is not positive definite at some stage: no minimum exists there.
        """
        n = self.density.size
        if (metric := self.density.metric) is not None:
            return np.broadcast_to(np.diag(metric) if metric.ndim == 1 else metric, (len(self.w), n, n))
        mass = self.density.call("mass", *self._at)[0]
        smallest = np.linalg.eigvalsh(mass)[:, 0]
        if not smallest.min() > 0:
            stage = int(smallest.argmin())
            raise InputError(
                f"{self.density.name}: the Lagrangian must be strictly convex in v, but l_vv has the eigenvalue "
                f"{smallest[stage]:.3g} at w = {np.array2string(self.w[stage], precision=4, threshold=6)}. An action "
                "that does not depend on how fast a path is run through has its own solver, least_action_path; "
                "coordinates that follow from others are held by equality="
            )
        return mass

    def mass_solve(self, c: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.mass, c[..., None])[..., 0]


def _constant_flow(problem: Problem, w: ca.SX, v: ca.SX) -> ca.SX:
    """`1/2 |v + D^{-1} g|^2_D` of a problem whose metric is its mass D."""
    gradient = ca.gradient(scalar_energy(problem, w), w)
    residual = v + gradient / problem.mass
    return 0.5 * ca.sum1(residual * residual * problem.mass)


def scalar_energy(problem: Problem, w: ca.SX) -> ca.SX:
    """The energy as one scalar graph; for few samples."""
    network, pieces = problem.network, [w[piece] for piece in problem.slices]
    functions = {id(module): module_function(module) for module in problem.modules}
    losses = [
        loss_function(term.loss, problem.nodes[term.node].size, targets.shape[1])
        for term, targets in zip(network.costs, network.targets, strict=True)
    ]
    energy = 0.5 * problem.weight_decay * ca.sumsqr(w)
    for b in range(problem.samples):
        columns = [tuple(ca.SX(array[b]) for array in arrays) for arrays in (network.data, network.targets)]
        sample = replace(network, data=columns[0], targets=columns[1])
        states = sample.forward(COLUMNS, pieces, lambda place, piece, z: functions[id(place.module)](z, piece))
        for term, loss, target in zip(network.costs, losses, sample.targets, strict=True):
            energy += term.weight * loss(states[term.node], target) / problem.samples
    return energy
