"""The door to CasADi's solvers: one answer and one sign of multipliers from all of them, and clear refusals."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

from actionopt.errors import InputError
from actionopt.nlp import Derivatives, NlpSolver, Stages, installed_solvers, solve_qp

SOLVERS = ["ipopt", "fatrop", "sqpmethod", "uno", "alpaqa", "blocksqp", "qrsqp"]


def two_steps(**options: Any) -> NlpSolver:
    """`x_{k+1} = sin(x_k) + u_k` from 1, two steps; cost `1/2 sum u^2 + (x_2 - 2)^2`."""
    u0, x1, u1, x2 = (ca.MX.sym(name) for name in ("u0", "x1", "u1", "x2"))
    g = ca.vertcat(x1 - (np.sin(1.0) + u0), x2 - (ca.sin(x1) + u1))
    f = 0.5 * (u0**2 + u1**2) + (x2 - 2) ** 2
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


def test_interrupted_solver_says_so() -> None:
    # what CasADi reports after Ctrl-C inside ipopt
    stats = {"return_status": "NonIpopt_Exception_Thrown", "success": False, "iter_count": 3}
    residuals = {"stationarity": 1.0, "infeasibility": 1.0, "complementarity": 0.0}
    assert two_steps()._status(stats, residuals) == "interrupted"
    assert two_steps()._status({**stats, "success": True}, residuals) == "converged"
