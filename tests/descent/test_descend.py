"""Mini-batch descent: what a run is, step by step; how it ends, goes on, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.descent.descend import Progress, _has_diverged


@pytest.fixture
def problem(rng: np.random.Generator) -> ao.Problem:
    """A smooth function of two numbers, learned from 60 samples."""
    x = rng.uniform(-1.0, 1.0, (60, 2))
    y = np.sin(3.0 * x[:, :1]) * x[:, 1:]
    return ao.Problem([ao.Dense(2, 12, "tanh"), ao.Dense(12, 1)], x, y, ao.SquaredError(), mass=0.01, name="sine")


@pytest.fixture
def classes(rng: np.random.Generator) -> ao.Problem:
    x = rng.standard_normal((45, 3))
    labels = (x @ rng.standard_normal((3, 3))).argmax(axis=1)
    return ao.Problem([ao.Dense(3, 8, "tanh"), ao.Dense(8, 3)], x, labels, ao.SoftmaxCrossEntropy(), mass=0.3)


def test_a_run_is_steps_on_batches_of_a_shuffled_epoch(problem: ao.Problem) -> None:
    found = ao.descend(problem, batch=25, epochs=2, momentum=0.4, tol=1e-10, cooldown=0.5, adapt=False, seed=3)
    w, memory, steps = problem.initial_weights(3), np.zeros(problem.size), []
    for epoch in range(2):
        order = np.random.default_rng([3, epoch]).permutation(60)
        for index, part in enumerate((order[:20], order[20:40], order[40:])):
            batch = ao.Problem(problem.modules, problem.inputs[part], problem.targets[part], problem.loss, mass=0.01)
            metric = ao.LayerMetric(batch, w)
            memory = metric.solve(metric.gradient + 0.4 * 0.01 * memory)
            number = 3 * epoch + index
            alpha = min(1.0, (metric.gradient @ memory) / metric.curvature(memory)) * min(1.0, (6 - number) / 3)
            w = w - alpha * memory
            steps.append(alpha)
        np.testing.assert_allclose(found.energy[epoch], problem.energy(w), rtol=1e-9)
    np.testing.assert_allclose(found.last, w, rtol=1e-8)
    np.testing.assert_allclose(found.step_sizes, steps, rtol=1e-8)
    assert (found.status, found.success, found.steps, found.epochs) == ("finished", True, 6, 2)
    np.testing.assert_array_equal(found.weights, found.last)


def test_it_learns_and_the_full_batch_descends(problem: ao.Problem) -> None:
    found = ao.descend(problem, batch=60, epochs=25, momentum=0.0, cooldown=0.0, adapt=False)
    assert found.energy[-1] < 1e-3 < 0.1 * problem.energy(problem.initial_weights(0))
    assert (np.diff(found.energy) < 0.0).all()
    np.testing.assert_array_equal(found.mass_factors, 1.0)


def test_a_mass_that_is_far_too_large_is_made_smaller(classes: ao.Problem) -> None:
    heavy = ao.Problem(classes.modules, classes.inputs, classes.targets, classes.loss, mass=10.0)
    plain = ao.descend(heavy, batch=15, epochs=8, adapt=False)
    found = ao.descend(heavy, batch=15, epochs=8)
    assert found.energy[-1] < 0.6 * plain.energy[-1]
    factors, cooling = found.mass_factors, int(0.6 * found.steps) + 1
    assert factors[0] == 1.0
    assert factors.min() < 0.2
    np.testing.assert_array_equal(factors[cooling:], factors[cooling])  # what alpha leaves out is not the mass's fault
    numeric = ao.descend(heavy, batch=15, epochs=2, step=0.1)
    np.testing.assert_array_equal(numeric.mass_factors, 1.0)


@pytest.mark.parametrize("metric", ["layerwise", "joint", "euclidean"])
@pytest.mark.parametrize("rows", ["exact", 1])
def test_classes_are_learned_in_every_metric(classes: ao.Problem, metric: str, rows: Any) -> None:
    found = ao.descend(classes, batch=15, epochs=12, metric=metric, rows=rows)
    assert found.energy[-1] < 0.5 * classes.energy(classes.initial_weights(0))
    again = ao.descend(classes, batch=15, epochs=12, metric=metric, rows=rows)
    np.testing.assert_array_equal(found.last, again.last)


def test_softmax_from_large_weights_stays_finite(classes: ao.Problem) -> None:
    found = ao.descend(classes, 60.0 * classes.initial_weights(1), batch=9, epochs=8, momentum=0.9)
    start = classes.energy(60.0 * classes.initial_weights(1))
    assert np.isfinite(found.energy).all()
    assert found.energy[-1] < 0.2 * start


def test_rows_sampled_with_signs_have_the_metric_as_their_mean(classes: ao.Problem) -> None:
    from actionopt.metric.sampling import sampled

    w, rng = classes.initial_weights(0), np.random.default_rng(1)
    exact = ao.LayerMetric(classes, w).dense()
    mean = np.mean([ao.LayerMetric(sampled(classes, 1, rng), w).dense() for _ in range(1500)], axis=0)
    off = np.abs(exact - np.diag(classes.mass)).max()
    assert np.abs(mean - exact).max() < 0.06 * off
    all_rows = ao.LayerMetric(sampled(classes, 5, rng), w).dense()
    np.testing.assert_array_equal(all_rows, exact)


def stops_after(epochs: int) -> Any:
    return lambda progress: progress.epoch >= epochs


@pytest.mark.parametrize("rows", ["exact", 1])
def test_a_run_goes_on_from_a_file_to_the_same_bits(classes: ao.Problem, rows: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch": 10, "epochs": 5, "seed": 7, "rows": rows}
    whole = ao.descend(classes, validation=classes, **options)
    part = ao.descend(classes, validation=classes, callback=stops_after(2), **options)
    assert (part.status, part.epochs, part.success) == ("stopped", 2, True)
    rest = ao.descend(classes, ao.Descent.load(part.save(tmp_path / "run.npz")), validation=classes)
    for name in ("last", "best", "energy", "validation", "step_sizes", "direction", "mass_factors"):
        np.testing.assert_array_equal(getattr(rest, name), getattr(whole, name))
    assert (rest.status, rest.options, rest.damping) == ("finished", whole.options, whole.damping)
    assert len(set(whole.mass_factors)) > 3  # the mass moved, so that going on depends on it


class Interrupting(ao.Module):
    """A layer that Ctrl-C arrives in, once."""

    in_size, out_size, weight_size = 3, 3, 1
    left = 10**9

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        Interrupting.left -= 1
        if Interrupting.left == 0:
            raise KeyboardInterrupt
        return z * ops.unpack(w, (1,))


def test_ctrl_c_keeps_the_best_and_the_run_goes_on_to_the_same_bits(rng: np.random.Generator) -> None:
    x, labels = rng.standard_normal((40, 3)), np.arange(40) % 3
    problem = ao.Problem([Interrupting(), ao.Dense(3, 3)], x, labels, ao.SoftmaxCrossEntropy(), mass=0.3)
    whole = ao.descend(problem, batch=10, epochs=4)
    Interrupting.left = 33
    part = ao.descend(problem, batch=10, epochs=4)
    assert (part.status, part.success) == ("interrupted", False)
    assert 0 < part.steps < 16
    assert part.steps % 4
    assert problem.energy(part.weights) == min(part.energy)
    rest = ao.descend(problem, part)
    np.testing.assert_array_equal(rest.last, whole.last)
    np.testing.assert_array_equal(rest.energy, whole.energy)


def test_best_weights_are_those_of_the_least_validation(problem: ao.Problem) -> None:
    seen: list[Progress] = []
    values = iter([3.0, 1.0, 2.0, 1.5])
    found = ao.descend(problem, batch=30, epochs=4, validation=lambda w: next(values), callback=seen.append)
    np.testing.assert_array_equal(found.validation, [3.0, 1.0, 2.0, 1.5])
    np.testing.assert_array_equal(found.best, seen[1].weights)
    assert [progress.epoch for progress in seen] == [1, 2, 3, 4]
    assert seen[-1].energy == found.energy[-1]
    half = problem.take(slice(0, 30))
    validated = ao.descend(problem, batch=30, epochs=1, validation=half)
    assert validated.validation[0] == pytest.approx(half.energy(validated.last), rel=1e-14)


class Overflowing(ao.Module):
    """`exp(w z)`, which overflows where z is large."""

    in_size, out_size, weight_size = 1, 1, 1

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return ops.exp(z * ops.unpack(w, (1,)))


def overflowing() -> ao.Problem:
    z = np.array([0.1, 0.2, 900.0, 0.3])
    with np.errstate(over="ignore"):
        return ao.Problem(Overflowing(), z, np.ones(4), ao.SquaredError(), mass=1.0)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_batch_that_is_not_finite_stops_or_is_skipped_and_said() -> None:
    with pytest.raises(ao.SolverError, match=r"epoch 1, batch \d of 4: .* not finite") as caught:
        ao.descend(overflowing(), np.ones(1), batch=1, epochs=1)
    assert caught.value.result.status == "not finite"
    seen: list[Any] = []
    found = ao.descend(
        overflowing().take([0, 1, 2]), np.ones(1), batch=1, epochs=1, not_finite="skip", throw=False,
        validation=lambda w: 0.0, callback=seen.append,
    )  # fmt: skip
    assert (found.skipped, found.steps, found.status) == (1, 3, "diverged")
    assert np.isnan(found.step_sizes).sum() == 1


def test_a_step_that_is_too_large_is_said() -> None:
    z = np.linspace(0.5, 1.0, 8)
    problem = ao.Problem(ao.Dense(1, 1, "square"), z, z, ao.SquaredError(), mass=1e-8)
    with np.errstate(all="ignore"):
        found = ao.descend(problem, np.ones(2), batch=8, epochs=200, step=1e8, metric="euclidean", throw=False)
    assert found.status in ("not finite", "diverged")
    assert not found.success
    np.testing.assert_array_equal(found.weights, found.best)
    assert np.isfinite(problem.energy(found.weights))


def test_a_run_that_ends_far_above_its_start_has_diverged(classes: ao.Problem, problem: ao.Problem) -> None:
    light = ao.Problem(classes.modules, classes.inputs, classes.targets, classes.loss, mass=1e-9)
    with pytest.raises(
        ao.SolverError, match=r"the energy rose from .* in 4 epochs; give the problem a larger mass"
    ) as caught:
        ao.descend(light, batch=9, epochs=4, trust=np.inf)
    found = caught.value.result
    assert (found.status, found.success) == ("diverged", False)
    assert found.start == pytest.approx(classes.energy(classes.initial_weights(0)), rel=1e-14)
    assert found.energy[-1] > 100.0 * found.start

    w = ao.descend(problem, batch=60, epochs=30).weights
    higher = ao.descend(problem, w, batch=5, epochs=1, step=1.0, momentum=0.0, cooldown=0.0)
    assert higher.energy[-1] > higher.start
    assert higher.status == "finished"
    assert "the energy rose from" in higher.message

    # an exact fit may lose its last digits, of the energy at weights of zero
    for end, expected in ((1e-24, False), (1e-12, False), (1e-6, True)):
        assert _has_diverged(problem, replace(higher, start=1e-28, energy=np.array([end]))) == expected


def test_units_do_not_matter(classes: ao.Problem) -> None:
    def run(c: float) -> np.ndarray:
        x = ao.Input(classes.inputs)
        cost = ao.Cost(ao.Dense(3, 3)(x), ao.SoftmaxCrossEntropy(), classes.targets, weight=c)
        return ao.descend(ao.Problem([cost], mass=0.3 * c), batch=15, epochs=2).last

    np.testing.assert_array_equal(run(1024.0), run(1.0))  # the same bits: only exponents differ
    np.testing.assert_allclose(run(1e3), run(1.0), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 61}, "batch is larger than the data: 61 of 60 samples"),
        ({"batch": 0}, "batch must be a whole number >= 1"),
        ({"epochs": -1}, "epochs must be a whole number >= 0"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"rows": 0}, "rows .* must be a whole number >= 1"),
        ({"step": "adaptive"}, "step_size must be a finite number or 'model'"),
        ({"momentum": 1.0}, "momentum must be a number in"),
        ({"trust": -1.0}, "trust must be a positive number"),
        ({"cooldown": 1.5}, "cooldown must be a share of the steps"),
        ({"adapt": "yes"}, "adapt must be True or False"),
        ({"not_finite": "ignore"}, "unknown not_finite 'ignore'"),
        ({"metric": "layer"}, "unknown metric 'layer'; did you mean 'layerwise'"),
        ({"solve": "lu"}, "unknown solve 'lu'"),
        ({"validation": 3}, "validation must be a Problem or a function"),
        ({"tol": 2.0}, "tol must be a number between 0 and 1"),
        ({"w": np.zeros((2, 49))}, "starting weights must be one point"),
    ],
)
def test_wrong_options_are_named(problem: ao.Problem, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.descend(problem, **{"batch": 20, "epochs": 1, **options})


def test_wrong_files_and_wrong_problems_are_named(problem: ao.Problem, classes: ao.Problem, tmp_path: Path) -> None:
    found = ao.descend(problem, batch=30, epochs=1)
    with pytest.raises(ao.InputError, match="49 weights and 60 samples, got one with 59 and 45"):
        ao.descend(classes, found)
    with pytest.raises(ao.InputError, match=r"saved as \.npz"):
        found.save(tmp_path / "run.json")
    with pytest.raises(ao.InputError, match="no descent file"):
        ao.Descent.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    with pytest.raises(ao.InputError, match=r"was not written by Descent\.save"):
        ao.Descent.load(tmp_path / "other.npz")


def test_it_draws_itself_and_names_itself(classes: ao.Problem, tmp_path: Path) -> None:
    found = ao.descend(classes, batch=15, epochs=3, validation=classes)
    top, bottom = found.plot(), found.plot(step_sizes=True)
    np.testing.assert_array_equal(top.lines[0].get_ydata(), found.energy)
    np.testing.assert_array_equal(bottom.lines[0].get_ydata(), found.step_sizes)
    assert "finished, 3 epochs, 9 steps" in repr(found)


def test_a_bar_shows_the_energy(classes: ao.Problem, capsys: pytest.CaptureFixture[str]) -> None:
    ao.descend(classes, batch=15, epochs=2, progress=True)
    assert "6/6" in capsys.readouterr().err
