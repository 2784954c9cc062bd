"""Stability measured: order and bound on ridge regression, executors, what travels, refusals."""

from __future__ import annotations

import pickle
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.stability_result import fitted_slope

SIZES = [50, 100, 200, 400, 800]


def ridge(seed: int = 0, **options: Any) -> ao.Problem:
    defaults = {"samples": 1000, "features": 3, "weight_decay": 0.5, "noise": 0.5, "seed": seed}
    return ao.load_problem("problems/linear_regression.py", **{**defaults, **options})


@pytest.mark.parametrize(("metric", "seed"), [("euclidean", 0), ("euclidean", 1), ("layerwise", 2)])
def test_ridge_regression_is_stable_with_order_one_over_n(metric: str, seed: int) -> None:
    options = {"horizon": 10.0, "steps": 20, "method": "rk4", "metric": metric, "seed": seed}
    found = ao.measure_stability(ridge(seed), sizes=SIZES, replacements=4, shuffles=6, **options)
    assert found.slope == pytest.approx(-1.0, abs=0.15)
    assert found.loss_slope == pytest.approx(-1.0, abs=0.15)
    assert found.distances.shape == found.loss_changes.shape == (5, 24)
    if metric == "euclidean":
        assert (found.loss_changes.max(axis=1) <= found.bounds).all()
        assert found.status == "below the bound"
    else:
        assert found.rates is None
        assert "the layerwise metric depends on the data" in found.message


@pytest.mark.parametrize("n", [2, 5, 30])
def test_below_the_bound_for_small_n_and_short_times_too(n: int) -> None:
    for horizon in (0.1, 1.0, 10.0):
        found = ao.measure_stability(ridge(samples=40), horizon=horizon, sizes=n, replacements=2, metric="euclidean")
        assert found.ok
        assert found.status == "below the bound"


def test_closed_form_of_one_replacement() -> None:
    """Ridge weights at the end of a long flow are the normal equations' of each data set."""
    problem = ridge(samples=30)
    found = ao.measure_stability(
        problem, horizon=60.0, steps=60, sizes=20, replacements=3, shuffles=1, metric="euclidean", seed=7
    )
    rng = np.random.default_rng(7)
    order = rng.permutation(30)
    leaving = rng.permutation(order[:20])[:3]
    coming = rng.choice(order[20:], size=3)

    def solve(indices: np.ndarray) -> np.ndarray:
        x = np.hstack([problem.inputs[indices], np.ones((20, 1))])
        return np.linalg.solve(x.T @ x / 20 + 0.5 * np.eye(4), x.T @ problem.target_array[indices] / 20)[:, 0]

    base = solve(order[:20])
    for column, (out, new) in enumerate(zip(leaving, coming, strict=True)):
        moved = solve(np.where(order[:20] == out, new, order[:20]))
        assert found.distances[0, column] == pytest.approx(np.linalg.norm(moved - base), rel=1e-6)
        extended = np.hstack([problem.inputs, np.ones((30, 1))])
        losses = [0.5 * (extended @ w - problem.target_array[:, 0]) ** 2 for w in (moved, base)]
        assert found.loss_changes[0, column] == pytest.approx(abs(losses[0] - losses[1]).max(), rel=1e-5)


def test_executors_give_the_same_numbers() -> None:
    options = {"horizon": 1.0, "steps": 5, "sizes": [8, 16], "replacements": 2}
    problem = ao.load_problem("problems/teacher_student.py")
    here = ao.measure_stability(problem, **options)
    build = partial(ao.load_problem, "problems/teacher_student.py")
    with ProcessPoolExecutor(2) as processes, ThreadPoolExecutor(2) as threads:
        for source, executor in ((problem, processes), (build, processes), (build, threads), (build, None)):
            there = ao.measure_stability(source, executor=executor, **options)
            np.testing.assert_array_equal(there.distances, here.distances)
            np.testing.assert_array_equal(there.loss_changes, here.loss_changes)
    other = ao.measure_stability(problem, seed=1, **options)
    assert not np.array_equal(other.distances, here.distances)


class Recorder(Executor):
    """An executor with nothing but `submit`, as of a cluster: what travels is pickled both ways."""

    def __init__(self) -> None:
        self.tasks = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        self.tasks += 1
        future: Future = Future()
        function, arguments = pickle.loads(pickle.dumps((fn, args)))
        future.set_result(pickle.loads(pickle.dumps(function(*arguments))))
        return future


def test_any_executor_that_submits() -> None:
    executor = Recorder()
    ao.measure_stability(ridge(samples=20), horizon=1.0, steps=4, sizes=[5, 10], replacements=2, executor=executor)
    assert executor.tasks == 2 * 2 * 3  # sizes, shuffles, one unperturbed and two replacements


@pytest.mark.parametrize("name", ["xor", "robot_arm", "gene_cascade", "reaction_chain", "spirals", "digits", "iris"])
def test_problems_travel(name: str) -> None:
    problem = ao.load_problem(f"problems/{name}.py", **({"samples": 10} if name in ("digits", "iris") else {}))
    twin = pickle.loads(pickle.dumps(problem))
    w = problem.initial_weights()
    assert twin.energy(w) == problem.energy(w)
    np.testing.assert_array_equal(twin.gradient(w), problem.gradient(w))


def test_a_problem_that_cannot_travel_says_what_to_do() -> None:
    loss = ao.CustomLoss(lambda ops, y, target: ops.sum((y - target) * (y - target)))
    problem = ao.Problem(ao.Dense(1, 1), [[0.0], [1.0], [2.0]], [[0.0], [1.0], [1.0]], loss)
    ao.measure_stability(problem, horizon=0.1, steps=2, sizes=2, replacements=1)
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(ao.InputError, match=r"functools\.partial\(ao\.load_problem"),
    ):
        ao.measure_stability(problem, horizon=0.1, steps=2, sizes=2, replacements=1, executor=executor)


class OnceOnly:
    """Builds the problem once, and then fails as a formula might."""

    built = 0

    def __call__(self) -> ao.Problem:
        self.built += 1
        if self.built > 1:
            raise TypeError("a mistake in the file")
        return ridge(samples=5)


def test_an_error_of_the_problem_is_no_error_of_travel() -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(TypeError, match="a mistake in the file"):
        ao.measure_stability(OnceOnly(), horizon=0.1, steps=2, sizes=2, replacements=1, executor=executor)


def test_take_keeps_everything_else() -> None:
    problem = ao.load_problem("problems/iris.py", samples=12)
    part = problem.take(np.array([3, 5, 5]))
    np.testing.assert_array_equal(part.inputs, problem.inputs[[3, 5, 5]])
    np.testing.assert_array_equal(part.target_array, problem.target_array[[3, 5, 5]])
    np.testing.assert_array_equal(part.mass, problem.mass)
    assert (part.weight_decay, part.output_metric, part.loss) == (
        problem.weight_decay,
        problem.output_metric,
        problem.loss,
    )


def test_a_training_that_diverges_is_named() -> None:
    with pytest.raises(ao.SolverError, match=r"training on 10 samples, no sample replaced: the flow"):
        ao.measure_stability(
            ridge(samples=20, weight_decay=50.0), horizon=1e4, steps=200, sizes=10, metric="euclidean", method="euler"
        )


def test_flow_that_does_not_contract_has_no_bound() -> None:
    problem = ao.load_problem("problems/xor.py")
    found = ao.measure_stability(problem, horizon=0.2, steps=2, sizes=2, replacements=1, metric="euclidean")
    assert np.isinf(found.bounds).all()
    assert found.status == "no bound"
    assert "does not contract" in found.message


def test_words_table_and_plot() -> None:
    found = ao.measure_stability(
        ridge(samples=40), horizon=2.0, steps=4, sizes=[10, 20], replacements=2, metric="euclidean"
    )
    lines = found.table().splitlines()
    assert len(lines) == 3
    assert "bound on |dloss|" in lines[0]
    axes = found.plot()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "below the bound" in repr(found)
    assert "<table>" in found._repr_html_()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": [5, 20]}, "sizes must lie between 1 and 19"),
        ({"sizes": 0}, "sizes must lie between 1 and 19"),
        ({"sizes": 3, "replacements": 4}, "replacements must lie between 1 and 3"),
        ({"shuffles": 0}, "shuffles must be >= 1"),
        ({"metric": "round"}, "unknown metric 'round'"),
        ({"method": "heun"}, "unknown method 'heun'"),
        ({"w0": [1.0]}, "w0 must have length 4"),
        ({"horizon": -1.0}, "horizon"),
    ],
)
def test_rejections(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.measure_stability(ridge(samples=20), **{"horizon": 1.0, "steps": 2, **options})


def test_slope_needs_two_sizes_and_changes() -> None:
    with pytest.raises(ao.InputError, match="at least two sizes"):
        fitted_slope(np.array([3]), np.array([1.0]))
    with pytest.raises(ao.InputError, match="positive values"):
        fitted_slope(np.array([3, 4]), np.array([1.0, 0.0]))
    assert fitted_slope(np.array([10, 100]), np.array([2.0, 0.02])) == pytest.approx(-2.0)
