"""Uses of repeated modules differentiated together: the same numbers as one by one, where it applies and where not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt import repeated
from actionopt.ops import NUMPY
from tests.networks import recurrent


class Drive(ao.Module):
    """An equation that takes a state and what a fixed map makes of data; its state enters the next and a sum."""

    in_size, out_size, weight_size = 4, 2, 3

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b, c = ops.unpack(w, (1,), (1,), (1,))
        x, y, u, v = ops.columns(z)
        return ops.concatenate([x + a * ops.sin(y) + c * u, y - b * x * v])


def driven(steps: int) -> ao.Problem:
    rng = np.random.default_rng(steps)
    square = ao.Map(lambda ops, z: z * z, 2, 2, name="square")(ao.Input(rng.standard_normal((3, 2)), name="u"))
    start, step = ao.Input(rng.standard_normal((3, 2)), name="start"), Drive()
    state, states = start, []
    for _ in range(steps):
        state = step(state, square)
        states.append(state)
    total = ao.Dense(2 * steps, 2)(*states)
    costs = [ao.Cost(total, ao.SquaredError(), np.ones((3, 2))), ao.Cost(states[1], ao.SquaredError(), np.ones((3, 2)))]
    return ao.Problem(costs, weight_decay=0.1)


def one_by_one(problem: ao.Problem, w: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    network = problem.network
    pieces = network.split(NUMPY, w)
    states = network.forward(NUMPY, pieces)
    sources = {node: slope / network.samples for node, slope in network.slopes(NUMPY, states).items()}
    arrived, pulled = network.backward(NUMPY, pieces, states, sources)
    return np.concatenate(pulled) + problem.weight_decay * w, arrived[len(network.data) :]


@pytest.mark.parametrize("numbers", [10_000_000, 0], ids=["at once", "one by one"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: driven(6),
        lambda: recurrent(steps=7, user=True),
        lambda: recurrent(steps=5, samples=3, user=True, every=True),
        lambda: recurrent(steps=6, samples=6, width=24, user=True),
    ],
    ids=["driven", "read at the end", "read at every step", "wide, as many steps as samples"],
)
def test_gradient_and_adjoints_are_those_of_the_walk(
    build: Callable[[], ao.Problem], numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated, "NUMBERS", numbers)
    problem = build()
    w = problem.initial_weights(1) * 0.5
    gradient, adjoints = one_by_one(problem, w)
    found = ao.adjoints(problem, w)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(problem.gradient(w), gradient, rtol=1e-12, atol=1e-14)
    for mine, theirs in zip(found.adjoints, adjoints, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


def test_it_is_used_where_it_applies() -> None:
    user, closed, short = recurrent(steps=5, user=True), recurrent(steps=5), recurrent(steps=3, user=True)
    for problem, count in ((user, 1), (closed, 0), (short, 0)):  # a closed form is fast enough, three uses are too few
        assert len(repeated.plans_of(problem.network)) == count
        problem.gradient(problem.initial_weights())
    many = user.gradient(np.stack([user.initial_weights(seed) for seed in (0, 1)]))
    np.testing.assert_allclose(many[1], user.gradient(user.initial_weights(1)), rtol=1e-12, atol=1e-14)
    taken = user.take([1, 3])  # shares what was found
    w = user.initial_weights(1)
    np.testing.assert_allclose(taken.gradient(w), one_by_one(taken, w)[0], rtol=1e-12, atol=1e-14)


def test_a_unit_that_no_cost_reaches_gives_nothing() -> None:
    cell = recurrent(steps=4, user=True, width=2).groups[0].module
    h = ao.Input(np.zeros((2, 2)))
    nodes = []
    for _ in range(5):
        h = cell(ao.Input(np.ones((2, 2))), h)
        nodes.append(h)
    seen = ao.Cost(nodes[-1], ao.SquaredError(), np.zeros((2, 2)), weight=0.0)
    problem = ao.Problem([ao.Cost(nodes[1], ao.SquaredError(), np.ones((2, 2))), seen])
    w = problem.initial_weights(1)
    np.testing.assert_allclose(problem.gradient(w), one_by_one(problem, w)[0], rtol=1e-12, atol=1e-14)
