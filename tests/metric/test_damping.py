"""The mass that follows the steps: what a step is judged by, and what the mass does then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.metric.damping import (
    COUNTS,
    KEPT,
    KEPT_ENERGY,
    LARGER,
    LONG,
    MATTERS,
    MOST,
    PER_MOMENTUM,
    RANGE,
    RISEN,
    SMALLER,
    Damping,
)
from actionopt.metric.move import move
from actionopt.metric.step_metric import StepMetric


def make_line(rng: np.random.Generator, mass: float) -> ao.Problem:
    """Least squares, whose energy is a parabola along every direction."""
    x, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 1))
    return ao.Problem(ao.Dense(4, 1), x, y, ao.SquaredError(), mass=mass, weight_decay=0.1)


def make_classes(rng: np.random.Generator, mass: Any = 0.3) -> ao.Problem:
    x = rng.standard_normal((60, 6))
    labels = (x @ rng.standard_normal((6, 4))).argmax(axis=1)
    modules = [ao.Dense(6, 12, "tanh"), ao.Dense(12, 4)]
    return ao.Problem(modules, x, labels, ao.SoftmaxCrossEntropy(), mass=mass)


@pytest.mark.parametrize("tol", [1e-10, 1e-2])
def test_a_metric_of_another_mass_is_that_of_the_problem_with_it(tol: float, rng: np.random.Generator) -> None:
    for mass in (0.3, rng.uniform(0.1, 1.0, 136)):
        problem = make_classes(rng, mass)
        heavy = ao.Problem(problem.modules, problem.inputs, problem.targets, problem.loss, mass=3.0 * problem.mass)
        w, v = problem.initial_weights(0), rng.standard_normal(problem.size)
        found = StepMetric(problem, w, tol=tol).with_mass(3.0).solve_gradient(v)
        expected = StepMetric(heavy, w, tol=tol).solve_gradient(v)
        np.testing.assert_allclose(found.x, expected.x, rtol=1e-4 if tol > 1e-3 else 1e-9, atol=1e-5 * tol)
        assert found.slope == pytest.approx(expected.slope, rel=1e-4)


@pytest.mark.parametrize("tol", [1e-10, 1e-2])
def test_energy_and_fall_of_a_step(tol: float, rng: np.random.Generator) -> None:
    for problem in (make_line(rng, 0.3), make_classes(rng)):
        w, d = problem.initial_weights(1), rng.standard_normal(problem.size)
        metric = StepMetric(problem, w, tol=tol)
        assert metric.energy == pytest.approx(problem.energy(w), rel=1e-13)
        assert metric.fall(d) == pytest.approx(problem.gradient(w) @ d, rel=1e-4 if tol > 1e-3 else 1e-11)
        two = ao.Input(problem.inputs)
        node = ao.Dense(problem.inputs.shape[1], 2)(two)
        both = [ao.Cost(node, ao.SquaredError(), np.zeros((len(problem.inputs), 2))) for _ in range(2)]
        several = ao.Problem(both)
        point = several.initial_weights(0)
        d = rng.standard_normal(several.size)
        assert StepMetric(several, point, tol=tol).fall(d) == pytest.approx(several.gradient(point) @ d, rel=1e-11)


def judged(
    problem: ao.Problem, alpha: float, share: float = 1.0, factor: float = 1.0, momentum: float = 0.0
) -> Damping:
    """Judge a step of `alpha` times the one that ends at the minimum along the gradient."""
    w = problem.initial_weights(0)
    x = problem.gradient(w)
    best = (x @ x) / (x @ (problem.gradient(w + x) - x))
    after = StepMetric(problem, w - alpha * best * x)
    return Damping(factor=factor, alpha=alpha * best, share=share).judged(after, x, momentum)


def expected_ratio(problem: ao.Problem, alpha: float) -> float:
    """Return r of a parabola: slopes s_0 and (1 - alpha) s_0, beside a share of the energy."""
    w = problem.initial_weights(0)
    x = problem.gradient(w)
    best = (x @ x) / (x @ (problem.gradient(w + x) - x))
    start = (1.0 - KEPT) * alpha * best * (x @ x)
    return (1.0 - alpha) * start / (start + COUNTS * problem.energy(w - alpha * best * x))


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_that_was_too_short_makes_the_mass_smaller(
    alpha: float, momentum: float, rng: np.random.Generator
) -> None:
    problem = make_line(rng, 0.3)
    beyond = expected_ratio(problem, alpha) - LONG - PER_MOMENTUM * momentum
    change = max(np.exp(-SMALLER * beyond), 1.0 / MOST) if beyond > 0.0 else 1.0
    found = judged(problem, alpha, momentum=momentum)
    assert found.factor == pytest.approx(change, rel=1e-9)
    assert found.energy > 0.0
    assert judged(problem, alpha, momentum=momentum, share=0.9 * MATTERS[0]).factor == 1.0


@pytest.mark.parametrize("alpha", [1.05, 1.5, 1.7])
def test_a_step_past_the_minimum_leaves_the_mass(alpha: float, rng: np.random.Generator) -> None:
    assert judged(make_line(rng, 0.3), alpha).factor == 1.0


@pytest.mark.parametrize("alpha", [2.2, 3.0, 10.0])
def test_a_step_after_which_the_energy_rose_makes_it_larger(alpha: float, rng: np.random.Generator) -> None:
    problem = make_line(rng, 0.3)
    change = min(np.exp(LARGER * (RISEN - expected_ratio(problem, alpha))), MOST)
    assert judged(problem, alpha).factor == pytest.approx(change, rel=1e-9)
    share = 0.5 * MATTERS[1]
    assert judged(problem, alpha, share=share).factor == pytest.approx(change**0.5, rel=1e-9)
    assert judged(problem, alpha, share=share, factor=0.3).factor == pytest.approx(0.3 * change, rel=1e-9)


def test_the_factor_keeps_within_its_range_and_past_steps_count(rng: np.random.Generator) -> None:
    problem = make_line(rng, 0.3)
    assert judged(problem, 0.1, factor=RANGE[0] * 1.01).factor == RANGE[0]
    assert judged(problem, 5.0, factor=RANGE[1] * 0.99).factor == RANGE[1]
    w = problem.initial_weights(0)
    x = problem.gradient(w)
    metric = StepMetric(problem, w - 0.1 * x)
    before = Damping(alpha=0.1, start=2.0, end=1.0, energy=5.0)
    after = before.judged(metric, x, 0.5)
    s_1 = problem.gradient(w - 0.1 * x) @ x
    s_0 = 2.0 * (problem.energy(w) - problem.energy(w - 0.1 * x)) / 0.1 - s_1
    assert s_0 == pytest.approx(x @ x, rel=1e-10)
    assert after.start == pytest.approx(KEPT * 2.0 + (1.0 - KEPT) * 0.1 * s_0, rel=1e-10)
    assert after.end == pytest.approx(KEPT * 1.0 + (1.0 - KEPT) * 0.1 * s_1, rel=1e-10)
    assert after.energy == pytest.approx(KEPT_ENERGY * 5.0 + (1.0 - KEPT_ENERGY) * metric.energy, rel=1e-10)


def test_nothing_is_judged_without_a_step_or_where_it_is_not_finite(rng: np.random.Generator) -> None:
    problem = make_line(rng, 0.3)
    w = problem.initial_weights(0)
    metric, x = StepMetric(problem, w), problem.gradient(w)
    assert Damping(alpha=0.1).judged(metric, None, 0.5) == Damping(alpha=0.1)
    assert Damping().judged(metric, x, 0.5) == Damping()
    assert Damping(alpha=1e200).judged(metric, x, 0.5).factor == 1.0
    taken = move(metric, "model")
    noted = Damping().noted(taken)
    assert noted.alpha == taken.step_size
    assert noted.share == pytest.approx((taken.direction @ ((0.3 + 0.1) * taken.direction)) / taken.curvature, rel=1e-9)


def test_a_momentum_that_adapts_steps_as_the_mass_it_came_to(rng: np.random.Generator) -> None:
    problem = make_classes(rng, 3.0)
    memory, w = ao.Momentum(0.5, adapt=True), problem.initial_weights(0)
    factors = []
    for _ in range(8):
        before, previous = w, memory.direction
        w = ao.step(problem, w, "model", momentum=memory)
        factors.append(memory.damping.factor)
        heavy = ao.Problem(
            problem.modules, problem.inputs, problem.targets, problem.loss, mass=memory.damping.factor * problem.mass
        )
        plain = ao.Momentum(0.5)
        plain.direction = previous
        np.testing.assert_allclose(ao.step(heavy, before, "model", momentum=plain), w, rtol=1e-9, atol=1e-12)
    assert factors[0] == 1.0
    assert factors[-1] < 0.5
    with pytest.raises(ao.InputError, match="adapts the mass follows one point"):
        ao.step(problem, np.stack([w, w]), "model", momentum=ao.Momentum(0.5, adapt=True))
