"""Naive twins of what was optimised for speed: each fast path against the formula it stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.density.local_model import LocalModel
from actionopt.action.newton.time_laplacian import TimeInverse
from actionopt.action.scheme import make_scheme
from actionopt.action.task import ActionTask, make_task
from actionopt.ops import NUMPY, DualOps
from benchmarks._action_peers import casadi_fixed, casadi_flow, midpoint_action, scipy_fixed, two_layer_stages
from benchmarks.action import ForwardOnly, make_case, ours, problem, xor_case
from tests.action.cases import softmax, squared, users, users_metric


def task_of(scheme: str, end: str, rng: np.random.Generator) -> ActionTask:
    """A task on uneven steps, its end free, fixed or partly fixed."""
    problem = squared()
    last = np.full(problem.size, np.nan) if end == "free" else problem.initial_weights(2)
    last[: problem.size // 2] = np.nan if end == "mixed" else last[: problem.size // 2]
    times = np.concatenate([[0.0], np.cumsum(rng.uniform(0.5, 2.0, 7))])
    return make_task(problem, problem.initial_weights(1), last, make_scheme(scheme, times))


@pytest.mark.parametrize("scheme", ["midpoint", "gauss2"])
@pytest.mark.parametrize("end", ["free", "fixed", "mixed"])
def test_time_inverse_is_weighted_least_squares(scheme: str, end: str, rng: np.random.Generator) -> None:
    task = task_of(scheme, end, rng)
    inverse = TimeInverse(task)
    velocity = rng.standard_normal((len(task.scheme.stages), task.size))
    root = np.sqrt(task.scheme.weights)
    law = root[:, None] * task.scheme.velocity.toarray()
    expected = np.zeros((len(task.scheme.points), task.size))
    for component in range(task.size):
        rows = np.flatnonzero(task.free[:, component])
        expected[rows, component] = np.linalg.lstsq(law[:, rows], root * velocity[:, component])[0]
    found = inverse.apply(velocity)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    residual = rng.standard_normal(found.shape) * task.free
    paired = (inverse.transposed(residual) * velocity).sum()
    np.testing.assert_allclose(paired, (residual * found).sum(), rtol=1e-11)


@pytest.mark.parametrize("metric", ["layerwise", "joint", "euclidean"])
@pytest.mark.parametrize("output_metric", [None, "euclidean", "fisher"])
def test_products_where_nothing_depends_on_the_direction(
    metric: str, output_metric: str | None, rng: np.random.Generator
) -> None:
    """A linear energy in a constant metric: `l_vv = G` is all that is left of the Hessian."""
    loss = ao.CustomLoss(lambda ops, y, target: ops.sum(y * ops.row([1.0, -2.0])))
    problem = ao.Problem([ao.Parameter(2)], None, None, loss, mass=0.5, output_metric=output_metric)
    w, v, dw, dv = rng.standard_normal((4, 3, 2))
    force, momentum = GradientFlowDensity(problem, metric).expand(w, v).product(dw, dv)
    mass = 1.5 if output_metric == "euclidean" and metric != "euclidean" else 0.5
    np.testing.assert_allclose(force, 0.0, atol=1e-14)
    np.testing.assert_allclose(momentum, mass * dv, rtol=1e-13)


@pytest.mark.parametrize("metric", ["layerwise", "joint", "euclidean"])
@pytest.mark.parametrize("case", [squared, softmax, users, users_metric])
def test_recorded_products_agree_with_duals(
    case: Callable[[], ao.Problem], metric: str, rng: np.random.Generator
) -> None:
    """The twin: momentum, solve and force on duals along one direction, nothing recorded."""
    model, duals = LocalModel(case(), metric), DualOps(NUMPY)
    w, v, dw, dv = 0.5 * rng.standard_normal((4, 3, model.problem.size))
    point = GradientFlowDensity(model.problem, metric).expand(w, v)
    gap = duals.dual(point.gap, None)
    slope = model.momentum(duals, duals.dual(w, dw), duals.dual(v, dv) - gap).tangent
    u = duals.dual(v - point.gap, dv - point.mass_solve(slope))
    ahead, momentum = model.derivatives(duals, duals.dual(w, dw), duals.dual(v, dv))
    behind, still = model.derivatives(duals, duals.dual(w, dw), u)
    force, change = point.product(dw, dv)
    np.testing.assert_allclose(still.value, 0.0, atol=1e-12)
    np.testing.assert_allclose(change, momentum.tangent, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(force, ahead.tangent - behind.tangent, rtol=1e-9, atol=1e-11)
    stacked = point.product(np.stack([dw, 2.0 * dw]), np.stack([dv, 2.0 * dv]))
    np.testing.assert_allclose(stacked[0], np.stack([force, 2.0 * force]), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(stacked[1], np.stack([change, 2.0 * change]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [ao.Dense, ForwardOnly])
def test_density_agrees_with_one_written_by_hand(kind: type[ao.Module], rng: np.random.Generator) -> None:
    """The closed form that SciPy minimises in the benchmark: value, force and momentum of a 2-H-1 network."""
    case = make_case("small", (2, 5, 1), 4, 1.0, fixed=True)
    w, v = rng.standard_normal((2, 7, case.size))
    value, force, momentum = two_layer_stages(case)(w, v)
    point = GradientFlowDensity(problem(case, kind), "euclidean").expand(w, v)
    np.testing.assert_allclose(point.value, value, rtol=1e-12)
    np.testing.assert_allclose(point.force, force, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(point.momentum, momentum, rtol=1e-12, atol=1e-13)


def test_benchmark_contestants_find_the_same_trajectory() -> None:
    case = make_case("small", (2, 3, 1), 10, 1.0, fixed=True)
    reference = ours(case)
    action = midpoint_action(case, reference.points)
    for other in (ours(case, ForwardOnly), scipy_fixed(case), casadi_fixed(case)):
        np.testing.assert_allclose(other.points, reference.points, atol=1e-6)
        np.testing.assert_allclose(midpoint_action(case, other.points), action, rtol=1e-9)


def test_benchmark_flow_agrees_with_casadi() -> None:
    case = dataclasses.replace(xor_case(), steps=10, horizon=1.0)
    np.testing.assert_allclose(casadi_flow(case).points, ours(case).points, atol=1e-7)
