"""Training by Newton's method: derivatives, known answers, units, saddles, and what ends a run early."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.constrained.energy import Energy
from actionopt.constrained.history import LATELY, Watcher
from actionopt.constrained.newton import MANY, energy_scale
from tests.constrained.systems import SYSTEMS, data
from tests.systems import SYSTEMS as KINDS

PROBLEMS = Path(__file__).parents[2] / "problems"


def load(name: str, **options: Any) -> ao.Problem:
    return ao.load_problem(PROBLEMS / f"{name}.py", **options)


def train(problem: ao.Problem, w0: Any = None, **options: Any) -> ao.Solution:
    return ao.train(problem, w0, solver="newton", **options)


@pytest.mark.parametrize("name", KINDS)
def test_value_gradient_and_products_are_those_of_the_problem(name: str) -> None:
    problem = KINDS[name]
    w, v = (problem.initial_weights(seed) for seed in (1, 2))
    point = Energy(problem, 3.0)(w)
    assert 3.0 * point.value == pytest.approx(problem.energy(w), rel=1e-14)
    np.testing.assert_allclose(3.0 * point.gradient, problem.gradient(w), atol=1e-15)
    h = 1e-5
    slope = (problem.gradient(w + h * v) - problem.gradient(w - h * v)) / (2 * h)
    np.testing.assert_allclose(3.0 * point.product(v), slope, atol=2e-8 * max(1.0, abs(slope).max()))
    stack = point.product(np.stack([v, 2.0 * w]))
    np.testing.assert_allclose(stack, [point.product(v), 2.0 * point.product(w)], atol=1e-12)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in ("relu", "users' modules")])
def test_every_kind_of_system_reaches_a_stationary_point(name: str) -> None:
    problem = SYSTEMS[name]()
    w0 = 0.3 * problem.initial_weights(1)
    solution = train(problem, w0)
    assert solution.success
    assert solution.status == "converged"
    assert solution.gradient_norm <= 1e-8 * solution.stats["scale"]
    assert solution.gradient_norm == pytest.approx(abs(problem.gradient(solution.weights)).max(), rel=1e-6, abs=1e-20)
    assert solution.energy == pytest.approx(problem.energy(solution.weights), rel=1e-12, abs=1e-30)
    assert solution.energy <= problem.energy(w0)
    point = ao.adjoints(problem, solution.weights)
    for multiplier, adjoint in zip(solution.multipliers, point.adjoints, strict=True):
        np.testing.assert_allclose(multiplier, adjoint, atol=1e-12)


def test_linear_regression_is_the_normal_equations() -> None:
    problem = load("linear_regression", weight_decay=0.01)
    solution = train(problem, second_order=True)
    design = np.hstack([problem.inputs, np.ones((problem.samples, 1))])
    hessian = design.T @ design / problem.samples + 0.01 * np.eye(4)
    exact = np.linalg.solve(hessian, design.T @ problem.target_array / problem.samples)
    np.testing.assert_allclose(solution.weights, exact[:, 0], atol=1e-8)
    assert solution.lowest_eigenvalue == pytest.approx(np.linalg.eigvalsh(hessian)[0], rel=1e-10)
    assert solution.is_minimum is True
    assert "a minimum" in solution.message


def test_deep_linear_learns_every_mode() -> None:
    problem = load("deep_linear", depth=3, start=0.1)
    solution = train(problem, tol=1e-9)
    assert solution.energy < 1e-17


def test_shared_weights_and_several_costs() -> None:
    cell, read = ao.Dense(3, 2, "tanh"), ao.Dense(2, 1)
    h = cell(ao.Input(data(6, 3)))
    costs = [ao.Cost(read(h), ao.SquaredError(), data(6, 1))]
    h = cell(h, ao.Input(data(6, 1, 2)))
    costs.append(ao.Cost(read(h), ao.SquaredError(), data(6, 1, 3), weight=0.5))
    problem = ao.Problem(costs, weight_decay=0.01)
    solution = train(problem, second_order=True)
    assert solution.is_minimum is True
    assert abs(problem.gradient(solution.weights)).max() <= 1e-8 * solution.stats["scale"]


def scaled(c: float) -> ao.Problem:
    """Return a softmax regression with a hidden layer, all of whose energy is multiplied by c."""

    def value(ops: Any, y: Any, target: Any) -> Any:
        return c * (ops.sum(ops.logsumexp(y)) - ops.sum(y * target))

    labels = np.eye(3)[np.arange(12) % 3]
    layers = [ao.Dense(3, 4, "tanh"), ao.Dense(4, 3)]
    return ao.Problem(layers, data(12), labels, ao.CustomLoss(value), mass=c, weight_decay=0.01 * c)


@pytest.mark.parametrize("c", [1e-12, 1e-8, 1e-4, 1e4, 1e10])
def test_the_unit_of_the_energy_changes_nothing(c: float) -> None:
    w0 = scaled(1.0).initial_weights(0)
    one, other = train(scaled(1.0), w0, second_order=True), train(scaled(c), w0, second_order=True)
    assert one.status == other.status == "converged"
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-6)
    assert other.energy == pytest.approx(c * one.energy, rel=1e-9)
    assert other.lowest_eigenvalue == pytest.approx(c * one.lowest_eigenvalue, rel=1e-4)
    assert other.is_minimum == one.is_minimum
    for multiplier, reference in zip(other.multipliers, one.multipliers, strict=True):
        np.testing.assert_allclose(multiplier, c * reference, atol=1e-7 * c)


def test_scale_is_the_gradient_s_at_the_start_or_that_of_its_terms() -> None:
    problem = load("xor")
    w = problem.initial_weights(0)
    assert energy_scale(problem, w) == abs(problem.gradient(w)).max()
    assert energy_scale(problem, np.zeros(problem.size)) == 1.0  # 4 targets of size 1, over 4 samples
    near = train(problem, w).weights
    assert energy_scale(problem, near) > 1e-3  # not the gradient there, which is rounding


@pytest.mark.parametrize("c", [1e-12, 1.0, 1e10])
def test_a_start_on_a_saddle_is_left(c: float) -> None:
    """At w = 0 the gradient of a network without offsets vanishes; its energy is not least there."""
    loss = ao.CustomLoss(lambda ops, y, t: 0.5 * c * ops.sum((y - t) * (y - t)))
    layers = [ao.Dense(2, 3, "tanh", bias=False), ao.Dense(3, 1, bias=False)]
    x = data(8, 2)
    problem = ao.Problem(layers, x, np.tanh(x[:, :1]), loss)
    w0 = np.zeros(problem.size)
    assert abs(problem.gradient(w0)).max() == 0.0
    solution = train(problem, w0, second_order=True)
    assert solution.status == "converged"
    assert solution.energy < 1e-2 * problem.energy(w0)
    assert solution.is_minimum is not False


def test_a_saddle_is_never_a_minimum() -> None:
    """`E = w^4 - |w|^4 ..` has no way down at w = 0 to second order; what is flat is not called a minimum."""
    loss = ao.CustomLoss(lambda ops, y, t: ops.sum(y * y * y))
    problem = ao.Problem(ao.Parameter(2), None, None, loss)
    solution = train(problem, np.zeros(2), second_order=True, throw=False)
    assert solution.is_minimum is None
    assert solution.lowest_eigenvalue == 0.0


def test_what_falls_without_end_is_unbounded() -> None:
    problem = ao.Problem(ao.Parameter(1), None, None, ao.CustomLoss(lambda ops, y, t: -ops.sum(ops.exp(y))))
    with pytest.raises(ao.SolverError, match=r"unbounded .*the energy falls without end: weight_decay or bounds"):
        train(problem, np.array([0.3]))


def test_users_modules_with_decay() -> None:
    bare = SYSTEMS["users' modules"]()
    problem = ao.Problem(bare.modules, bare.inputs, bare.targets, bare.loss, weight_decay=0.01)
    assert train(problem, problem.initial_weights(1), second_order=True).is_minimum is True


class Drifting:
    """A point whose weights move while its gradient stays: a valley."""

    value = 1.0

    def __init__(self, step: int, shrink: float) -> None:
        self.x, self.gradient = np.array([1.0 + 0.01 * step]), np.array([shrink**step])


@pytest.mark.parametrize(("shrink", "valley"), [(1.0, True), (0.99, True), (0.9, False)])
def test_a_valley_is_where_weights_move_and_the_gradient_stays(shrink: float, valley: bool) -> None:
    watcher = Watcher(1.0, None, np.inf, lambda note: None)
    for step in range(LATELY - 1):
        watcher(step, Drifting(step, shrink))  # type: ignore[arg-type]
        assert watcher.drift is None
    watcher(LATELY, Drifting(LATELY - 1, shrink))  # type: ignore[arg-type]
    assert watcher.drift == (pytest.approx(0.49 / 1.49) if valley else None)


@pytest.mark.parametrize("decay", [0.0, 1e-3])
def test_a_valley_is_named_where_there_is_no_decay(decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watcher, "drift", 0.14)
    solution = train(load("xor", weight_decay=decay), max_iterations=3, throw=False)
    said = "the weights moved by 14%: a valley, as separable classes or spare units give without weight decay"
    assert (said in solution.message) == (decay == 0.0)


def test_kinks_keep_the_best_point() -> None:
    problem = ao.Problem(
        [ao.Dense(3, 6, "relu"), ao.Dense(6, 2)], data(20), data(20, 2), ao.SquaredError(), weight_decay=1e-3
    )
    w0 = problem.initial_weights(0)
    solution = train(problem, w0, throw=False)
    assert solution.energy < 0.7 * problem.energy(w0)
    if not solution.success:
        assert "kink" in solution.message or solution.status == "iteration limit"


def test_callback_history_and_stop() -> None:
    problem = load("iris", hidden=4)
    moments: list[Any] = []
    solution = train(problem, callback=moments.append)
    assert [moment.iteration for moment in moments][-1] == len(moments) - 1
    history = solution.history
    assert history is not None
    assert len(history) == solution.stats["iterations"] + 1
    assert history.energy[0] == pytest.approx(problem.energy(problem.initial_weights()))
    assert history.energy[-1] == pytest.approx(solution.energy)
    assert all(later <= before + 1e-12 for before, later in itertools.pairwise(history.energy))
    assert history.gradient_norm[-1] == pytest.approx(solution.gradient_norm, rel=1e-6)
    assert history.seconds == sorted(history.seconds)
    lines = history.plot().lines
    np.testing.assert_array_equal(lines[0].get_ydata(), history.gradient_norm)

    stopped = train(problem, callback=lambda moment: moment.iteration == 5, throw=False)
    assert stopped.status == "stopped"
    assert len(stopped.history) == 6  # type: ignore[arg-type]
    assert "the callback ended the run" in stopped.message


def test_a_run_that_went_on_has_one_history() -> None:
    """From far off the terms at the start are too coarse for the end: the run goes on from there, finer."""
    problem = ao.Problem(ao.Parameter(2), None, None, ao.CustomLoss(lambda ops, y, t: 0.25 * ops.sum(y * y * y * y)))
    found = train(problem, np.array([1e4, -2e3]), throw=False)
    history = found.history
    assert history is not None
    assert len(history) == found.stats["iterations"] + 1
    assert history.energy[0] == pytest.approx(problem.energy(np.array([1e4, -2e3])))
    assert history.energy[-1] == pytest.approx(found.energy)
    assert history.seconds == sorted(history.seconds)


def test_time_limit_and_interrupt_keep_the_best_weights() -> None:
    problem = load("iris", hidden=4)
    late = train(problem, time_limit=1e-9, throw=False)
    assert late.status == "time limit"
    assert late.energy == pytest.approx(problem.energy(problem.initial_weights()))

    def interrupt(moment: Any) -> None:
        if moment.iteration == 45:  # within Newton's method
            raise KeyboardInterrupt

    kept = train(problem, callback=interrupt, throw=False)
    assert kept.status == "interrupted"
    assert kept.energy < problem.energy(problem.initial_weights())


def test_iteration_limit_counts_both_engines() -> None:
    problem = load("iris", hidden=4)
    for limit in (3, 45):
        solution = train(problem, max_iterations=limit, throw=False)
        assert (solution.status, solution.stats["iterations"]) == ("iteration limit", limit)
    with pytest.raises(ao.SolverError, match=r"iteration limit after 3 iterations .*more iterations") as caught:
        train(problem, max_iterations=3)
    assert isinstance(caught.value.result, ao.Solution)


def test_many_samples_take_the_kronecker_metric() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((MANY // 10, 5))
    layers = [ao.Dense(5, 10, "tanh"), ao.Dense(10, 2)]
    problem = ao.Problem(layers, x, np.tanh(x[:, :2] * x[:, 2:4]), ao.SquaredError(), weight_decay=1e-3)
    w0 = problem.initial_weights(0)
    solution = train(problem, w0, second_order=True)
    assert solution.stats["engine"] == "Kronecker L-BFGS"
    assert solution.gradient_norm <= 1e-8 * solution.stats["scale"]
    assert solution.is_minimum is True
    few = problem.take(slice(0, 100))
    assert train(few, w0).stats["engine"] == "trust region"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formulation": "lift"}, "unknown formulation 'lift'"),
        ({"options": {"ipopt": {}}}, "options are those of CasADi's solvers, solver 'newton' takes none"),
        ({"w0": np.zeros((2, 17))}, r"starting weights must be one point \(17,\), got shape \(2, 17\)"),
        ({"tol": 0.0}, "tol must be a positive number, got 0.0"),
        ({"max_iterations": 0}, "max_iterations must be a whole number >= 1, got 0"),
        ({"time_limit": 0}, "time_limit must be a positive number of seconds, or None, got 0"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        train(load("xor"), **arguments)


def test_a_gradient_that_is_not_finite_is_no_success() -> None:
    problem = ao.Problem(ao.Parameter(1), None, None, ao.CustomLoss(lambda ops, y, t: ops.sum(ops.sqrt(y))))
    solution = train(problem, np.zeros(1), throw=False)
    assert not solution.success
    assert solution.status == "not finite"
