"""Optimal control as a network: costs and costates of hand-written programs, Riccati recursions and closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from problems.pendulum import FRICTION, GRAVITY, build, pumping

PENDULUM = Path(__file__).parents[2] / "problems" / "pendulum.py"
SOLVERS = ("ipopt", "fatrop", "newton")


class Linear(ao.Module):
    """`z_next = A z + B u`."""

    in_size, out_size, weight_size = 2, 2, 1
    a = np.array([[1.0, 0.1], [-0.2, 0.95]])
    b = np.array([[0.0], [0.1]])

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        (u,) = [ops.unpack(w, (1,))]
        x, v = ops.columns(z)
        rows = [self.a[i, 0] * x + self.a[i, 1] * v + self.b[i, 0] * u for i in range(2)]
        return ops.concatenate(rows)


def quadratic(ops: Any, u: Any, z: Any) -> Any:
    x, v = ops.columns(z)
    return 0.5 * ops.sum(u * u + 2.0 * x * x + v * v)


def regulator(stages: int = 30, **options: Any) -> ao.Problem:
    start = [1.0, -0.5]
    return ao.control(
        Linear(), start, stages=stages, stage_cost=quadratic, end_cost=lambda ops, z: 2.0 * ops.sum(z * z), **options
    )


def opti(problem: ao.Problem, limit: float, step: float = 0.06) -> tuple[float, np.ndarray]:
    """Return cost and costates of the swing-up as one writes it by hand."""
    stages = problem.size
    w0 = pumping(stages, step)
    point = ao.adjoints(problem, w0)
    states = [s[0] for s, m in zip(point.states, problem.modules, strict=True) if not m.is_reading]
    program = ca.Opti()
    z, u, cost = program.variable(2, stages + 1), program.variable(1, stages), 0

    def slope(at: Any, torque: Any) -> Any:
        return ca.vertcat(at[1], GRAVITY * ca.sin(at[0]) - FRICTION * at[1] + torque)

    for k in range(stages):
        at, torque = z[:, k], u[k]
        cost += step * (0.05 * torque**2 + 1 - ca.cos(at[0]) + 0.05 * at[1] ** 2)
        k1 = slope(at, torque)
        k2 = slope(at + 0.5 * step * k1, torque)
        k3 = slope(at + 0.5 * step * k2, torque)
        k4 = slope(at + step * k3, torque)
        program.subject_to(z[:, k + 1] == at + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    program.subject_to(z[:, 0] == [np.pi, 0])
    program.subject_to(z[:, stages] == [0, 0])
    program.subject_to(program.bounded(-limit, u, limit))
    program.minimize(cost)
    program.set_initial(z, np.column_stack([[np.pi, 0.0], *states]))
    program.set_initial(u, w0)
    # ipopt loosens bounds by 1e-8 of their size, which a cost of this size shows in its eighth digit
    exact = {"print_level": 0, "sb": "yes", "tol": 1e-12, "bound_relax_factor": 0.0}
    program.solver("ipopt", {"print_time": False}, exact)
    found = program.solve()
    # Opti writes `z_next - f = 0`: its multipliers are the negative of those of `f - z_next`
    return found.value(cost), -np.array(found.value(program.lam_g))[: 2 * stages].reshape(stages, 2)


@pytest.mark.parametrize("limit", [4.0, 8.0])
def test_swing_up_against_a_program_by_hand(limit: float) -> None:
    problem = build(limit=limit)
    cost, costates = opti(problem, limit)
    for solver in SOLVERS:
        found = ao.train(problem, pumping(), solver=solver)
        assert found.energy == pytest.approx(cost, abs=1e-8)
        assert len(found.multipliers) == len(found.states) == 60
        np.testing.assert_allclose(np.concatenate(found.multipliers), costates, atol=1e-6)
        np.testing.assert_allclose(found.states[-1], 0.0, atol=1e-9)
        assert abs(found.weights).max() <= limit * (1 + 2e-8)
        assert found.adjoint_error <= 1e-8
        # at a bound the multiplier balances dJ/du, of the sign of the bound
        active = abs(found.weights) > limit - 1e-6
        assert (np.sign(found.bounds_multipliers[active]) == np.sign(found.weights[active])).all()
    assert cost == pytest.approx({4.0: 7.3115654942, 8.0: 5.8909315494}[limit], abs=1e-8)


@pytest.mark.parametrize("solver", [*SOLVERS, "sqpmethod"])
def test_regulator_against_the_riccati_recursion(solver: str) -> None:
    problem = regulator()
    a, b, q, r = Linear.a, Linear.b, np.diag([2.0, 1.0]), np.eye(1)
    p, gains = 4.0 * np.eye(2), []
    values = [p]
    for _ in range(problem.size):
        gains.append(np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a))
        p = q + a.T @ p @ (a - b @ gains[-1])
        values.append(p)
    z, controls, costates = np.array([1.0, -0.5]), [], []
    cost = 0.5 * z @ values[-1] @ z
    for gain, after in zip(gains[::-1], values[-2::-1], strict=True):
        controls.append(-gain @ z)
        z = a @ z + b @ controls[-1]
        costates.append(after @ z)
    found = ao.train(problem, solver=solver)
    assert found.energy == pytest.approx(cost, rel=1e-9)
    np.testing.assert_allclose(found.weights, np.concatenate(controls), atol=1e-9)
    np.testing.assert_allclose(np.concatenate([m for m in found.multipliers if m.shape[1] == 2]), costates, atol=1e-9)


def test_stage_constraints_end_and_free_ends() -> None:
    problem = regulator(
        stage_constraint=lambda ops, u, z: ops.concatenate([u - 2.0, -1.0 - ops.columns(z)[1]]), end=[0.0, np.nan]
    )
    for solver in SOLVERS:
        found = ao.train(problem, solver=solver)
        assert found.weights.max() <= 2.0 + 1e-7
        assert min(z[0, 1] for z in found.states[:-1]) >= -1.0 - 1e-7
        assert found.states[-1][0, 0] == pytest.approx(0.0, abs=1e-9)
        assert abs(found.states[-1][0, 1]) > 1e-3
        assert len(found.constraint_multipliers) == 31
        assert min(mu.min() for mu in found.constraint_multipliers[:-1]) >= -1e-7


def test_bounds_of_every_form_are_kept() -> None:
    for bounds in ((-0.2, 0.2), (np.array([-0.2]), None), (np.full((30, 1), -0.2), 0.2)):
        problem = regulator(bounds=bounds)
        found = ao.train(problem)
        assert found.weights.min() >= -0.2 - 1e-9
        assert problem.controls(found.weights).shape == (30, 1)


def test_energy_is_the_plain_sum_of_the_costs() -> None:
    problem = regulator(stages=3)
    u = np.array([0.3, -0.1, 0.2])
    z, total = np.array([1.0, -0.5]), 0.0
    for k in range(3):
        total += 0.5 * (u[k] ** 2 + 2.0 * z[0] ** 2 + z[1] ** 2)
        z = Linear.a @ z + Linear.b[:, 0] * u[k]
    assert problem.energy(u) == pytest.approx(total + 2.0 * z @ z, rel=1e-14)
    assert (problem.initial_weights() == 0).all()
    check = ao.check_adjoints(problem, u)
    assert check.relative_error <= 1e-10


def test_layerwise_steps_descend_on_a_stage_cost_with_curvature() -> None:
    """The curvature of the stage costs is part of the metric: where it was left out, such steps diverged."""
    problem = regulator(mass=1e-3)
    w = np.zeros(problem.size)
    energies = [problem.energy(w)]
    for _ in range(15):
        w = ao.step(problem, w, 0.2)
        energies.append(problem.energy(w))
    assert (np.diff(energies) <= 1e-12).all()
    assert energies[-1] == pytest.approx(ao.train(problem).energy, rel=1e-2)
    pendulum = build(limit=8.0)
    w = pumping()
    start = pendulum.energy(w)
    for _ in range(5):
        w = ao.step(pendulum, w, 1.0)
    assert pendulum.energy(w) < start


def test_costates_are_drawn_with_their_sign() -> None:
    found = ao.train(regulator())
    line = found.plot(component=0).lines[-1]
    np.testing.assert_allclose(line.get_ydata(), [lam[0, 0] for lam in found.multipliers])
    with pytest.raises(ao.InputError, match=r"component must be a feature of a node, 0 \.\. 1, got 2"):
        found.plot(component=2)
    several = ao.Problem([ao.Dense(2, 3, "tanh"), ao.Dense(3, 2)], np.eye(2), np.eye(2), ao.SquaredError())
    assert len(ao.train(several, throw=False, max_iterations=5).plot(component=1).collections) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": [1.0]}, "start must be 2 finite numbers"),
        ({"start": [1.0, np.nan]}, "start must be 2 finite numbers"),
        ({"stages": 0}, "stages must be a whole number >= 1, got 0"),
        ({"stage_cost": None, "end_cost": None}, "control needs a cost to minimise"),
        ({"end": [0.0]}, r"end must be 2 numbers, one a state, NaN where it is free; got \[0.0\]"),
        ({"bounds": (1.0, -1.0)}, "bounds cross at stage 0, control 0: 1 lies above -1"),
        ({"bounds": (np.zeros(3), 1.0)}, r"arrays \(1,\) or \(4, 1\)"),
        ({"dynamics": ao.Dense(2, 3)}, "take 2 states and give 3; a stage hands on what it takes"),
        ({"dynamics": ao.Activation(2, "tanh")}, "have no weights"),
        ({"dynamics": lambda ops, u, z: z}, "dynamics must be a Module"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    given = {"dynamics": Linear(), "start": [1.0, 0.0], "stages": 4, "stage_cost": quadratic, **arguments}
    with pytest.raises(ao.InputError, match=message):
        ao.control(given.pop("dynamics"), given.pop("start"), **given)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_end_out_of_reach_is_infeasible_and_named(solver: str) -> None:
    problem = regulator(bounds=(-0.1, 0.1), end=[10.0, 0.0])
    found = ao.train(problem, solver=solver, throw=False)
    assert found.status == "infeasible"
    assert "constraint 'end' is violated most" in found.message
