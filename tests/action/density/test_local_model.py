"""phi(w, u) = g.u + 1/2 u^T G u: momentum and derivatives against densely formed g and G."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.density.local_model import LocalModel
from actionopt.metric.kinds import METRICS
from actionopt.ops import NUMPY, DualOps
from tests.action.cases import PROBLEMS, squared
from tests.action.naive import NaiveFlow

every_problem = pytest.mark.parametrize("name", PROBLEMS)
every_metric = pytest.mark.parametrize("metric", METRICS)
DUALS = DualOps(NUMPY)


@every_problem
@every_metric
def test_momentum_is_metric_times_velocity_plus_gradient(name: str, metric: str, rng: np.random.Generator) -> None:
    problem = PROBLEMS[name]()
    w, u = rng.standard_normal((2, 3, problem.size))
    naive = NaiveFlow(problem, metric)
    expected = [dense @ move + g for move, (g, dense) in zip(u, map(naive.at, w), strict=True)]
    np.testing.assert_allclose(LocalModel(problem, metric).momentum(NUMPY, w, u), expected, rtol=1e-11, atol=1e-13)


@every_problem
@every_metric
def test_derivatives_are_those_of_the_value(name: str, metric: str, rng: np.random.Generator) -> None:
    problem = PROBLEMS[name]()
    w, u, dw = rng.standard_normal((3, problem.size))
    force, momentum = LocalModel(problem, metric).derivatives(NUMPY, w, u)
    np.testing.assert_allclose(momentum, LocalModel(problem, metric).momentum(NUMPY, w, u), rtol=1e-12)
    naive, step = NaiveFlow(problem, metric), 1e-5

    def phi(w: np.ndarray) -> float:
        g, dense = naive.at(w)
        return g @ u + 0.5 * u @ dense @ u

    assert force @ dw == pytest.approx((phi(w + step * dw) - phi(w - step * dw)) / (2 * step), rel=1e-6, abs=1e-8)


@every_problem
@every_metric
def test_duals_carry_the_derivatives_on(name: str, metric: str, rng: np.random.Generator) -> None:
    problem, step = PROBLEMS[name](), 1e-6
    model = LocalModel(problem, metric)
    w, u, dw, du = rng.standard_normal((4, problem.size))
    moved = model.derivatives(DUALS, DUALS.dual(w, dw), DUALS.dual(u, du))
    ahead, behind = (model.derivatives(NUMPY, w + s * dw, u + s * du) for s in (step, -step))
    for dual, plus, minus in zip(moved, ahead, behind, strict=True):
        np.testing.assert_allclose(dual.tangent, (plus - minus) / (2 * step), rtol=1e-6, atol=1e-7)


@every_problem
@every_metric
def test_leading_axes_are_independent(name: str, metric: str, rng: np.random.Generator) -> None:
    problem = PROBLEMS[name]()
    model = LocalModel(problem, metric)
    w, u = rng.standard_normal((3, problem.size)), rng.standard_normal((2, 3, problem.size))
    together = model.derivatives(NUMPY, w, u)
    for i in range(2):
        for k in range(3):
            for stack, one in zip(together, model.derivatives(NUMPY, w[k], u[i, k]), strict=True):
                np.testing.assert_allclose(stack[i, k], one, rtol=1e-12, atol=1e-14)


def test_unknown_metric() -> None:
    with pytest.raises(ao.InputError, match=r"unknown metric 'fisher'.*Known: euclidean, joint, layerwise"):
        LocalModel(squared(), "fisher")
