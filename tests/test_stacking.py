"""Runs of equal modules as one node: the same numbers as module after module, where there are runs and where not."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.backprop import adjoints_of, forward_pass
from actionopt.constrained.energy import Energy
from actionopt.stacking import FEWEST, JACOBIAN_NUMBERS, WIDEST, Stack, same_formula
from tests.systems import Gain


def data(samples: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, width))


def chain(kind: str, samples: int = 5, depth: int = FEWEST) -> ao.Problem:
    """Return a chain with a run of one kind of module, something before it and something after it."""
    run: list[ao.Module] = {
        "dense": lambda: [ao.Dense(3, 3, "tanh") for _ in range(depth)],
        "linear, no offset": lambda: [ao.Dense(3, 3, bias=False) for _ in range(depth)],
        "residual": lambda: [ao.Residual(ao.Dense(3, 3, "softplus")) for _ in range(depth)],
        "residual chains": lambda: [ao.Residual(ao.Chain(ao.Dense(3, 5, "sin"), ao.Dense(5, 3))) for _ in range(depth)],
        "user": lambda: [Gain() for _ in range(depth)],
        "no weights": lambda: [ao.Activation(3, "sin") for _ in range(depth)],
        "parallel": lambda: [ao.Parallel(ao.Dense(1, 1, "tanh"), ao.Activation(2, "sin")) for _ in range(depth)],
    }[kind]()
    modules = [ao.Dense(2, 3, "tanh"), *run, ao.Dense(3, 2)]
    targets = np.arange(samples) % 2
    return ao.Problem(modules, data(samples, 2), targets, ao.SoftmaxCrossEntropy(), weight_decay=0.02)


KINDS = ("dense", "linear, no offset", "residual", "residual chains", "user", "no weights", "parallel")


@pytest.mark.parametrize("samples", [1, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_adjoints_and_products_are_those_of_the_chain(kind: str, samples: int) -> None:
    problem = chain(kind, samples)
    assert any(isinstance(place.module, Stack) for place in problem.stacked.nodes)
    w = 0.5 * problem.initial_weights(1)  # deep chains amplify what differences err by
    naive, ours = adjoints_of(problem, forward_pass(problem, w)), ao.adjoints(problem, w)
    np.testing.assert_allclose(problem.gradient(w), naive.gradient, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours.gradient, naive.gradient, rtol=1e-12, atol=1e-14)
    for mine, theirs in zip(ours.states + ours.adjoints, naive.states + naive.adjoints, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)
    point, v = Energy(problem)(w), np.random.default_rng(2).standard_normal((2, problem.size))
    h = 1e-5
    for direction, product in zip(v, point.product(v), strict=True):
        slope = (problem.gradient(w + h * direction) - problem.gradient(w - h * direction)) / (2 * h)
        np.testing.assert_allclose(product, slope, atol=1e-7 * max(1.0, abs(slope).max()))
        np.testing.assert_allclose(product, point.product(direction), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_of_a_trajectory_are_leading_axes(kind: str) -> None:
    problem = chain(kind, samples=3)
    w = np.stack([problem.initial_weights(seed) for seed in (1, 2, 3)]).reshape(3, 1, -1)
    together = ao.adjoints(problem, w)
    assert together.gradient.shape == problem.gradient(w).shape == w.shape
    for index in range(3):
        single = ao.adjoints(problem, w[index, 0])
        np.testing.assert_allclose(together.gradient[index, 0], single.gradient, rtol=1e-12, atol=1e-15)
        for mine, theirs in zip(together.adjoints, single.adjoints, strict=True):
            np.testing.assert_allclose(mine[index, 0], theirs, rtol=1e-12, atol=1e-15)


def test_the_run_may_come_first_and_last() -> None:
    problem = ao.Problem([ao.Dense(3, 3, "tanh") for _ in range(FEWEST)], data(3, 3), data(3, 3, 1), ao.SquaredError())
    (stack,) = [place.module for place in problem.stacked.nodes if place.module]
    assert isinstance(stack, Stack)
    for w in (problem.initial_weights(0), np.stack([problem.initial_weights(s) for s in (0, 1)])):
        naive = adjoints_of(problem, forward_pass(problem, w))
        np.testing.assert_allclose(problem.gradient(w), naive.gradient, rtol=1e-12, atol=1e-15)


def unstacked() -> dict[str, ao.Problem]:
    layers = [ao.Dense(3, 3, "tanh") for _ in range(FEWEST)]
    shared = ao.Dense(3, 3, "tanh")
    x = ao.Input(data(4, 3))
    node, states = x, []
    for layer in layers:
        node = layer(node)
        states.append(node)
    read = [ao.Cost(state, ao.SquaredError(), data(4, 3, i)) for i, state in enumerate(states)]
    wide = [ao.Dense(WIDEST + 1, WIDEST + 1) for _ in range(FEWEST)]
    mixed: list[Any] = [ao.Dense(3, 3, "tanh"), ao.Dense(3, 3, "sin")] * FEWEST

    def of(modules: list[ao.Module], width: int = 3) -> ao.Problem:
        return ao.Problem(modules, data(4, width), data(4, modules[-1].out_size), ao.SquaredError())

    many = int(JACOBIAN_NUMBERS / 9) + 1
    return {
        "many samples": ao.Problem(layers, data(many, 3), data(many, 3), ao.SquaredError()),
        "few": of([ao.Dense(3, 3, "tanh") for _ in range(FEWEST - 1)]),
        "shared": of([shared] * FEWEST),
        "read in between": ao.Problem(read),
        "wide": of(wide, WIDEST + 1),
        "mixed": of(mixed),
    }


@pytest.mark.parametrize("name", unstacked())
def test_what_is_no_run_is_left_alone(name: str) -> None:
    problem = unstacked()[name]
    assert problem.stacked is problem.network


def test_fewer_samples_and_pickles_keep_the_stack() -> None:
    problem = chain("residual")
    w = problem.initial_weights(0)
    problem.gradient(w)
    part = problem.take(slice(0, 2))
    np.testing.assert_allclose(part.gradient(w), adjoints_of(part, forward_pass(part, w)).gradient, atol=1e-15)
    assert not np.allclose(part.gradient(w), problem.gradient(w))
    Energy(problem)(w).product(w)  # leaves a record behind, which does not travel
    again = pickle.loads(pickle.dumps(problem))
    np.testing.assert_array_equal(again.gradient(w), problem.gradient(w))


def test_same_formula() -> None:
    assert same_formula(ao.Dense(3, 2, "tanh", name="a", mass=2.0), ao.Dense(3, 2, "tanh"))
    assert not same_formula(ao.Dense(3, 2, "tanh"), ao.Dense(3, 2, "sin"))
    assert not same_formula(ao.Dense(3, 2), ao.Dense(3, 2, bias=False))
    assert same_formula(ao.Residual(ao.Dense(3, 3)), ao.Residual(ao.Dense(3, 3)))
    assert not same_formula(ao.Residual(ao.Dense(3, 3)), ao.Dense(3, 3))

    class Scaled(ao.Module):
        in_size = out_size = 3
        weight_size = 0

        def __init__(self, factor: np.ndarray) -> None:
            super().__init__()
            self.factor = factor

    assert same_formula(Scaled(np.arange(3.0)), Scaled(np.arange(3.0)))
    assert not same_formula(Scaled(np.arange(3.0)), Scaled(np.ones(3)))


def test_a_subclass_with_an_equation_of_its_own_steps_by_it() -> None:
    class Doubled(ao.Dense):
        def forward(self, ops: Any, w: Any, z: Any) -> Any:
            return 2.0 * super().forward(ops, w, z)

    problem = ao.Problem([Doubled(3, 3, "tanh") for _ in range(FEWEST)], data(4, 3), data(4, 3), ao.SquaredError())
    w = problem.initial_weights(0)
    naive = adjoints_of(problem, forward_pass(problem, w))
    assert problem.stacked is not problem.network
    np.testing.assert_allclose(problem.gradient(w), naive.gradient, rtol=1e-12, atol=1e-15)
