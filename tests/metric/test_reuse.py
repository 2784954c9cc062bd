"""A factorisation that outlives its point: exact to the tolerance, and made anew when it wears out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import actionopt as ao
from actionopt.metric import solver as solver_module
from actionopt.metric.conjugate import Factor
from tests.metric.twins import dense_metric, make_problem, relative


def descend(problem: ao.Problem, step_size: float, steps: int, **options: object) -> Iterator[ao.LayerMetric]:
    """Walk down and give the metric at every point, after it solved for the step."""
    w, metric = problem.initial_weights(0), None
    for _ in range(steps):
        metric = ao.LayerMetric(problem, w, after=metric, **options)  # type: ignore[arg-type]
        w = w - step_size * metric.solve(problem.gradient(w))
        yield metric


@pytest.fixture
def factorisations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Label of the block of every factorisation made."""
    made: list[str] = []

    class Counted(Factor):
        def __init__(self, form: object) -> None:
            made.append(form.block.label)  # type: ignore[attr-defined]
            super().__init__(form)  # type: ignore[arg-type]

    monkeypatch.setattr(solver_module, "Factor", Counted)
    return made


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("solve", ["auto", "primal", "dual", "cg"])
@pytest.mark.parametrize("tol", [1e-4, 1e-10])
def test_every_step_is_exact_to_the_tolerance(solve: str, joint: bool, tol: float) -> None:
    problem = make_problem(samples=12, mass=0.01)
    for metric in descend(problem, 0.3, 12, solve=solve, joint=joint, tol=tol):
        g = problem.gradient(metric.w)
        exact = np.linalg.solve(dense_metric(problem, metric.w, joint), g)
        found = metric.solve(g)
        assert np.linalg.norm(found - exact) <= 1.01 * tol * np.linalg.norm(found)  # one number as mass: plain norms


@pytest.fixture
def dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let factorisations cost as much as they do for large blocks: fifty iterations."""
    monkeypatch.setattr(solver_module, "factor_cost", lambda block, form: 50.0)
    monkeypatch.setattr(solver_module, "iteration_cost", lambda block, form, preconditioned: 1.0)


@pytest.mark.usefixtures("dear")
def test_short_steps_share_a_factorisation(factorisations: list[str]) -> None:
    problem = make_problem(samples=12, mass=1e-4)
    names = [metric.report.rows[1].solver for metric in descend(problem, 0.001, 10, solve="dual", tol=1e-6)]
    assert len(factorisations) < 15
    assert names[0] == "dual"
    assert "cg, held dual" in names


@pytest.mark.usefixtures("dear")
def test_a_long_step_makes_a_new_one(factorisations: list[str]) -> None:
    problem = make_problem(samples=12, mass=1e-6)
    first = ao.LayerMetric(problem, problem.initial_weights(0), solve="dual")
    first.solve(problem.gradient(first.w))
    assert len(factorisations) == 3
    elsewhere = problem.initial_weights(9) * 30.0
    second = ao.LayerMetric(problem, elsewhere, solve="dual", after=first)
    exact = np.linalg.solve(dense_metric(problem, elsewhere), problem.gradient(elsewhere))
    assert relative(second.solve(problem.gradient(elsewhere)), exact) < 1e-8
    assert len(factorisations) > 3
    assert second.solvers[1].name == "dual"


def test_factorisations_of_another_form_are_not_used() -> None:
    problem = make_problem(samples=12)
    w = problem.initial_weights(0)
    first = ao.LayerMetric(problem, w, solve="dual")
    first.solve(problem.gradient(w))
    second = ao.LayerMetric(problem, w, solve="primal", after=first)
    assert relative(second.solve(problem.gradient(w)), first.solve(problem.gradient(w))) < 1e-9
    assert second.solvers[0].name == "primal"


@pytest.mark.usefixtures("dear")
def test_the_same_point_needs_no_iteration_to_speak_of() -> None:
    problem = make_problem(samples=12, mass=1e-3)
    w = problem.initial_weights(0)
    first = ao.LayerMetric(problem, w, solve="dual")
    first.solve(problem.gradient(w))
    again = ao.LayerMetric(problem, w, solve="dual", after=first)
    again.solve(problem.gradient(w))
    assert max(solver.iterations for solver in again.solvers) <= 1


@pytest.mark.usefixtures("dear")
def test_another_number_of_samples_starts_afresh() -> None:
    many, few = make_problem(samples=12, mass=0.01), make_problem(samples=5, mass=0.01)
    w = many.initial_weights(0)
    first = ao.LayerMetric(many, w, solve="dual")
    first.solve(many.gradient(w))
    second = ao.LayerMetric(few, w, solve="dual", after=first)
    exact = np.linalg.solve(dense_metric(few, w), few.gradient(w))
    assert relative(second.solve(few.gradient(w)), exact) < 1e-9


@pytest.mark.usefixtures("dear")
def test_a_factorisation_of_other_data_is_dropped(factorisations: list[str]) -> None:
    problem = make_problem(samples=12, mass=1e-4)
    w = problem.initial_weights(0)
    first = ao.LayerMetric(problem, w, solve="dual")
    first.solve(first.gradient)
    same = ao.Problem(problem.modules, problem.inputs, problem.targets, problem.loss, mass=1e-4)
    other = ao.Problem(problem.modules, 3.0 * problem.inputs, problem.targets, problem.loss, mass=1e-4)
    made = len(factorisations)
    for again, taken_over in ((same, True), (other, False)):
        metric = ao.LayerMetric(again, w, solve="dual", after=first)
        assert all((solver.held is not None) == taken_over for solver in metric.solvers)
        metric.solve(metric.gradient)
        assert (len(factorisations) == made) == taken_over
