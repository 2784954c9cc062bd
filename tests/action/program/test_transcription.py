"""The program that CasADi's solvers get, against the scheme, CasADi's own derivatives and dense twins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.program import stages
from actionopt.action.program.conditions import Conditions, make_conditions
from actionopt.action.program.flow_stage import FlowStage, extra_values
from actionopt.action.program.numpy_stages import stage_hessians
from actionopt.action.program.stages import StageFunctions
from actionopt.action.program.system import stage_functions
from actionopt.action.program.transcription import Layout, transcribe
from actionopt.action.scheme import make_scheme
from actionopt.action.task import ActionTask, make_task
from tests.action.cases import PROBLEMS, squared
from tests.action.naive import NaiveFlow

GRID = np.array([0.0, 0.1, 0.3, 0.35])
METRICS = ("layerwise", "joint", "euclidean")
SCHEMES = ("midpoint", "gauss2")


def speed_limit(ops: Any, w: Any, v: Any) -> Any:
    return ops.concatenate([ops.sum(v * v, keepdims=True) - 1.0, ops.columns(w)[0] * ops.columns(v)[1]])


def task_of(what: Any, scheme: str, **options: Any) -> ActionTask:
    """A grid of uneven steps, an end fixed in every second component, bounds on some."""
    rng = np.random.default_rng(1)
    start = rng.standard_normal(what.size)
    end = np.where(np.arange(what.size) % 2, np.nan, start + 0.3)
    lower, upper = np.full(what.size, -np.inf), np.full(what.size, np.inf)
    upper[0], lower[-1] = 4.0, -5.0
    return make_task(what, start, end, make_scheme(scheme, GRID), bounds=(lower, upper), **options)


def functions_of(task: ActionTask, *, lifted: bool, differentiable: bool) -> StageFunctions:
    return stage_functions(task, conditions_of(task), lifted=lifted, differentiable=differentiable)


def conditions_of(task: ActionTask) -> Conditions:
    points = np.ones(task.free.shape)  # sizes of the conditions are taken at it
    return replace(
        made := make_conditions(task, points),
        equality_sizes=np.ones_like(made.equality_sizes),
        inequalities=made.inequalities * ca.DM(made.inequality_sizes),
        equalities=made.equalities * ca.DM(made.equality_sizes),
        inequality_sizes=np.ones_like(made.inequality_sizes),
    )


def layout_of(task: ActionTask, functions: StageFunctions) -> Layout:
    sets = conditions_of(task).point_sets(task, np.array([0.25]))
    return Layout(task, functions.variables - 2 * task.size, functions.equalities + functions.inequalities, sets)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_variables_are_the_scheme_s_points_and_stages(scheme: str, rng: np.random.Generator) -> None:
    task = task_of(squared(), scheme)
    layout = Layout(task, 3, 2)
    points = rng.standard_normal(task.free.shape)
    points[0], points[-1] = task.start, np.where(np.isnan(task.end), points[-1], task.end)
    extra = rng.standard_normal((len(task.scheme.stages), 3))
    x = layout.variables(points, extra)
    np.testing.assert_allclose(layout.points(x), points, atol=1e-13)
    stages = (layout.to_stages @ x).full().reshape(len(extra), -1)
    expected = np.concatenate([task.scheme.position @ points, task.scheme.velocity @ points, extra], axis=1)
    np.testing.assert_allclose(stages, expected, atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_points_that_meet_the_ends_meet_the_constraints(scheme: str, rng: np.random.Generator) -> None:
    task = task_of(squared(), scheme)
    layout = Layout(task, 0, 0)
    points = np.clip(rng.standard_normal(task.free.shape), task.lower, task.upper)
    points[0], points[-1] = task.start, np.where(np.isnan(task.end), points[-1], task.end)
    x, bounds = layout.variables(points, np.zeros((len(task.scheme.stages), 0))), layout.bounds(0)
    g = (layout.linear @ x).full()[:, 0]
    assert (g >= bounds["lbg"] - 1e-12).all()
    assert (g <= bounds["ubg"] + 1e-12).all()
    assert (x >= bounds["lbx"]).all()
    assert (x <= bounds["ubx"]).all()
    interior = 2 * (len(GRID) - 1) if scheme == "gauss2" else 0
    assert np.isinf([bounds["lbg"], bounds["ubg"]]).sum() == interior
    assert (~np.isinf([bounds["lbx"], bounds["ubx"]])).sum() == 2 * (len(GRID) - 2)  # at the end both are fixed


@pytest.mark.parametrize("scheme", SCHEMES)
def test_constraints_are_where_fatrop_expects_them(scheme: str) -> None:
    task = task_of(squared(), scheme, constraint=speed_limit)
    functions = functions_of(task, lifted=True, differentiable=True)
    layout = layout_of(task, functions)
    stages, program = layout.stages, transcribe(layout, functions)
    assert sum(stages.states) + sum(stages.controls) == layout.size == program["x"].numel()
    assert sum(stages.constraints) + sum(stages.states[1:]) == layout.constraints == program["g"].numel()
    own = [layout.gaps, layout.start, layout.end, layout.conditions, layout.interior, *layout.points_rows]
    np.testing.assert_array_equal(np.sort(np.concatenate([o.ravel() for o in own])), np.arange(layout.constraints))
    rows, columns = (np.array(index) for index in program["jac_g_x"].sparsity().get_triplet())
    ends = np.cumsum(np.add(stages.states, stages.controls))
    last_rows = np.cumsum(np.add(stages.constraints, [*stages.states[1:], 0]))
    behind = np.searchsorted(ends, columns, side="right") - np.searchsorted(last_rows, rows, side="right")
    assert set(behind) == {0, 1}
    gaps = np.isin(rows, layout.gaps)
    assert (behind[~gaps] == 0).all()


@pytest.mark.parametrize("written_out", [0, 10**9], ids=["mapped", "written out"])
@pytest.mark.parametrize(
    ("scheme", "metric", "lifted"),
    [("midpoint", "layerwise", False), ("gauss2", "joint", True), ("gauss2", "euclidean", True)],
)
def test_derivatives_against_casadi_s_own(
    scheme: str, metric: str, lifted: bool, written_out: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(stages, "WRITTEN_OUT", written_out)
    problem = ao.Problem(
        [ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)], [[0.3, 1.0], [1.0, -0.5]], [[1.0], [0.0]], ao.SquaredError()
    )
    task = task_of(problem, scheme, constraint=speed_limit, metric=metric)
    functions = functions_of(task, lifted=lifted, differentiable=True)
    program = transcribe(layout_of(task, functions), functions)
    x, lam_f, lam_g = program["x"], program["lam_f"], program["lam_g"]
    lagrangian = lam_f * program["f"] + ca.dot(lam_g, program["g"])
    ours = [program[name] for name in ("grad_f_x", "jac_g_x", "hess_gamma_x_x")]
    theirs = [
        ca.gradient(program["f"], x),
        ca.jacobian(program["g"], x),
        ca.hessian(lagrangian, x)[0],
    ]
    point = [rng.standard_normal(x.numel()), 1.3, rng.standard_normal(lam_g.numel())]
    values = ca.Function("compare", [x, lam_f, lam_g], ours + theirs)(*point)
    for own, other in zip(values[:3], values[3:], strict=True):
        np.testing.assert_allclose(own.full(), other.full(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_stages_of_a_flow_against_the_dense_metric(name: str, metric: str, rng: np.random.Generator) -> None:
    """At the values that the equations determine they hold, and the density is `1/2 |v + G^{-1} g|^2_G`."""
    problem = PROBLEMS[name]()
    naive = NaiveFlow(problem, metric)
    w, v = 0.5 * rng.standard_normal((2, problem.size))
    for lifted in (False, True):
        stage = FlowStage(problem, metric, lifted)
        equations = ca.vertcat(*stage.equalities) if stage.equalities else ca.SX(0, 1)
        at = ca.Function("at", [stage.w, stage.v, stage.extra], [stage.density, equations])
        extra = extra_values(problem, metric, w[None], lifted)[0]
        density, residual = at(w, v, extra)
        assert float(density) == pytest.approx(naive.value(w, v), rel=1e-9)
        np.testing.assert_allclose(residual.full(), 0.0, atol=1e-9)
        if len(extra):
            assert abs(at(w, v, extra + 0.1)[1].full()).max() > 1e-3


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_stage_hessians_against_differences_of_slopes(name: str, metric: str, rng: np.random.Generator) -> None:
    problem = PROBLEMS[name]()
    n, h = problem.size, 1e-5
    density = GradientFlowDensity(problem, metric)
    w, v = 0.5 * rng.standard_normal((2, 2, n))
    hessian = stage_hessians(density.expand(w, v), 1)  # type: ignore[arg-type]
    np.testing.assert_allclose(hessian, hessian.swapaxes(-1, -2), rtol=1e-8, atol=1e-8)
    for i in rng.choice(2 * n, 6, replace=False):
        unit = h * np.eye(2 * n)[i]
        right, left = (density.expand(w + s * unit[:n], v + s * unit[n:]) for s in (1, -1))
        slopes = [np.concatenate([at.force, at.momentum], axis=-1) for at in (right, left)]
        np.testing.assert_allclose(hessian[:, :, i], (slopes[0] - slopes[1]) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_numpy_functions_against_the_graph_s(metric: str, rng: np.random.Generator) -> None:
    """Values, slopes and Hessians of a path-constrained flow; in a constant metric both eliminate the velocity u."""
    task = task_of(squared(), "midpoint", constraint=speed_limit, metric=metric)
    numpy = functions_of(task, lifted=False, differentiable=False)
    assert numpy.keeps is not None
    graph = functions_of(task, lifted=False, differentiable=True)
    xi = rng.standard_normal((2 * task.size, 3))
    scale, mu = rng.standard_normal((1, 3)), rng.standard_normal((2, 3))
    extra = extra_values(squared(), metric, xi[: task.size].T, False).T
    value, conditions = numpy.value(xi)
    expected, equations = graph.value(np.concatenate([xi, extra]))
    np.testing.assert_allclose(value.full(), expected.full(), rtol=1e-9)
    np.testing.assert_allclose(conditions.full(), equations.full()[graph.equalities :], rtol=1e-9)
    if metric == "euclidean":
        np.testing.assert_allclose(numpy.slopes(xi).full(), graph.slopes(xi).full(), rtol=1e-8, atol=1e-10)
        dense = [ca.DM(f.hessian_pattern, f.hessian(xi, scale, mu)[:, 1]).full() for f in (numpy, graph)]
        np.testing.assert_allclose(*dense, rtol=1e-8, atol=1e-8)


def test_stages_without_constraints_or_curvature() -> None:
    """Empty constraints and an empty Hessian keep their shapes."""
    straight = ao.Lagrangian(2, lambda ops, w, v: ops.sum(w + v))
    functions = functions_of(task_of(straight, "midpoint"), lifted=False, differentiable=False)
    assert (functions.equalities, functions.inequalities) == (0, 0)
    program = transcribe(layout_of(task_of(straight, "midpoint"), functions), functions)
    assert program["hess_gamma_x_x"].nnz() == 0
    assert program["jac_g_x"].shape == (program["g"].numel(), program["x"].numel())
