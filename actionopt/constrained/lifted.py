"""The lifted program: weights and states are variables, the equations of the nodes are constraints.

    minimise over (w, z)   E + penalty(w)   subject to   s (f_k(z_of(k), w_group(k)) - z_k) = 0,
                                                         lower <= c <= upper,   low <= w <= high

Where the weights are fixed they are a parameter instead, and the problem is square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from actionopt.constrained.assembly import Assembly, as_casadi
from actionopt.constrained.constraint import PlacedConstraint
from actionopt.constrained.derivatives import (
    NodeDerivatives,
    add_hessian,
    add_jacobian,
    derivatives_of,
    mapped,
    nonzeros,
)
from actionopt.constrained.graph import SymbolicNetwork
from actionopt.constrained.layout import Layout, lay_out
from actionopt.nlp import Derivatives
from actionopt.symbolic import over_samples


@dataclass(frozen=True)
class Quadratic:
    """A term of the weights, `(w - start)^T matrix (w - start) / 2`, the matrix a SciPy sparse one."""

    matrix: Any
    start: np.ndarray

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Return its gradient at `w (n,)`."""
        return np.asarray(self.matrix @ (w - self.start))

    def symbolic(self, w: ca.MX) -> ca.MX:
        """Return it at a symbol `(n,)`."""
        step = w - self.start
        return 0.5 * ca.dot(step, ca.mtimes(as_casadi(self.matrix), step))


class LiftedProgram:
    """The lifted program as expressions of x, and how arrays are laid out in it.

    Parameters
    ----------
    graph : SymbolicNetwork
    sign : int
        The equations are `sign (f - z) = 0`, see `multiplier_sign`.
    penalty : Quadratic, optional
    constraints : sequence of PlacedConstraint
    fixed : bool
        Whether the weights are a parameter.

    Attributes
    ----------
    x, p : symbols
    energy, equations : expressions
        E with the penalty, and all of g.
    layout : Layout
    """

    def __init__(
        self,
        graph: SymbolicNetwork,
        sign: int,
        *,
        penalty: Quadratic | None = None,
        constraints: Sequence[PlacedConstraint] = (),
        fixed: bool = False,
    ) -> None:
        self.graph, self.sign, self.penalty, self.constraints, self.fixed = graph, sign, penalty, constraints, fixed
        self.problem, self.network = graph.problem, graph.network
        self.layout: Layout = lay_out(self.network, [c.condition for c in constraints], fixed=fixed)
        self.x = ca.MX.sym("x", self.layout.size)
        self.p = ca.MX.sym("w", self.problem.size) if fixed else ca.MX(0, 1)
        w = self.p if fixed else _taken(self.x, self.layout.weights)
        self.pieces = graph.pieces(w)
        self.states: list[Any] = [*graph.inputs, *(_columns(self.x, places) for places in self.layout.states)]
        self.energy = graph.mean_loss(self.states)
        if not fixed:
            self.energy = self.energy + 0.5 * self.problem.weight_decay * ca.sumsqr(w)
            self.energy = self.energy if penalty is None else self.energy + penalty.symbolic(w)
        self.equations = self._equations()

    def _equations(self) -> ca.MX:
        outputs = self.graph.outputs(self.pieces, self.states)
        first = len(self.network.data)
        parts = [ca.vec(self.sign * (out - z)) for out, z in zip(outputs, self.states[first:], strict=True)]
        parts += [ca.vec(function(at)) for function, at in self._conditions()]
        places = [array.ravel() for array in (*self.layout.equations, *self.layout.conditions)]
        order = np.argsort(np.concatenate(places)) if places else np.zeros(0, dtype=int)
        return ca.densify(ca.vertcat(*parts))[order.tolist()]

    def _conditions(self) -> list[tuple[ca.Function, Any]]:
        """Return every constraint's function, mapped, and what it is evaluated at."""
        first, found = len(self.network.data), []
        for constraint in self.constraints:
            if constraint.condition.node is None:
                found.append((constraint.function, self.pieces[constraint.condition.group]))  # type: ignore[index]
            else:
                function = over_samples(constraint.function, self.graph.samples, [])
                found.append((function, self.states[first + constraint.condition.node]))
        return found

    @cached_property
    def nodes(self) -> list[NodeDerivatives]:
        """Derivatives of the nodes, in order."""
        return derivatives_of(self.graph.functions, self.graph.samples)

    @cached_property
    def derivatives(self) -> Derivatives:
        """Jacobian and Hessian by blocks."""
        lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", self.layout.rows)
        jacobian = Assembly(self.layout.rows, self.layout.size)
        hessian = Assembly(self.layout.size, self.layout.size)
        for index, (place, node) in enumerate(zip(self.network.placed, self.nodes, strict=True)):
            z, w = self.graph.joined(place, self.states), self.pieces[place.group]  # type: ignore[index]
            at_z, at_w = self._inputs_of(place.of), self._weights_of(place.group)  # type: ignore[arg-type]
            rows, own = self.layout.equations[index], self.layout.states[index]
            add_jacobian(jacobian, node, z, w, rows, at_z, at_w, self.sign)
            jacobian.add(rows, own, ca.DM([-float(self.sign)] * own.size))
            if not self.fixed:
                add_hessian(hessian, node, z, w, self.sign * _columns(lam_g, rows), at_z, at_w)
        self._add_constraints(jacobian, hessian, lam_g)
        if self.fixed:  # as many equations as unknowns decide every step: any positive definite matrix serves
            every = np.arange(self.layout.size)
            hessian.add(every, every, ca.DM.ones(self.layout.size))
        else:
            self._add_costs(hessian, lam_f)
            self._add_weight_terms(hessian, lam_f)
        return Derivatives(jacobian.matrix(), hessian.matrix(), lam_f, lam_g)

    def _inputs_of(self, of: Sequence[int]) -> np.ndarray:
        """Where what a node takes lies in x, `(B, in)`; -1 where it is data."""
        first, samples = len(self.network.data), self.graph.samples
        parts = [
            self.layout.states[k - first] if k >= first else np.full((samples, self.network.nodes[k].size), -1)
            for k in of
        ]
        return np.concatenate([np.zeros((samples, 0), dtype=int), *parts], axis=1)

    def _weights_of(self, group: int) -> np.ndarray:
        return self.layout.weights[:0] if self.fixed else self.layout.weights[self.network.groups[group].slice]

    def _add_costs(self, hessian: Assembly, lam_f: ca.MX) -> None:
        first = len(self.network.data)
        for term, loss, targets in zip(self.network.costs, self.graph.losses, self.graph.targets, strict=True):
            if term.node < first:
                continue
            y, target = ca.SX.sym("y", loss.size1_in(0)), ca.SX.sym("target", loss.size1_in(1))
            second = ca.hessian(loss(y, target), y)[0]
            function = mapped("loss_hessian", [y, target], [second], self.graph.samples, shared=[], summed=[])
            blocks = lam_f * term.weight / self.graph.samples * function(self.states[term.node], targets)
            places = self.layout.states[term.node - first]
            hessian.add_blocks(second.sparsity(), places, places, nonzeros(blocks))

    def _add_constraints(self, jacobian: Assembly, hessian: Assembly, lam_g: ca.MX) -> None:
        pairs = zip(self.constraints, self.layout.conditions, self._conditions(), strict=True)
        for constraint, rows, (_, at) in pairs:
            condition = constraint.condition
            if condition.node is None:
                where, samples = self._weights_of(condition.group)[None], 1  # type: ignore[arg-type]
            else:
                where, samples = self.layout.states[condition.node], self.graph.samples
            rows = rows.reshape(samples, -1)
            x, mu = ca.SX.sym("x", where.shape[1]), ca.SX.sym("mu", rows.shape[1])
            out = constraint.function(x)
            first, second = ca.jacobian(out, x), ca.hessian(ca.dot(mu, out), x)[0]
            slopes = mapped("condition_jacobian", [x], [first], samples, shared=[], summed=[])(at)
            bent = mapped("condition_hessian", [x, mu], [second], samples, shared=[], summed=[])
            curvature = bent(at, _columns(lam_g, rows))
            jacobian.add_blocks(first.sparsity(), rows, where, nonzeros(slopes))
            hessian.add_blocks(second.sparsity(), where, where, nonzeros(curvature))

    def _add_weight_terms(self, hessian: Assembly, lam_f: ca.MX) -> None:
        if self.fixed:
            return
        at = self.layout.weights
        if self.problem.weight_decay:
            hessian.add(at, at, lam_f * ca.DM([self.problem.weight_decay] * len(at)))
        if self.penalty is not None:
            entries = self.penalty.matrix.tocoo()
            rows, columns = entries.coords
            hessian.add(at[rows], at[columns], lam_f * ca.DM(entries.data))

    def point(self, w: np.ndarray, states: Sequence[np.ndarray]) -> np.ndarray:
        """Lay weights `(n,)` and states `(B, d_k)`, one array a node, out as x."""
        x = np.empty(self.layout.size)
        x[self.layout.weights] = w if self.layout.weights.size else w[:0]
        for places, state in zip(self.layout.states, states, strict=True):
            x[places] = state
        return x

    def states_at(self, x: np.ndarray) -> list[np.ndarray]:
        """Take the states `(B, d_k)`, one array a node, out of x."""
        return [x[places] for places in self.layout.states]

    def multipliers(self, lam_g: np.ndarray) -> list[np.ndarray]:
        """Return the multipliers of `f - z = 0`, `(B, d_k)` a node."""
        return [self.sign * lam_g[places] for places in self.layout.equations]

    def to_multipliers(self, multipliers: Sequence[np.ndarray]) -> np.ndarray:
        """Lay multipliers of `f - z = 0` out for g; constraints get zero."""
        lam = np.zeros(self.layout.rows)
        for places, array in zip(self.layout.equations, multipliers, strict=True):
            lam[places] = self.sign * array
        return lam

    def constraint_multipliers(self, lam_g: np.ndarray) -> list[np.ndarray]:
        """Return the multipliers of the constraints, each in its own shape."""
        return [lam_g[places] for places in self.layout.conditions]

    def limits(self, bounds: tuple[np.ndarray, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Return lower and upper bounds of x and g."""
        found = {"lbx": np.full(self.layout.size, -np.inf), "ubx": np.full(self.layout.size, np.inf)}
        if bounds is not None and not self.fixed:
            found["lbx"][self.layout.weights], found["ubx"][self.layout.weights] = bounds
        found |= {"lbg": np.zeros(self.layout.rows), "ubg": np.zeros(self.layout.rows)}
        for places, constraint in zip(self.layout.conditions, self.constraints, strict=True):
            found["lbg"][places], found["ubg"][places] = constraint.lower, constraint.upper
        return found


def _taken(x: ca.MX, places: np.ndarray) -> ca.MX:
    """Return the entries of a column at some places; a slice where they follow one another."""
    flat = places.ravel()
    if not flat.size:
        return ca.MX(0, 1)
    if (np.diff(flat) == 1).all():
        return x[int(flat[0]) : int(flat[-1]) + 1]
    return x[flat.tolist()]


def _columns(x: ca.MX, places: np.ndarray) -> ca.MX:
    """Return the entries at `places (B, d)` as a matrix `(d, B)`."""
    samples, size = places.shape
    return ca.reshape(_taken(x, places), size, samples)
