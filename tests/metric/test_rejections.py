"""What cannot be computed is named: the module, what was expected, what came, and the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.metric import solver as solver_module
from tests.metric.twins import make_problem


class Saddle(ao.Loss):
    """A loss that is not convex in the outputs."""

    name = "saddle"

    def value(self, ops: Any, y: Any, target: Any) -> Any:
        a, b, _ = ops.columns(y)
        return ops.sum(a * a - b * b)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (
            lambda y: np.ones((2, 4)),
            r"factors \(m, 3\) or \(3, m, 3\) for the outputs \(3, 3\) of module 3 last, got .*4",
        ),
        (lambda y: np.ones(3), r"of module 3 last, got shape \(3,\)"),
        (lambda y: np.ones((5, 2, 3)), r"of module 3 last, got shape \(5, 2, 3\)"),
        (lambda y: np.full((1, 3), np.nan), "output metric of module 3 last is not finite"),
        (lambda ops, y, target: [], r"at least one row \(..., B, 3\) for the outputs of module 3 last"),
        (lambda ops, y, target: [ops.columns(y)[0]], r"of module 3 last, got rows of \[1\] features"),
        (lambda ops, y, target: np.ones((*y.shape[:-1], 3, 3)), r"a list of at least one row .* got ndarray"),
        (lambda ops, y, target: [np.ones((5, 3))], r"got rows of shape \[\(5, 3\)\] for outputs \(3, 3\)"),
    ],
)
def test_factor_of_a_wrong_shape(factor: Any, message: str) -> None:
    problem = make_problem(output_metric=factor)
    with pytest.raises(ao.InputError, match=message):
        ao.LayerMetric(problem, problem.initial_weights(0))


def test_output_metric_that_is_not_positive_semidefinite() -> None:
    problem = ao.Problem(ao.Dense(2, 3), np.ones((4, 2)), None, Saddle())
    with pytest.raises(
        ao.InputError,
        match="output metric of module 1 Dense is not positive semidefinite: the Hessian of the saddle has the "
        "eigenvalue -2 at sample 0; use output_metric='euclidean'",
    ):
        ao.LayerMetric(problem, problem.initial_weights(0))


@pytest.mark.parametrize(
    ("mass", "message"),
    [
        (0.0, "mass must be positive and finite"),
        (-1.0, "mass must be positive and finite"),
        ([1.0, 0.0, 1.0], "mass of module 2 Dense must be positive and finite"),
        ([1.0, np.ones(5), 1.0], r"mass of module 2 Dense must be one number or 12 numbers, got shape \(5,\)"),
        (np.ones(35), "mass must be one number or 36 numbers"),
    ],
)
def test_wrong_mass(mass: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        make_problem(mass=mass)


def test_activations_that_are_not_finite() -> None:
    modules = [ao.Dense(2, 2, name="first"), ao.Dense(2, 2, "exp", name="growth"), ao.Dense(2, 1)]
    problem = ao.Problem(modules, np.ones((3, 2)), np.zeros((3, 1)), ao.SquaredError())
    with pytest.raises(ao.InputError, match="module 2 growth: its output is not finite"):
        ao.LayerMetric(problem, np.full(problem.size, 1e3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solve": "woodbury"}, "unknown solve 'woodbury'.*Known: auto, cg, dual, primal"),
        ({"tol": 0.0}, "tol must be a number between 0 and 1, got 0.0"),
        ({"tol": "small"}, "tol must be a number between 0 and 1, got 'small'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    problem = make_problem()
    with pytest.raises(ao.InputError, match=message):
        ao.LayerMetric(problem, problem.initial_weights(0), **options)


def test_wrong_points_and_vectors() -> None:
    problem = make_problem()
    w = problem.initial_weights(0)
    with pytest.raises(ao.InputError, match=r"weights must be one point \(36,\), got shape"):
        ao.LayerMetric(problem, np.stack([w, w]))
    with pytest.raises(ao.InputError, match="weights must have length 36"):
        ao.LayerMetric(problem, w[:-1])
    metric = ao.LayerMetric(problem, w)
    with pytest.raises(ao.InputError, match=r"vectors must have shape \(36,\) or \(36, k\), got \(35,\)"):
        metric.solve(w[:-1])
    with pytest.raises(ao.InputError, match="vectors must be finite, got nan"):
        metric.solve(np.full(36, np.nan))


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("solve", ["auto", "primal", "dual"])
def test_a_factorisation_that_fails_names_the_remedy(solve: str, joint: bool) -> None:
    problem = make_problem(samples=40, mass=1e-20)
    w = problem.initial_weights(0)
    with pytest.raises(ao.SolverError, match=r"(first|Dense|last|all modules): .*; give the problem a larger mass"):
        ao.LayerMetric(problem, w, solve=solve, joint=joint).solve(problem.gradient(w))


def test_conjugate_gradients_that_do_not_converge_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver_module, "ITERATIONS", 3)
    problem = make_problem(samples=40, mass=1e-3)
    w = problem.initial_weights(0)
    with pytest.raises(ao.SolverError, match=r"conjugate gradients reached a relative error of .*; use solve='dual'"):
        ao.LayerMetric(problem, w, solve="cg", joint=True).solve(problem.gradient(w))
