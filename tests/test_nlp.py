"""The door to CasADi's solvers: one answer and one sign of multipliers from all of them, and clear refusals."""

from __future__ import annotations

import time
from typing import Any

import casadi as ca
import numpy as np
import pytest

from actionopt.errors import InputError
from actionopt.nlp import Derivatives, NlpSolver, Stages, deadline, installed_solvers, solve_qp
from actionopt.nlp.derivatives import PLUGINS
from actionopt.nlp.verdict import Course, Residuals, judge

SOLVERS = ["ipopt", "fatrop", "sqpmethod", "uno", "alpaqa", "blocksqp", "qrsqp"]


def two_steps(factor: float = 1.0, **options: Any) -> NlpSolver:
    """`x_{k+1} = sin(x_k) + u_k` from 1, two steps; cost `factor (1/2 sum u^2 + (x_2 - 2)^2)`."""
    u0, x1, u1, x2 = (ca.MX.sym(name) for name in ("u0", "x1", "u1", "x2"))
    g = ca.vertcat(x1 - (np.sin(1.0) + u0), x2 - (ca.sin(x1) + u1))
    f = factor * (0.5 * (u0**2 + u1**2) + (x2 - 2) ** 2)
    return NlpSolver(ca.vertcat(u0, x1, u1, x2), f, g, stages=Stages((0, 1, 1), (1, 1, 0), (0, 0, 0)), **options)


def disc(solver: str = "ipopt", **options: Any) -> NlpSolver:
    """Find the point of the disc `|x|^2 <= 2` nearest to (p, p), p > 1: (1, 1), with multiplier p - 1."""
    x, p = ca.MX.sym("x", 2), ca.MX.sym("p")
    return NlpSolver(x, ca.sumsqr(x - p), ca.sumsqr(x), p, solver=solver, equality=False, **options)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_gives_the_same_point_and_multipliers(solver: str, capfd: pytest.CaptureFixture[str]) -> None:
    solution = two_steps(solver=solver).solve(0.1)
    assert solution.success, solution.message
    u0, x1, u1, x2 = solution.x
    # d Lagrangian / du_k = u_k - lam_k and / dx_2 = 2 (x_2 - 2) + lam_1, by hand
    tol = 1e-5 if solver in ("alpaqa", "blocksqp") else 1e-7
    np.testing.assert_allclose(solution.lam_g, [u0, u1], atol=tol)
    np.testing.assert_allclose(solution.lam_g[1], -2 * (x2 - 2), atol=tol)
    np.testing.assert_allclose(u0, np.cos(x1) * u1, atol=tol)
    np.testing.assert_allclose(solution.objective, 0.5 * (u0**2 + u1**2) + (x2 - 2) ** 2)
    assert solution.stats["stationarity"] <= tol
    assert solution.stats["infeasibility"] <= tol
    if solver != "blocksqp":  # its QP solver prints a banner once a process, beneath Python's standard output
        assert capfd.readouterr().out == ""


@pytest.mark.parametrize("solver", ["ipopt", "sqpmethod", "uno"])
def test_inequality_multiplier_is_positive_at_the_upper_bound(solver: str) -> None:
    solution = disc(solver).solve([0.3, 0.5], p=[1.5], lbg=-np.inf, ubg=2.0)
    np.testing.assert_allclose(solution.x, [1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(solution.lam_g, [0.5], atol=1e-6)
    assert solution.stats["complementarity"] < 1e-6


def test_bound_multipliers_are_negative_at_lower_bounds() -> None:
    x = ca.MX.sym("x", 2)
    solution = NlpSolver(x, ca.sumsqr(x + 1)).solve([3.0, 3.0], lbx=[0.5, -5.0], ubx=np.inf)
    np.testing.assert_allclose(solution.x, [0.5, -1.0], atol=1e-7)
    np.testing.assert_allclose(solution.lam_x, [-3.0, 0.0], atol=1e-7)
    assert solution.lam_g.shape == (0,)


def test_one_build_serves_many_parameters() -> None:
    x, p = ca.MX.sym("x", 2), ca.MX.sym("p", 2)
    solver = NlpSolver(x, ca.sumsqr(x - p), p=p)
    for target in ([1.0, 2.0], [-3.0, 0.5]):
        np.testing.assert_allclose(solver.solve([0.0, 0.0], target).x, target, atol=1e-8)


def test_stats_keep_build_and_solve_apart() -> None:
    stats = two_steps().solve(0.1).stats
    assert stats["solver"] == "ipopt"
    assert stats["solver_status"] == "Solve_Succeeded"
    assert stats["build_time"] > 0
    assert stats["solve_time"] > 0
    assert stats["iterations"] > 0


def test_unknown_solver_names_the_nearest_and_the_installed() -> None:
    with pytest.raises(InputError, match=r"unknown solver 'ipop'; did you mean 'ipopt'\? Known: .*fatrop.*sqpmethod"):
        two_steps(solver="ipop")
    assert {"ipopt", "fatrop", "sqpmethod"} <= set(installed_solvers())


@pytest.mark.parametrize(
    ("solver", "options"),
    [
        ("ipopt", {"tool": 1}),
        ("ipopt", {"ipopt": {"tool": 1}}),
        ("sqpmethod", {"tool": 1}),
        ("fatrop", {"tool": 1}),
        ("fatrop", {"fatrop": {"tool": 1}}),
        ("alpaqa", {"alpaqa": {"tool": 1}}),
    ],
)
def test_unknown_option_is_named(solver: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"unknown option of solver '{solver}' 'tool'.*below its name, {{'{solver}'"):
        two_steps(solver=solver, options=options).solve(0.1)


def test_option_near_a_known_one_is_suggested() -> None:
    with pytest.raises(InputError, match=r"'max_itre'; did you mean 'max_iter'\?"):
        two_steps(solver="sqpmethod", options={"max_itre": 3})


def test_option_of_the_wrong_type() -> None:
    with pytest.raises(InputError, match="an option has a value of the wrong type"):
        two_steps(options={"ipopt": {"max_iter": "many"}})


def test_options_merge_over_the_defaults() -> None:
    solution = two_steps(options={"ipopt": {"max_iter": 2}}).solve(0.1)
    assert solution.stats["iterations"] == 2


@pytest.mark.parametrize(
    ("name", "value"), [("tol", 0.0), ("tol", "x"), ("max_iterations", 0), ("max_iterations", 1.5)]
)
def test_limits_must_make_sense(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} must be a .*got {value!r}"):
        two_steps(**{name: value})


def test_start_must_be_finite() -> None:
    with pytest.raises(InputError, match="the start must be finite, got nan at entry 2"):
        two_steps().solve([0.0, 0.0, np.nan, 0.0])


def test_crossing_bounds_are_refused() -> None:
    with pytest.raises(InputError, match="bounds on x cross"):
        two_steps().solve(0.1, lbx=1.0, ubx=0.0)


def test_fatrop_needs_stages() -> None:
    with pytest.raises(InputError, match="'fatrop' needs the stages"):
        disc("fatrop")


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod", "uno"])
def test_too_few_iterations_say_so(solver: str) -> None:
    solution = two_steps(solver=solver, max_iterations=1).solve(0.1)
    assert not solution.success
    assert solution.status == "iteration limit"
    assert solution.message.startswith(f"{solver}: iteration limit after ")
    assert "max_iterations=" in solution.message
    assert np.isfinite(solution.x).all()


@pytest.mark.parametrize("solver", ["ipopt", "sqpmethod", "uno"])
def test_infeasible_constraints_say_so(solver: str) -> None:
    x = ca.MX.sym("x", 2)
    solution = NlpSolver(x, ca.sumsqr(x), ca.sumsqr(x) + 1, solver=solver, max_iterations=200).solve(0.5)
    assert not solution.success
    assert solution.status in ("infeasible", "iteration limit")
    assert solution.stats["infeasibility"] > 0.9


@pytest.mark.parametrize("solver", ["ipopt", "sqpmethod", "uno"])
def test_formula_that_is_not_finite_says_so(solver: str, capfd: pytest.CaptureFixture[str]) -> None:
    x = ca.MX.sym("x")
    solution = NlpSolver(x, ca.log(x), solver=solver).solve(-1.0)
    assert solution.status == "not finite"
    assert "start elsewhere" in solution.message
    assert capfd.readouterr().out == ""


def quadratic_program() -> tuple[ca.DM, ca.DM, ca.DM]:
    """Return H, q, A of: minimise `x^2/2 + y^2 - x` subject to `x = y`; x = y = 1/3, multiplier 2/3."""
    return ca.DM(ca.diag(ca.DM([1.0, 2.0]))), ca.DM([-1.0, 0.0]), ca.DM([[1.0, -1.0]])


@pytest.mark.parametrize("solver", ["qrqp", "osqp", "qpoases", "ipqp"])
def test_quadratic_programs(solver: str, capfd: pytest.CaptureFixture[str]) -> None:
    solution = solve_qp(*quadratic_program(), solver=solver)
    assert solution.success, solution.message
    np.testing.assert_allclose(solution.x, [1 / 3, 1 / 3], atol=1e-7)
    np.testing.assert_allclose(solution.lam_g, [2 / 3], atol=1e-7)
    assert solution.stats["solver"] == solver
    if solver != "qpoases":  # a banner once a process
        assert capfd.readouterr().out == ""


def test_quadratic_program_that_is_not_solved_says_so() -> None:
    solution = solve_qp(*quadratic_program(), solver="osqp", options={"osqp": {"max_iter": 1}})
    assert not solution.success
    assert solution.status == "stopped"
    assert "try another solver" in solution.message


def test_unknown_qp_solver_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown QP solver 'qrpq'; did you mean 'qrqp'\? Known: .*osqp"):
        solve_qp(*quadratic_program(), solver="qrpq")
    with pytest.raises(InputError, match="unknown option of solver 'osqp' 'tool'"):
        solve_qp(*quadratic_program(), solver="osqp", options={"tool": 1})


def test_given_derivatives_are_used() -> None:
    x, p = ca.MX.sym("x", 2), ca.MX.sym("p", 0)
    lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g")
    f, g = (ca.exp(x[0]) - 2) ** 2 + (ca.exp(2 * x[1]) - 0.5) ** 2, ca.sum1(x) - 1.0
    jacobian = ca.MX(ca.DM.ones(1, 2))
    own = NlpSolver(x, f, g, p, tol=1e-8).solve([0.9, 0.1])
    # a cruder Hessian changes the iterates, which shows that it is taken, and not the answer
    for solver in ("ipopt", "sqpmethod"):
        crude = Derivatives(jacobian, lam_f * 100 * ca.MX.eye(2), lam_f, lam_g)
        solution = NlpSolver(x, f, g, p, solver=solver, derivatives=crude, options=None).solve([0.9, 0.1])
        assert solution.success, solution.message
        np.testing.assert_allclose(solution.x, own.x, atol=1e-6)
        np.testing.assert_allclose(solution.lam_g, own.lam_g, atol=1e-5)
        assert solution.stats["iterations"] > own.stats["iterations"]


def verdict(words: str, stationarity: float = 1.0, infeasibility: float = 0.0, **course: Any) -> str:
    residuals = Residuals(2.0 * stationarity, infeasibility, 0.0, 2.0, infeasibility)
    return judge(
        residuals, Course(**{"start": 1.0, "end": 0.5, "feasible_start": True, "words": words, **course}), 1e-8
    )


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("interrupted", {"words": "NonIpopt_Exception_Thrown"}),  # what CasADi reports after Ctrl-C inside ipopt
        ("converged", {"words": "Search_Direction_Becomes_Too_Small", "stationarity": 0.9e-8}),
        ("stopped", {"words": "Solve_Succeeded SOLVER_RET_SUCCESS", "stationarity": 1.1e-8}),
        ("infeasible", {"words": "Solve_Succeeded", "stationarity": 0.0, "infeasibility": 1e-3}),
        ("not finite", {"words": "Solve_Succeeded", "stationarity": np.nan}),
        ("not finite", {"words": "Solve_Succeeded", "stationarity": 0.0, "end": np.nan}),
        ("ascended", {"words": "Solve_Succeeded", "stationarity": 0.0, "end": 1.1}),
        ("converged", {"words": "Solve_Succeeded", "stationarity": 0.0, "end": 1.1, "feasible_start": False}),
        ("unbounded", {"words": "Error_In_Step_Computation", "end": -1e13}),
        ("unbounded", {"words": "Diverging_Iterates"}),
        ("time limit", {"words": "SOLVER_RET_UNKNOWN", "out_of_time": True}),
        ("time limit", {"words": "Maximum_WallTime_Exceeded SOLVER_RET_LIMITED"}),
        ("iteration limit", {"words": "Maximum_Iterations_Exceeded"}),
        ("iteration limit", {"words": "", "out_of_iterations": True}),
    ],
)
def test_our_residuals_decide_not_the_solver_s_word(expected: str, given: dict[str, Any]) -> None:
    assert verdict(**given) == expected


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e10])
def test_a_program_times_a_number_is_the_same_program(solver: str, factor: float) -> None:
    one, other = two_steps(solver=solver).solve(0.1), two_steps(factor, solver=solver).solve(0.1)
    assert other.success, other.message
    np.testing.assert_allclose(other.x, one.x, rtol=1e-6)
    np.testing.assert_allclose(other.lam_g, factor * one.lam_g, rtol=2e-6)
    np.testing.assert_allclose(other.objective, factor * one.objective, rtol=1e-6)
    np.testing.assert_allclose(other.stats["scale"], factor * one.stats["scale"], rtol=1e-12)
    assert other.stats["scaled_stationarity"] <= 1e-8
    assert other.stats["stationarity"] == pytest.approx(other.stats["scaled_stationarity"] * other.stats["scale"])


def test_bound_multipliers_scale_too() -> None:
    x = ca.MX.sym("x", 2)
    solution = NlpSolver(x, 1e-9 * ca.sumsqr(x + 1)).solve([3.0, 3.0], lbx=[0.5, -5.0])
    np.testing.assert_allclose(solution.lam_x, [-3e-9, 0.0], atol=1e-16)


def test_a_given_scale_is_what_tol_is_relative_to() -> None:
    x = ca.MX.sym("x")
    solver = NlpSolver(x, (x - 1) ** 2 + 1e-3 * (x - 1) ** 4)
    at_minimum = solver.solve(1.0 + 1e-12, scale=2.0)
    assert at_minimum.success
    assert at_minimum.stats["iterations"] == 0
    assert solver.solve(3.0).stats["scale"] == pytest.approx(4.0 + 4e-3 * 8)
    with pytest.raises(InputError, match="scale must be a positive number, got 0"):
        solver.solve(3.0, scale=0.0)


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
@pytest.mark.parametrize("kind", ["linear", "quadratic", "exponential"])
def test_what_falls_without_end_is_unbounded(solver: str, kind: str) -> None:
    x = ca.MX.sym("x")
    f = {"linear": -x, "quadratic": -(x**2), "exponential": -ca.exp(x)}[kind]
    program = NlpSolver(x, f, solver=solver, stages=Stages((0,), (1,), (0,)), time_limit=10.0)
    solution = program.solve(1.0)
    if solver == "ipopt":
        assert solution.status == "unbounded", solution.message
    else:  # sqpmethod climbs to where the derivative vanishes; linear programs have no second derivative
        assert solution.status in ("unbounded", "ascended", "stopped", "iteration limit"), solution.message


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
def test_derivatives_that_are_not_finite_are_no_success(solver: str) -> None:
    x = ca.MX.sym("x", 2)
    distance = ca.sqrt(x[0] ** 2 + 2 * x[1] ** 2)
    program = NlpSolver(x, distance, solver=solver, stages=Stages((0,), (2,), (0,)), time_limit=10.0)
    assert program.solve(0.0).status == "not finite"
    assert program.solve([0.3, 0.2]).status != "converged"


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
def test_time_limit_holds(solver: str) -> None:
    x = ca.MX.sym("x", 30)
    rosenbrock = ca.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    stages = Stages((0,), (30,), (0,))
    solution = NlpSolver(x, rosenbrock, solver=solver, stages=stages, time_limit=1e-6).solve(-1.0)
    assert solution.status == "time limit", solution.message
    assert "time_limit=" in solution.message
    with pytest.raises(InputError, match="cannot be stopped by time: leave time_limit out, or take fatrop"):
        NlpSolver(x, rosenbrock, solver="qrsqp", time_limit=1.0)
    with pytest.raises(InputError, match="time_limit must be a positive number of seconds, or None, got 0"):
        NlpSolver(x, rosenbrock, time_limit=0)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugins_take_the_functions_they_ask_for(plugin: str) -> None:
    """A function whose name or outputs a plugin does not expect would be derived again, or refused."""
    x, lam_f, lam_g = ca.MX.sym("x", 2), ca.MX.sym("lam_f"), ca.MX.sym("lam_g")
    f, g = ca.sumsqr(x - 1), x[0] + x[1] ** 2
    hessian = ca.hessian(lam_f * f + lam_g * g, x)[0]
    derivatives = Derivatives(ca.jacobian(g, x), hessian, lam_f, lam_g, ca.gradient(f, x))
    stages = Stages((0,), (2,), (1,))
    try:
        nlp = NlpSolver(x, f, g, solver=plugin, stages=stages, derivatives=derivatives)
    except InputError as error:
        pytest.skip(str(error))
    for name in PLUGINS[plugin]:
        assert hash(nlp.function.get_function(name)) == hash(nlp._kept["cache"][name]), (
            f"{plugin} not asking for {name}"
        )


class Endless:
    """A plugin that does not come back when its time is over."""

    def __init__(self, function: ca.Function, seconds: float) -> None:
        self.function, self.seconds = function, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)

    def __call__(self, **given: Any) -> Any:
        time.sleep(self.seconds)
        return self.function(**given)


def test_the_limit_of_time_holds_for_a_plugin_that_does_not_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "LATE", 0.1)
    x = ca.SX.sym("x", 2)
    nlp = NlpSolver(x, ca.sumsqr(x - 1), time_limit=0.1)
    nlp.function = Endless(nlp.function, 3.0)
    began = time.perf_counter()
    found = nlp.solve([3.0, 0.0])
    assert time.perf_counter() - began < 2.0
    assert (found.status, found.success) == ("time limit", False)
    np.testing.assert_array_equal(found.x, [3.0, 0.0])


@pytest.mark.parametrize("start", [0.7, 1e-3])
def test_fatrop_comes_back_from_derivatives_that_overflow(start: float) -> None:
    """Down log(x) to a bound at zero: squares of its derivatives overflow, and fatrop's own numbers became NaN."""
    x = ca.SX.sym("x", 2)
    value = ca.sum1(x + ca.log(x))
    stages = Stages((0,), (2,), (0,))
    nlp = NlpSolver(x, value, solver="fatrop", stages=stages, time_limit=20.0)
    found = nlp.solve([start, start], lbx=0.0, ubx=5.0)
    assert not found.success
    assert found.status != "time limit"
