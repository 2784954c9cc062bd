"""Optimal control as a network: the stages of the dynamics are its nodes, the controls their weights.

    minimise over u   sum_k l(u_k, z_k) + phi(z_N)   subject to   z_{k+1} = f(z_k, u_k),   z_0 given,
                                                                  low <= u <= high,   c(u_k, z_k) <= 0,   z_N = end

Training such a network is solving the problem; the multipliers of its stage equations are the costates, in the
Lagrangian `J + sum lam_{k+1}^T (f(z_k, u_k) - z_{k+1})`: lam_N = dphi/dz_N, lam_k = dl/dz_k + A_k^T lam_{k+1}.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from actionopt.constrained.constraint import Constraint
from actionopt.errors import InputError
from actionopt.losses import CustomLoss
from actionopt.modules import Module
from actionopt.nodes import Cost, Input
from actionopt.ops import Ops
from actionopt.ops.base import Array
from actionopt.problem import Problem

OfBoth = Callable[[Ops, Array, Array], Array]  # of (ops, u, z)


class Stage(Module):
    """One step of the dynamics, on controls of its own, which start at zero."""

    def __init__(self, dynamics: Module, name: str) -> None:
        super().__init__(dynamics.in_size, dynamics.out_size, dynamics.weight_size, mass=dynamics.mass, name=name)
        self.dynamics = dynamics
        self.scalar_graph = dynamics.scalar_graph

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return self.dynamics.forward(ops, w, z)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        return self.dynamics.vjp(ops, w, z, out, adjoint)

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(self.weight_size)


class Reading(Module):
    """What a stage's cost and constraint see: its control and the state it starts from, `[u, z]`."""

    is_reading = True

    def __init__(self, stage: Stage, name: str) -> None:
        sizes = stage.weight_size, stage.in_size
        super().__init__(sizes[1], sum(sizes), sizes[0], name=name)
        self.shares = stage

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return ops.concatenate([ops.repeat_samples(ops.unpack(w, (self.weight_size,)), z), z])

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        of_control, of_state = ops.split(adjoint, [self.weight_size, self.in_size])
        return ops.pack(ops.sum_samples(of_control)), of_state


class StageCost(CustomLoss):
    """A stage's cost as a loss of `[u, z]`; the positive part of its curvature is the metric."""

    positive_part = True

    def __init__(self, cost: OfBoth, sizes: tuple[int, int]) -> None:
        self.cost, self.sizes = cost, sizes
        super().__init__(self._value, "stage cost")

    def _value(self, ops: Ops, y: Array, target: Array) -> Array:
        return self.cost(ops, *ops.split(y, list(self.sizes)))


class EndCost(CustomLoss):
    """A cost of the last state; the positive part of its curvature is the metric."""

    positive_part = True

    def __init__(self, cost: Callable[[Ops, Array], Array]) -> None:
        super().__init__(lambda ops, y, target: cost(ops, y), "end cost")


class Control(Problem):
    """An optimal control problem, made by `control`.

    Attributes
    ----------
    stages : int
        N.
    bounds : (low, high) or None
        Of all controls, arrays `(n,)`; `train` keeps them.
    constraints : tuple of Constraint
        Of the stages and the end; `train` keeps them.
    """

    stages: int
    bounds: Any
    constraints: tuple[Constraint, ...]

    def controls(self, w: Any) -> np.ndarray:
        """Return weights `(n,)` as controls `(stages, m)`."""
        return self.check_point(w).reshape(self.stages, -1)


def control(
    dynamics: Module,
    start: Any,
    *,
    stages: int,
    stage_cost: OfBoth | None = None,
    end_cost: Callable[[Ops, Array], Array] | None = None,
    bounds: Any = None,
    stage_constraint: OfBoth | None = None,
    end: Any = None,
    mass: Any = 1.0,
    output_metric: Any = "fisher",
    name: str | None = None,
) -> Control:
    """State an optimal control problem as a network whose weights are the controls, stage after stage.

    Parameters
    ----------
    dynamics : Module
        `z_next = f(z, u)`, with as many outputs as inputs; the control u is its weights, fresh at every stage.
    start : array (d,)
        z_0.
    stages : int
        N >= 1.
    stage_cost : callable, optional
        `stage_cost(ops, u, z)` of rows `u (..., B, m)` and `z (..., B, d)`, one number a sample; summed over the
        stages, z_0's included.
    end_cost : callable, optional
        `end_cost(ops, z)` of the last state. One of the two costs is needed.
    bounds : (low, high), optional
        Of the controls: numbers, arrays `(m,)` for every stage, or `(stages, m)`.
    stage_constraint : callable, optional
        `stage_constraint(ops, u, z) <= 0`, any number of columns.
    end : array (d,), optional
        Values of the last state, NaN where it is free.
    mass, output_metric, name
        As `Problem` takes them.

    Returns
    -------
    Control
        A Problem: `train` keeps its bounds and constraints, `found.multipliers` are the costates lam_1 .. lam_N and
        `problem.controls(found.weights)` the controls `(stages, m)`. Weights start at zero.

    Raises
    ------
    InputError
        If sizes, bounds or the end do not fit, a formula cannot be evaluated, or there is no cost.

    Examples
    --------
    >>> class Step(ao.Module):                           # x' = u
    ...     in_size, out_size, weight_size = 1, 1, 1
    ...     def forward(self, ops, u, x):
    ...         return x + 0.1 * ops.unpack(u, (1,))
    >>> cost = lambda ops, u, x: 0.05 * ops.sum(x * x + u * u)
    >>> regulator = ao.control(Step(), [1.0], stages=10, stage_cost=cost)
    >>> found = ao.train(regulator)
    >>> found.success, regulator.controls(found.weights).shape
    (True, (10, 1))
    """
    dynamics, z0 = _checked(dynamics, start, stages)
    if stage_cost is None and end_cost is None:
        raise InputError("control needs a cost to minimise: stage_cost=, end_cost= or both")
    sizes = (dynamics.weight_size, dynamics.in_size)
    state, costs, constraints = Input(z0[None], name="start"), [], []
    steps = [Stage(dynamics, f"stage {k}") for k in range(1, stages + 1)]
    node: Any = state
    # one object for all stages: what is the same is evaluated together
    each = StageCost((lambda ops, u, z: ops.sum(z) * 0.0) if stage_cost is None else stage_cost, sizes)
    limit = None if stage_constraint is None else _of_both(stage_constraint, sizes)
    for number, step in enumerate(steps):
        if stage_cost is not None or limit is not None:
            read = Reading(step, f"reading {number}")(node)
            costs.append(Cost(read, each, weight=0.0 if stage_cost is None else 1.0))
            if limit is not None:
                constraints.append(Constraint(limit, on=read, upper=0.0, name=f"stage constraint at stage {number}"))
        node = step(node)
    last = (lambda ops, z: ops.sum(z) * 0.0) if end_cost is None else end_cost
    costs.append(Cost(node, EndCost(last), weight=0.0 if end_cost is None else 1.0))
    if end is not None:
        values = _end(end, dynamics.out_size)
        constraints.append(Constraint(lambda ops, z: z, on=node, lower=values, upper=values, name="end"))
    problem = Control(costs, mass=mass, output_metric=output_metric, name=name or "control")
    problem.stages, problem.constraints = int(stages), tuple(constraints)
    problem.bounds = None if bounds is None else _bounds(bounds, int(stages), dynamics.weight_size)
    return problem


def _of_both(value: OfBoth, sizes: Sequence[int]) -> Callable[[Ops, Array], Array]:
    return lambda ops, y: value(ops, *ops.split(y, list(sizes)))


def _checked(dynamics: Any, start: Any, stages: Any) -> tuple[Module, np.ndarray]:
    if not isinstance(dynamics, Module):
        raise InputError(f"dynamics must be a Module, z_next = f(z, u) with u as its weights, got {dynamics!r}")
    if dynamics.in_size != dynamics.out_size:
        raise InputError(
            f"dynamics {dynamics!r} take {dynamics.in_size} states and give {dynamics.out_size}; a stage hands on what "
            "it takes"
        )
    if not dynamics.weight_size:
        raise InputError(f"dynamics {dynamics!r} have no weights: the control is the weights of the module")
    if isinstance(stages, bool) or not isinstance(stages, numbers.Integral) or stages < 1:
        raise InputError(f"stages must be a whole number >= 1, got {stages!r}")
    z0 = np.asarray(start, dtype=float)
    if z0.shape != (dynamics.in_size,) or not np.isfinite(z0).all():
        raise InputError(f"start must be {dynamics.in_size} finite numbers, the state of {dynamics!r}, got {start!r}")
    return dynamics, z0


def _end(end: Any, size: int) -> np.ndarray:
    values = np.asarray(end, dtype=float)
    if values.shape != (size,) or np.isinf(values).any():
        raise InputError(f"end must be {size} numbers, one a state, NaN where it is free; got {end!r}")
    return values


def _bounds(bounds: Any, stages: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    expected = f"bounds must be (low, high) of the controls: numbers, arrays ({size},) or ({stages}, {size})"
    try:
        low, high = (
            np.broadcast_to(np.asarray(free if side is None else side, dtype=float), (stages, size)).ravel()
            for side, free in zip(bounds, (-np.inf, np.inf), strict=True)
        )
    except (TypeError, ValueError):
        raise InputError(f"{expected}; got {bounds!r}") from None
    crossing = np.flatnonzero(low > high)
    if crossing.size:
        stage, entry = divmod(int(crossing[0]), size)
        raise InputError(
            f"bounds cross at stage {stage}, control {entry}: {low[crossing[0]]:g} lies above {high[crossing[0]]:g}"
        )
    return low, high
