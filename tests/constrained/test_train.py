"""Training reaches points of first order: both formulations, several solvers, known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import actionopt as ao
from actionopt import figures
from tests.constrained.systems import SYSTEMS, Gain, classes, data

PROBLEMS = Path(__file__).parents[2] / "problems"
WAYS = [(solver, formulation) for formulation in ("lifted", "condensed") for solver in ("ipopt", "fatrop")]

# Hidden units may be swapped and signs flipped, and an arm bends both ways: minima come in copies, and other iterates
# may end in another copy. These systems and starts (seed, scale) have one minimum, or a nearest one.
ISOLATED: dict[str, Callable[[], ao.Problem]] = {
    "softmax regression": lambda: ao.Problem(
        ao.Dense(3, 3), data(8), classes(8), ao.SoftmaxCrossEntropy(), weight_decay=0.1
    ),
    "tanh net": lambda: ao.Problem(
        [ao.Dense(3, 2, "tanh"), ao.Dense(2, 1)], data(6), data(6, 1), ao.SquaredError(), weight_decay=0.05
    ),
    "B = every width": lambda: ao.Problem(
        [ao.Dense(3, 3, "tanh"), ao.Dense(3, 3)], data(3), 0.3 * data(3, seed=6), ao.SquaredError(), weight_decay=0.2
    ),
    "users' module": lambda: ao.Problem(
        [Gain(), ao.Dense(3, 1)], data(5), data(5, 1), ao.SquaredError(), weight_decay=0.1
    ),
    "robot arm": lambda: ao.load_problem(PROBLEMS / "robot_arm.py"),
}


STARTS = {"tanh net": (2, 1.0), "robot arm": (0, 0.3), "B = every width": (2, 0.3)}


@pytest.mark.parametrize("name", ISOLATED)
def test_every_way_ends_in_the_same_point(name: str) -> None:
    problem = ISOLATED[name]()
    seed, scale = STARTS.get(name, (1, 0.3))
    w0 = scale * problem.initial_weights(seed)
    solutions = [ao.train(problem, w0, solver=solver, formulation=formulation) for solver, formulation in WAYS]
    for solution, (solver, formulation) in zip(solutions, WAYS, strict=True):
        assert solution.success
        assert solution.stats["solver"] == solver
        assert solution.stats["formulation"] == formulation
        assert solution.gradient_norm <= 1e-7
        np.testing.assert_allclose(solution.weights, solutions[0].weights, atol=1e-6)
        assert solution.energy == pytest.approx(solutions[0].energy, abs=1e-10)
        for multiplier, adjoint in zip(
            solution.multipliers, ao.adjoints(problem, solution.weights).adjoints, strict=True
        ):
            np.testing.assert_allclose(multiplier, adjoint, atol=1e-7)


@pytest.mark.parametrize(("solver", "formulation"), [*WAYS, ("sqpmethod", "lifted"), ("uno", "lifted")])
def test_linear_regression_reaches_its_closed_form(solver: str, formulation: str) -> None:
    problem = ao.load_problem(PROBLEMS / "linear_regression.py")
    solution = ao.train(problem, solver=solver, formulation=formulation)
    design = np.hstack([problem.inputs, np.ones((problem.samples, 1))])
    penalty = problem.samples * problem.weight_decay * np.eye(design.shape[1])
    exact = np.linalg.solve(design.T @ design + penalty, design.T @ problem.target_array).T
    matrix = exact[:, :-1] if problem.size == exact.size else exact
    expected = np.concatenate([matrix.reshape(-1), exact[:, -1]]) if problem.size == exact.size else matrix.reshape(-1)
    np.testing.assert_allclose(solution.weights, expected, atol=1e-7)


@pytest.mark.parametrize("name", SYSTEMS)
def test_derivatives_by_blocks_are_casadi_s_own(name: str) -> None:
    import casadi as ca

    from actionopt.constrained.graph import SymbolicNetwork
    from actionopt.constrained.lifted import LiftedProgram, Quadratic

    problem = SYSTEMS[name]()
    rng = np.random.default_rng(1)
    square = sparse.coo_array(
        rng.random((problem.size, problem.size)) * (rng.random((problem.size, problem.size)) < 0.5)
    )
    penalty = Quadratic((square + square.T).tocsc(), problem.initial_weights(2))
    program = LiftedProgram(SymbolicNetwork(problem), -1, penalty=penalty)
    given = program.derivatives
    lagrangian = given.lam_f * program.energy + ca.dot(given.lam_g, program.equations)
    x = ca.SX.sym("x", program.x.numel())
    lam_f, lam_g = ca.SX.sym("lam_f"), ca.SX.sym("lam_g", program.equations.numel())
    both = ca.Function("both", [program.x, given.lam_f, given.lam_g], [program.equations, lagrangian]).expand()
    equations, value = both(x, lam_f, lam_g)
    own = ca.Function("own", [x, lam_f, lam_g], [ca.jacobian(equations, x), ca.hessian(value, x)[0]])
    blocks = ca.Function("blocks", [program.x, given.lam_f, given.lam_g], [given.jacobian, given.hessian])
    rng = np.random.default_rng(0)
    point = [rng.standard_normal(program.x.numel()), 0.7, rng.standard_normal(program.equations.numel())]
    for expected, actual in zip(own(*point), blocks(*point), strict=True):
        np.testing.assert_allclose(actual.full(), expected.full(), rtol=1e-10, atol=1e-11)


def test_stats_and_table() -> None:
    problem = ISOLATED["tanh net"]()
    solution = ao.train(problem)
    assert {"iterations", "build_time", "solve_time", "stationarity", "infeasibility"} <= set(solution.stats)
    assert solution.status == "converged"
    assert solution.energy == problem.energy(solution.weights)
    assert solution.gradient_norm == abs(problem.gradient(solution.weights)).max()
    assert np.asarray(solution) is not solution.weights
    np.testing.assert_array_equal(np.asarray(solution), solution.weights)
    assert "ipopt" in solution.table()
    assert "converged" in solution._repr_html_()


def test_plot_shows_the_multipliers_of_every_module() -> None:
    solution = ao.train(ISOLATED["tanh net"]())
    largest, mean = solution.plot().lines
    np.testing.assert_allclose(largest.get_ydata(), [abs(array).max() for array in solution.multipliers])
    np.testing.assert_allclose(mean.get_ydata(), [np.sqrt((array**2).mean()) for array in solution.multipliers])
    given = figures.axes()
    assert solution.plot(ax=given) is given


def test_large_condensed_problems_take_limited_memory() -> None:
    problem = ao.Problem(
        [ao.Dense(20, 25, "tanh"), ao.Dense(25, 3)], data(30, 20), classes(30), ao.SoftmaxCrossEntropy(),
        weight_decay=1.0,
    )  # fmt: skip
    assert problem.size > 500
    solution = ao.train(problem, formulation="condensed", tol=1e-4)
    assert solution.gradient_norm < 1e-3


def test_modules_of_many_weights_are_condensed_by_default() -> None:
    def problem(width: int) -> ao.Problem:
        return ao.Problem(ao.Dense(width, 3), data(4, width), classes(4), ao.SoftmaxCrossEntropy(), weight_decay=1.0)

    assert ao.train(problem(200), tol=1e-4).stats["formulation"] == "condensed"
    assert ao.train(problem(20)).stats["formulation"] == "lifted"


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
def test_solver_that_stops_early(solver: str) -> None:
    problem = ISOLATED["tanh net"]()
    w0 = problem.initial_weights(1)
    message = rf"{solver}: iteration limit after \d+ iterations .*; more iterations \(max_iterations=\)"
    with pytest.raises(ao.SolverError, match=message) as caught:
        ao.train(problem, w0, solver=solver, max_iterations=2)
    assert isinstance(caught.value.result, ao.Solution)
    solution = ao.train(problem, w0, solver=solver, max_iterations=2, throw=False)
    assert not solution.success
    assert solution.status == "iteration limit"
    np.testing.assert_array_equal(solution.weights, caught.value.result.weights)
    assert solution.energy == problem.energy(solution.weights)
    assert abs(solution.weights - w0).max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "fatropp"}, r"unknown solver 'fatropp'; did you mean 'fatrop'\? Known: "),
        (
            {"formulation": "lift"},
            r"unknown formulation 'lift'; did you mean 'lifted'\? Known: auto, condensed, lifted",
        ),
        ({"options": {"ipopt": {"tool": 1}}}, r"unknown option of solver 'ipopt' 'tool'"),
        ({"w0": [0.0]}, r"starting weights must have length 11, got shape \(1,\)"),
        ({"w0": np.full(11, np.inf)}, "starting weights must be finite, got inf"),
        ({"w0": np.zeros((2, 11))}, r"starting weights must be one point \(11,\), got shape \(2, 11\)"),
        ({"tol": -1.0}, "tol must be a positive number, got -1.0"),
        ({"max_iterations": 2.5}, "max_iterations must be a whole number >= 1, got 2.5"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    problem = ISOLATED["tanh net"]()
    assert problem.size == 11
    with pytest.raises(ao.InputError, match=message):
        ao.train(problem, **arguments)


def test_start_of_infinite_energy() -> None:
    grow = ao.CustomLoss(lambda ops, y, t: ops.sum(ops.exp(y)))
    problem = ao.Problem(ao.Dense(2, 2), data(2, 2), None, grow)
    with pytest.raises(ao.InputError, match="the energy at the starting weights is inf: choose smaller ones"):
        ao.train(problem, np.full(6, 1e4))


def test_modules_too_large_for_scalar_graphs() -> None:
    """A module of 520 weights is a graph of matrices; its second derivatives come another way."""
    rng = np.random.default_rng(0)
    layers = [ao.Dense(25, 20, "tanh"), ao.Dense(20, 1)]
    problem = ao.Problem(
        layers, rng.standard_normal((3, 25)), rng.standard_normal((3, 1)), ao.SquaredError(), weight_decay=1e-2
    )
    lifted, condensed = (ao.train(problem, formulation=form, tol=1e-9) for form in ("lifted", "condensed"))
    assert lifted.energy == pytest.approx(condensed.energy, rel=1e-10)
    assert abs(problem.gradient(lifted.weights)).max() < 1e-8
    assert lifted.stats["iterations"] < 40


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
@pytest.mark.parametrize("formulation", ["lifted", "condensed"])
def test_a_loss_without_curvature_is_a_program_too(solver: str, formulation: str) -> None:
    """The Hessian of |y| has no entries; least absolute deviations end at a kink, or say that they did not."""
    loss = ao.CustomLoss(lambda ops, y, t: ops.sum(ops.abs(y - t)))
    problem = ao.Problem(ao.Parameter(2), None, [[1.0, -2.0]], loss, output_metric=None)
    found = ao.train(problem, [0.7, 0.7], solver=solver, formulation=formulation, throw=False, max_iterations=50)
    assert not found.success
    assert np.isfinite(found.energy)
