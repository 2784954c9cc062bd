"""Action tasks through CasADi's solvers: the same answers as Newton's, and constrained ones with known answers."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest
from scipy.optimize import Bounds, NonlinearConstraint, lsq_linear, minimize

import actionopt as ao
from actionopt.action.discrete import DiscreteAction
from actionopt.action.guess import first_guess
from actionopt.action.newton.solve import NewtonSolver, make_density
from actionopt.action.program import numpy_stages
from actionopt.action.program.numpy_stages import stage_hessians
from actionopt.action.program.solve import CasadiSolver
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.solution import ActionSolution
from actionopt.action.task import ActionTask, Limits, make_task
from tests.action.cases import PROBLEMS, QUADRATIC_ACTION, quadratic, softmax, squared

METRICS = ("layerwise", "joint", "euclidean")
SCHEMES = ("midpoint", "gauss2", "radau5")


def fixed_task(what: Any, scheme: str = "midpoint", steps: int = 6, **options: Any) -> ActionTask:
    """From one draw of initial weights towards another."""
    start = what.initial_weights(2)
    end = start + 0.5 * (what.initial_weights(3) - start)
    return make_task(what, start, end, make_scheme(scheme, make_grid(1.0, steps)), **options)


def newton(task: ActionTask) -> ActionSolution:
    action = DiscreteAction(make_density(task), task)
    return NewtonSolver().solve(action, first_guess(task, "line"), Limits(1e-10, 500), lambda *a, **k: None)


def casadi(
    task: ActionTask,
    solver: str = "ipopt",
    formulation: str = "condensed",
    options: dict[str, Any] | None = None,
    tick: Any = lambda note=None: None,
    **limits: Any,
) -> ActionSolution:
    action = DiscreteAction(make_density(task), task)
    return CasadiSolver(solver, formulation, options).solve(action, first_guess(task, "line"), Limits(**limits), tick)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_solvers_and_formulations_agree(name: str, metric: str) -> None:
    task = fixed_task(PROBLEMS[name](), metric=metric, steps=4)
    expected = newton(task)
    for solver, formulation in (("ipopt", "condensed"), ("fatrop", "condensed"), ("ipopt", "lifted")):
        found = casadi(task, solver, formulation=formulation)
        assert found.success
        np.testing.assert_allclose(found.points, expected.points, rtol=0, atol=1e-7)
        assert found.stats["gradient_norm"] < 1e-6


@pytest.mark.parametrize(("solver", "unknowns"), [("ipopt", 1), ("uno", 2)])
@pytest.mark.parametrize(("scheme", "per_interval"), [("midpoint", 1), ("gauss2", 2)])
def test_numpy_functions_and_graph_agree(scheme: str, per_interval: int, solver: str, unknowns: int) -> None:
    """A plugin that derives its own functions gets a graph, with the flow's velocity as a second unknown a stage."""
    task = fixed_task(squared(), scheme, steps=3)
    found = casadi(task, solver)
    assert found.success, found.message
    assert found.stats["variables"] == 17 * (4 + 3 * per_interval * unknowns)
    assert ("velocity" in found.stats["multipliers"]) == (unknowns == 2)
    np.testing.assert_allclose(found.points, newton(task).points, rtol=0, atol=1e-7)


@pytest.mark.parametrize("solver", ["sqpmethod", "feasiblesqpmethod", "qrsqp", "uno", "blocksqp"])
def test_other_plugins_by_name(solver: str) -> None:
    task = make_task(quadratic(), [1.0, -1.0], [0.5, 0.8], make_scheme("gauss2", make_grid(1.5, 8)))
    found = casadi(task, solver)
    assert found.success, found.message
    np.testing.assert_allclose(found.points, newton(task).points, rtol=0, atol=1e-7)


@pytest.mark.parametrize("formulation", ["condensed", "lifted"])
@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
def test_ends_free_and_partly_fixed(solver: str, formulation: str) -> None:
    problem = squared()
    start = problem.initial_weights(2)
    partly = np.where(np.arange(problem.size) % 2, np.nan, problem.initial_weights(3))
    for end in (None, partly):
        task = make_task(problem, start, end, make_scheme("gauss2", make_grid(0.5, 4)))
        found = casadi(task, solver, formulation=formulation)
        assert found.success
        np.testing.assert_allclose(found.points, newton(task).points, rtol=0, atol=1e-7)
    assert casadi(make_task(problem, start, None, task.scheme)).points[0] == pytest.approx(start, abs=0)


def test_free_end_has_no_action() -> None:
    problem = squared()
    found = ao.minimize_action(problem, problem.initial_weights(2), horizon=1.0, steps=10, solver="ipopt", guess="line")
    assert found.action <= 1e-14


def test_grid_need_not_be_uniform() -> None:
    task = make_task(quadratic(), [1.0, -1.0], [0.5, 0.8], make_scheme("gauss2", 1.5 * np.linspace(0, 1, 21) ** 1.5))
    for solver in ("ipopt", "fatrop"):
        found = casadi(task, solver, tol=1e-10)
        np.testing.assert_allclose(found.points, newton(task).points, rtol=0, atol=1e-8)
    action = DiscreteAction(make_density(task), task).at(found.points).value
    assert action == pytest.approx(QUADRATIC_ACTION, abs=1e-6)


def string() -> ao.Lagrangian:
    """A string that weighs on the ground: `1/2 v^2 + w`."""
    return ao.Lagrangian(1, lambda ops, w, v: ops.sum(0.5 * v * v + w), bounds=(0.0, np.inf), name="string")


STRING_ACTION = 4.0 * np.sqrt(2.0) / 3.0  # from height 1 to height 1 in T = 4: parabolas that land at sqrt 2


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
def test_string_on_the_ground(solver: str) -> None:
    """An active bound: where the string lies, the ground carries its weight."""
    steps = 200
    found = ao.minimize_action(string(), [1.0], [1.0], horizon=4.0, steps=steps, solver=solver, tol=1e-10)
    assert found.action == pytest.approx(STRING_ACTION, abs=2e-4)
    touching = abs(found.times - 2.0) < 2.0 - np.sqrt(2.0) - 0.05
    np.testing.assert_allclose(found.weights[touching], 0.0, atol=1e-7)
    carried = found.stats["multipliers"]["bounds"]
    np.testing.assert_allclose(carried[touching], -4.0 / steps, atol=1e-6)
    flying = abs(found.times - 2.0) > 2.0 - np.sqrt(2.0) + 0.05
    np.testing.assert_allclose(carried[flying], 0.0, atol=1e-6)
    exact = 0.5 * np.maximum(np.sqrt(2.0) - np.minimum(found.times, 4.0 - found.times), 0.0) ** 2
    np.testing.assert_allclose(found.weights[:, 0], exact, atol=2e-3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bounded_quadratic_program_against_scipy(scheme: str) -> None:
    """The string's discrete action is a convex quadratic with bounds at every point: SciPy's BVLS solves it exactly."""
    task = make_task(string(), [1.0], [1.0], make_scheme(scheme, make_grid(4.0, 15)))
    action = DiscreteAction(make_density(task), task)
    free, units = task.free.ravel(), np.eye(task.free.size)[:, :, None]
    origin = action.at(np.where(task.free, 0.0, 1.0))
    hessian = np.stack([origin.product(unit * task.free) for unit in units])[:, :, 0][free][:, free]
    root = np.linalg.cholesky(hessian)
    slope = origin.gradient[:, 0][free]
    exact = lsq_linear(root.T, -np.linalg.solve(root, slope), (0.0, np.inf), method="bvls", tol=1e-14).x
    assert (exact == 0.0).any()
    for solver in ("ipopt", "fatrop"):
        found = casadi(task, solver, tol=1e-11)
        np.testing.assert_allclose(found.points[1:-1, 0], exact, rtol=0, atol=1e-6)


def test_bounded_weights_against_scipy() -> None:
    problem = squared()
    start = problem.initial_weights(2)
    end = problem.initial_weights(3)
    bounds = (np.minimum(start, end) - 0.02, np.maximum(start, end) + 0.02)
    task = make_task(problem, start, end, make_scheme("midpoint", make_grid(3.0, 6)), bounds=bounds)
    unbounded = newton(make_task(problem, start, end, task.scheme)).points
    assert max((unbounded - bounds[1]).max(), (bounds[0] - unbounded).max()) > 0.05
    action = DiscreteAction(make_density(task), task)

    def slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        points = first_guess(task, "line")
        points[task.free] = x
        at = action.at(points)
        return at.value, at.gradient[task.free]

    guess = first_guess(task, "line")[task.free]
    reference = minimize(
        slope,
        guess,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(*(np.broadcast_to(b, (6, 17))[:5].ravel() for b in bounds)),
        options={"ftol": 0, "gtol": 1e-9, "maxiter": 5000},
    )
    for solver, formulation in (("ipopt", "condensed"), ("fatrop", "condensed"), ("ipopt", "lifted")):
        found = casadi(task, solver, formulation=formulation, tol=1e-9)
        assert found.success
        np.testing.assert_allclose(found.points[task.free], reference.x, rtol=0, atol=1e-5)
        assert (found.points >= bounds[0] - 1e-7).all()
        assert (found.points <= bounds[1] + 1e-7).all()


def test_speed_limit() -> None:
    """`1/2 (v - 2)^2` with v <= 1: the limit is active everywhere, its multiplier is 2 - v = 1."""
    slow = ao.Lagrangian(1, lambda ops, w, v: ops.sum(0.5 * (v - 2.0) ** 2), constraint=lambda ops, w, v: v - 1.0)
    for scheme in SCHEMES:
        for solver in ("ipopt", "fatrop"):
            found = ao.minimize_action(slow, [0.0], horizon=3.0, steps=5, solver=solver, scheme=scheme)
            np.testing.assert_allclose(found.weights[:, 0], found.times, atol=1e-6)
            np.testing.assert_allclose(found.stats["multipliers"]["path"], 1.0, atol=1e-5)
            assert found.action == pytest.approx(1.5, abs=1e-6)


def around_the_disc(steps: int, solver: str) -> ao.Trajectory:
    """Least `1/2 |v|^2` from (-2, 0) to (2, 0) in T = 1, outside the unit disc."""
    free = ao.Lagrangian(2, lambda ops, w, v: 0.5 * ops.sum(v * v), name="disc")
    above = np.stack([np.linspace(-2, 2, steps + 1), 1.5 * np.sin(np.linspace(0, np.pi, steps + 1))], axis=-1)

    def outside(ops: Any, w: Any, v: Any) -> Any:
        return 1.0 - ops.sum(w * w, keepdims=True)

    return ao.minimize_action(
        free,
        [-2.0, 0.0],
        [2.0, 0.0],
        horizon=1.0,
        steps=steps,
        guess=above,
        constraint=outside,
        solver=solver,
    )


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
def test_shortest_way_around_a_disc(solver: str) -> None:
    """Two tangents of length sqrt 3 and an arc of pi/3, walked at constant speed: S = length^2 / 2."""
    length = 2.0 * np.sqrt(3.0) + np.pi / 3.0
    errors = [abs(around_the_disc(steps, solver).action - 0.5 * length**2) for steps in (20, 80)]
    assert errors[1] < 5e-3
    assert errors[1] < errors[0] / 3.0
    found = around_the_disc(80, solver)
    pressing = found.stats["multipliers"]["path"][:, 0]
    middle = 0.5 * (found.weights[1:] + found.weights[:-1])
    outside = np.hypot(*middle.T) > 1.05
    assert pressing.min() > -1e-6
    assert pressing[~outside].max() > 1.0
    np.testing.assert_allclose(pressing[outside], 0.0, atol=1e-4)


def test_path_constraint_against_scipy() -> None:
    found = around_the_disc(8, "ipopt")
    scheme = found.discretisation

    def action(x: np.ndarray) -> float:
        points = np.vstack([found.points[0], x.reshape(-1, 2), found.points[-1]])
        return float(scheme.weights @ (0.5 * (scheme.velocity @ points) ** 2).sum(axis=1))

    def radius(x: np.ndarray) -> np.ndarray:
        points = np.vstack([found.points[0], x.reshape(-1, 2), found.points[-1]])
        return ((scheme.position @ points) ** 2).sum(axis=1)

    guess = np.stack([np.linspace(-2, 2, 9), 1.5 * np.sin(np.linspace(0, np.pi, 9))], axis=-1)[1:-1].ravel()
    reference = minimize(
        action,
        guess,
        method="SLSQP",
        constraints=NonlinearConstraint(radius, 1.0, np.inf),
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found.points[1:-1].ravel(), reference.x, atol=1e-5)


@pytest.mark.parametrize("formulation", ["condensed", "lifted"])
def test_path_constraint_on_a_problem(formulation: str) -> None:
    """A speed limit on the flow of a network that it would exceed."""
    problem = squared()

    def speed(ops: Any, w: Any, v: Any) -> Any:
        return ops.sum(v * v, keepdims=True) - 0.12

    start = problem.initial_weights(2)
    free = ao.minimize_action(problem, start, horizon=1.0, steps=6)
    assert (free.velocities**2).sum(axis=1).max() > 0.15
    found = ao.minimize_action(
        problem, start, horizon=1.0, steps=6, constraint=speed, formulation=formulation, solver="ipopt"
    )
    assert (found.velocities**2).sum(axis=1).max() == pytest.approx(0.12, abs=1e-6)
    assert found.action > 1e-4
    other = ao.minimize_action(problem, start, horizon=1.0, steps=6, constraint=speed, solver="fatrop")
    np.testing.assert_allclose(other.weights, found.weights, atol=1e-5)


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_costates_are_momenta(scheme: str, solver: str) -> None:
    lqr = ao.Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(w * w + v * v))
    found = ao.minimize_action(lqr, [1.0], horizon=1.0, steps=20, scheme=scheme, solver=solver, tol=1e-10)
    costates = found.stats["multipliers"]["costates"]
    np.testing.assert_allclose(costates, found.node_momenta, atol=1e-9)
    assert costates[0, 0] == pytest.approx(-0.7615941560, abs=1e-3 if scheme == "midpoint" else 1e-7)
    assert costates[-1, 0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("formulation", ["condensed", "lifted"])
def test_costates_of_a_problem(formulation: str, metric: str) -> None:
    problem = squared()
    task = fixed_task(problem, "gauss2", steps=3, metric=metric)
    found = casadi(task, formulation=formulation)
    trajectory = ao.Trajectory.from_points(make_density(task), task.scheme, found.points)
    np.testing.assert_allclose(found.stats["multipliers"]["costates"], trajectory.node_momenta, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
def test_multipliers_of_the_lifted_equations(solver: str, metric: str) -> None:
    """Of the flow's velocity: the gap v - u. Of the adjoint equations: the tangents of the states along that gap."""
    problem = softmax()
    task = fixed_task(problem, steps=3, metric=metric)
    found = casadi(task, solver, formulation="lifted")
    multipliers = found.stats["multipliers"]
    w = task.scheme.position @ found.points
    density = make_density(task)
    gap = density.expand(w, task.scheme.velocity @ found.points).gap  # type: ignore[attr-defined]
    if metric == "euclidean":
        assert "velocity" not in multipliers
    else:
        np.testing.assert_allclose(multipliers["velocity"], gap, atol=1e-6)
    for q in range(len(w)):
        tangent, z, tangents = None, problem.inputs, []
        for module, piece, move in zip(
            problem.modules, problem.unflatten(w[q]), problem.unflatten(gap[q]), strict=True
        ):
            z, tangent = module.jvp(ao.ops.NUMPY, piece, z, move, tangent)
            tangents.append(tangent)
        np.testing.assert_allclose(multipliers["adjoints"][q], np.concatenate(tangents, axis=-1), atol=1e-6)
    assert multipliers["states"].shape == multipliers["adjoints"].shape


def test_infeasible_path_is_said_so() -> None:
    slow = ao.Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(v * v), constraint=lambda ops, w, v: v - 0.1)
    for solver in ("ipopt", "fatrop"):
        with pytest.raises(ao.SolverError, match="no point that satisfies the constraints") as caught:
            ao.minimize_action(slow, [0.0], [1.0], horizon=1.0, steps=5, solver=solver)
        assert caught.value.result.status == "infeasible"
        kept = ao.minimize_action(slow, [0.0], [1.0], horizon=1.0, steps=5, solver=solver, throw=False)
        assert not kept.success
        assert "longer horizon" in kept.message
    with pytest.raises(ao.InputError, match="end must lie within the bounds"):
        ao.minimize_action(slow, [0.0], [2.0], horizon=1.0, bounds=(0.0, 1.0))


def test_iteration_limit_keeps_the_iterate() -> None:
    task = fixed_task(squared())
    found = casadi(task, max_iterations=2)
    assert found.status == "iteration limit"
    assert "guess=" in found.message
    assert found.stats["iterations"] == 2
    assert 0 < abs(found.points - newton(task).points).max() < 1.0


def test_ctrl_c_keeps_the_last_iterate() -> None:
    notes = []

    def tick(note: str) -> None:
        notes.append(note)
        if len(notes) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    task = fixed_task(squared())
    found = casadi(task, tol=1e-12, tick=tick)
    assert found.status == "interrupted"
    assert not found.success
    assert "guess=" in found.message
    assert 3 <= len(notes) <= 4
    assert abs(found.points - first_guess(task, "line")).max() > 1e-3
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_stops_fatrop_where_it_evaluates(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no iteration callback: the Hessian after Ctrl-C fails."""
    calls = []

    def interrupted(*arguments: Any) -> np.ndarray:
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return stage_hessians(*arguments)

    monkeypatch.setattr(numpy_stages, "stage_hessians", interrupted)
    task = fixed_task(squared())
    found = casadi(task, "fatrop", tol=1e-12)
    assert found.status == "interrupted"
    assert len(calls) == 2
    assert np.isfinite(found.points).all()
    assert abs(found.points - first_guess(task, "line")).max() > 1e-3


def test_options_reach_the_plugin() -> None:
    task = fixed_task(squared())
    assert casadi(task, options={"ipopt": {"max_iter": 1}}).status == "iteration limit"
    with pytest.raises(ao.InputError, match="max_itr"):
        casadi(task, options={"ipopt": {"max_itr": 1}})


def test_refusals() -> None:
    task = make_task(quadratic(), [1.0, -1.0], [0.5, 0.8], make_scheme("midpoint", make_grid(1.5, 4)))
    with pytest.raises(ao.InputError, match=r"unknown solver 'ipot'; did you mean 'ipopt'\?"):
        casadi(task, "ipot")
    with pytest.raises(ao.InputError, match='a Lagrangian has none: use formulation="condensed"'):
        casadi(task, formulation="lifted")


def test_hessians_that_do_not_fit_are_refused_at_once() -> None:
    problem = ao.Problem([ao.Dense(2, 250, "tanh"), ao.Dense(250, 1)], [[1.0, 2.0]], [[0.0]], ao.SquaredError())
    with pytest.raises(ao.InputError, match=r'1001 weights at 100 stages that is 3\.2 GB.*solver="newton"'):
        ao.minimize_action(problem, problem.initial_weights(0), horizon=1.0, steps=100, solver="ipopt", guess="line")


def one(value: Any, **options: Any) -> ActionTask:
    scheme = make_scheme("midpoint", make_grid(1.0, 4))
    return make_task(ao.Lagrangian(1, value, name="odd", **options), [0.0], [1.0], scheme)


def test_formulas_that_cannot_be_used_are_named() -> None:
    outer = ao.Lagrangian(2, lambda ops, w, v: ops.matmul(ops.transpose(v), v), name="outer")
    with pytest.raises(ao.InputError, match=r"outer: the Lagrangian must be one number, got shape \(2, 1\)"):
        casadi(make_task(outer, [0.0, 0.0], None, make_scheme("midpoint", make_grid(1.0, 4))))
    with pytest.raises(ao.InputError, match="odd: the Lagrangian fails on CasADi symbols"):
        casadi(one(lambda ops, w, v: ops.sum(np.linalg.norm(v) * v)))
    with pytest.raises(ao.InputError, match="constraint fails on CasADi symbols, AttributeError"):
        casadi(one(lambda ops, w, v: ops.sum(v * v), constraint=lambda ops, w, v: ops.sine(w)))
    with pytest.raises(ao.InputError, match="strictly convex in v"):
        casadi(one(lambda ops, w, v: ops.sum(w * w - v * v)))
    with pytest.raises(ao.InputError, match="not finite at the guess"):
        casadi(one(lambda ops, w, v: ops.sum(v * v + ops.log(w - 0.5))))
