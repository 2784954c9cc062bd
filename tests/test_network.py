"""Networks that are graphs: energies and adjoints from their definition, and every way a graph can be wrong."""

from __future__ import annotations

import doctest
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from tests.networks import NETWORKS, autoencoder, recurrent, two_heads
from tests.systems import system

STEP = 1e-30  # complex steps lose no digits, so that the step may be tiny


def tanh_chain(problem: ao.Problem, w: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Backpropagate through time by hand: gradient, states and costates of the cell at every step, in order."""
    cell, read = problem.groups
    width, samples = cell.module.out_size, problem.samples
    inputs = {place.name: array for place, array in zip(problem.nodes, problem.network.data, strict=False)}
    steps = len(cell.uses)
    matrix = w[cell.slice][: width * (2 + width)].reshape(width, 2 + width)
    offset = w[cell.slice][width * (2 + width) :]
    out = w[read.slice]
    states, joined = [inputs["h0"]], []
    for step in range(steps):
        joined.append(np.concatenate([inputs[f"x{step + 1}"], states[-1]], axis=1))
        states.append(np.tanh(joined[-1] @ matrix.T + offset))
    error = (states[-1] @ out[:width] + out[width] - problem.target_array[:, 0]) / samples
    costate, costates = error[:, None] * out[:width], []
    of_matrix, of_offset = np.zeros_like(matrix), np.zeros_like(offset)
    for step in reversed(range(steps)):
        costates.append(costate)
        delta = costate * (1 - states[step + 1] ** 2)
        of_matrix += delta.T @ joined[step]
        of_offset += delta.sum(axis=0)
        costate = delta @ matrix[:, 2:]
    gradient = np.concatenate([of_matrix.ravel(), of_offset, error @ states[-1], [error.sum()]])
    return gradient, states[1:], costates[::-1]


def test_recurrent_cell_is_backpropagation_through_time() -> None:
    problem = recurrent(steps=20, samples=32, width=8)
    w = problem.initial_weights(3)
    found = ao.adjoints(problem, w)
    gradient, states, costates = tanh_chain(problem, w)
    scale = abs(gradient).max()
    np.testing.assert_allclose(found.gradient, gradient, rtol=0, atol=1e-13 * scale)
    uses = [problem.network.index(k) for k in [p.name for p in problem.nodes if p.module is problem.groups[0].module]]
    assert len(uses) == 20
    first = len(problem.network.data)
    for node, state, costate in zip(uses, states, costates, strict=True):
        np.testing.assert_allclose(found.states[node - first], state, rtol=1e-13)
        np.testing.assert_allclose(found.adjoints[node - first], costate, rtol=0, atol=1e-13 * abs(costates[-1]).max())


def energy(problem: ao.Problem, w: np.ndarray, pushed: int | None = None, push: Any = 0.0) -> complex:
    """Evaluate the energy from its definition, node by node; `push` is added to the state of one node."""
    states: list[Any] = list(problem.network.data)
    for index, place in enumerate(problem.nodes[len(states) :], start=len(states)):
        z = np.concatenate([np.zeros((problem.samples, 0)), *[states[k] for k in place.of]], axis=1)
        states.append(place.module.forward(ao.ops.NUMPY, w[problem.groups[place.group].slice], z))
        if index == pushed:
            states[-1] = states[-1] + push
    total = 0.5 * problem.weight_decay * (w * w).sum()
    for term, targets in zip(problem.costs, problem.network.targets, strict=True):
        total = total + term.weight * term.loss.value(ao.ops.NUMPY, states[term.node], targets).mean()
    return total


def analytic(name: str) -> bool:
    return name not in ("tied", "tied, user's layer", "two heads")  # log-sum-exp compares


@pytest.mark.parametrize("name", NETWORKS)
def test_energy_is_its_definition(name: str) -> None:
    problem = NETWORKS[name]
    w = problem.initial_weights(1) + 0.1
    assert problem.energy(w) == pytest.approx(energy(problem, w), rel=1e-14)


@pytest.mark.parametrize("name", [*filter(analytic, NETWORKS)])
def test_against_complex_steps(name: str) -> None:
    problem = NETWORKS[name]
    w = problem.initial_weights(1) + 0.1
    found = ao.adjoints(problem, w)
    gradient = [energy(problem, w + 1j * STEP * unit).imag / STEP for unit in np.eye(problem.size)]
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-12, atol=1e-15)
    first = len(problem.network.data)
    for index, adjoint in enumerate(found.adjoints, start=first):
        for place in np.ndindex(adjoint.shape):
            push = np.zeros(adjoint.shape, dtype=complex)
            push[place] = 1j * STEP
            expected = energy(problem, w, index, push).imag / STEP
            assert adjoint[place] == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_along_directions(name: str) -> None:
    problem, rng = NETWORKS[name], np.random.default_rng(0)
    w, direction = problem.initial_weights(1), rng.standard_normal(problem.size)
    h = 1e-4
    far, near = ((problem.energy(w + s * direction) - problem.energy(w - s * direction)) / (2 * s) for s in (2 * h, h))
    assert problem.gradient(w) @ direction == pytest.approx((4 * near - far) / 3, rel=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_leading_axes(name: str) -> None:
    problem = NETWORKS[name]
    w = np.stack([problem.initial_weights(seed) for seed in range(6)]).reshape(2, 3, problem.size)
    assert problem.energy(w).shape == (2, 3)
    gradients = problem.gradient(w)
    for place in np.ndindex(2, 3):
        assert problem.energy(w)[place] == pytest.approx(problem.energy(w[place]), rel=1e-13)
        np.testing.assert_allclose(gradients[place], problem.gradient(w[place]), rtol=1e-12, atol=1e-14)


def test_a_module_twice_in_a_list_shares_its_weights() -> None:
    problem = NETWORKS["one module twice in a list"]
    assert (problem.size, len(problem.modules), len(problem.groups), len(problem.slices)) == (16, 3, 2, 2)
    w = problem.initial_weights()
    matrix, offset = w[:9].reshape(3, 3), w[9:12]
    z = np.tanh(np.tanh(problem.inputs @ matrix.T + offset) @ matrix.T + offset)
    np.testing.assert_allclose(problem.outputs(w)[:, 0], z @ w[12:15] + w[15], rtol=1e-14)


def test_code_of_a_tied_autoencoder() -> None:
    """The code's adjoint by hand, and the gradient as the sum over both uses of the matrix."""
    problem = autoencoder()
    w = problem.initial_weights(2)
    x, matrix = problem.inputs, w.reshape(2, 3)
    code = np.tanh(x @ matrix.T)
    error = (code @ matrix - x) / problem.samples
    found = ao.adjoints(problem, w)
    assert [group.name for group in problem.groups] == ["code"]
    np.testing.assert_allclose(found.adjoint("code"), error @ matrix.T, rtol=0, atol=1e-16)
    np.testing.assert_allclose(found.adjoint("reconstruction"), error, rtol=0, atol=1e-16)
    encoded = ((error @ matrix.T) * (1 - code**2)).T @ x
    np.testing.assert_allclose(found.gradient.reshape(2, 3), encoded + code.T @ error, rtol=1e-13, atol=1e-15)


def test_a_transpose_alone_has_the_weights_of_its_layer() -> None:
    back = ao.Transposed(ao.Dense(3, 2, mass=4.0))
    problem = ao.Problem([back, ao.Dense(3, 1)], np.ones((2, 2)), np.zeros(2), ao.SquaredError())
    assert problem.size == 8 + 4
    np.testing.assert_array_equal(problem.mass[:8], 4.0)
    with pytest.raises(ao.InputError, match=r"Transposed takes a Dense layer, got Activation"):
        ao.Transposed(ao.Activation(3, "tanh"))
    layer = ao.Dense(2, 2)
    with pytest.raises(ao.InputError, match="would not be shared"):
        ao.Problem([layer, ao.Residual(ao.Transposed(layer))], np.ones((3, 2)), np.ones((3, 2)), ao.SquaredError())


def test_a_list_is_a_chain_of_calls_to_the_last_bit() -> None:
    listed = system("user", samples=4)
    node: ao.Node = ao.Input(listed.inputs)
    for module in listed.modules:
        node = module(node)
    called = ao.Problem([ao.Cost(node, listed.loss, listed.targets)], weight_decay=listed.weight_decay)
    w = listed.initial_weights(2)
    np.testing.assert_array_equal(called.initial_weights(2), w)
    assert called.energy(w) == listed.energy(w)
    np.testing.assert_array_equal(called.gradient(w), listed.gradient(w))
    assert called.labels == listed.labels
    assert called.network.is_chain
    assert listed.network.is_chain


def test_modules_and_costs_may_come_one_by_one() -> None:
    layers = [ao.Dense(2, 2), ao.Dense(2, 1)]
    listed = ao.Problem((layer for layer in layers), np.ones((3, 2)), np.zeros(3), ao.SquaredError())
    y = ao.Dense(2, 1)(x_of())
    assert (listed.size, ao.Problem(cost for cost in [cost_on(y)]).size, ao.Problem(cost_on(y)).size) == (9, 3, 3)


def test_names_nodes_and_groups() -> None:
    problem = two_heads()
    assert [place.name for place in problem.nodes] == ["x", "u", "trunk", "value", "label"]
    assert [place.of for place in problem.nodes] == [(), (), (0, 1), (2,), (2, 1)]
    assert problem.labels == ("1 trunk", "2 value", "3 label")
    assert [(group.name, group.slice) for group in problem.groups] == [
        ("trunk", slice(0, 16)),
        ("value", slice(16, 26)),
        ("label", slice(26, 44)),
    ]
    cells = recurrent(steps=3)
    assert [place.name for place in cells.nodes] == ["h0", "x1", "x2", "x3", "1 cell", "2 cell", "3 cell", "read"]
    assert [group.uses for group in cells.groups] == [(4, 5, 6), (7,)]
    x = x_of()
    layer = ao.Dense(2, 2, name="layer")
    last = layer(layer(x, name="first"), name="last")
    assert [(group.name, group.label) for group in ao.Problem([cost_on(last)]).groups] == [("layer", "1 layer")]
    assert (
        repr(problem)
        == "Problem('two heads': 3 modules, 44 weights, 6 samples, squared error and softmax cross-entropy)"
    )


def test_states_and_adjoints_by_node() -> None:
    x = ao.Input([[1.0], [2.0]], name="x")
    code = ao.Dense(1, 2, "tanh", name="code")(x)
    out = ao.Dense(2, 1)(code)
    problem = ao.Problem([ao.Cost(out, ao.SquaredError(), [0.0, 1.0])])
    w = problem.initial_weights()
    found = ao.adjoints(problem, w)
    for key in (code, code.module, "code", "1 code"):
        np.testing.assert_array_equal(found.state(key), found.states[0])
        np.testing.assert_array_equal(found.adjoint(key), found.adjoints[0])
        np.testing.assert_array_equal(problem.outputs(w, key), found.states[0])
    np.testing.assert_array_equal(found.state("x"), [[1.0], [2.0]])
    with pytest.raises(ao.InputError, match="'x' holds data"):
        found.adjoint("x")
    with pytest.raises(ao.InputError, match="node 'input' belongs to another network; this one has x, code, Dense"):
        found.state(ao.Input([1.0]))
    with pytest.raises(ao.InputError, match="unknown node 'cod'; did you mean 'code'"):
        found.state("cod")


def test_outputs_of_several_costs() -> None:
    problem = two_heads()
    value, label = problem.outputs(problem.initial_weights())
    assert value.shape == (6, 2)
    assert label.shape == (6, 3)
    assert problem.outputs(problem.initial_weights(), "trunk").shape == (6, 4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("samples", [np.array([2, 0, 0]), slice(1, 3), np.array([True, False, True])], ids=repr)
def test_take_is_the_problem_on_those_samples(name: str, samples: Any) -> None:
    problem = NETWORKS[name]
    if isinstance(samples, np.ndarray) and samples.dtype == bool:
        samples = np.arange(problem.samples) % 2 == 0
    part, w = problem.take(samples), problem.initial_weights(1)
    states = problem.network.forward(ao.ops.NUMPY, problem.network.split(ao.ops.NUMPY, w))
    expected = problem.network.values(ao.ops.NUMPY, states)[samples].mean() + 0.5 * problem.weight_decay * w @ w
    assert part.energy(w) == pytest.approx(expected, rel=1e-13)
    assert part.samples == len(np.arange(problem.samples)[samples])
    np.testing.assert_array_equal(part.mass, problem.mass)


def test_take_of_targets_as_given() -> None:
    problem = two_heads()
    part = problem.take([4, 1])
    np.testing.assert_array_equal(part.targets[1], np.asarray(problem.targets[1])[[4, 1]])
    np.testing.assert_array_equal(part.inputs[0], problem.inputs[0][[4, 1]])


@pytest.mark.parametrize("samples", [[17], [], 3, "first", [[1, 2]]], ids=repr)
def test_wrong_samples(samples: Any) -> None:
    with pytest.raises(ao.InputError, match="take"):
        two_heads().take(samples)


def test_networks_travel() -> None:
    problem = recurrent(steps=3)
    there = pickle.loads(pickle.dumps(problem))
    w = problem.initial_weights()
    np.testing.assert_array_equal(there.gradient(w), problem.gradient(w))
    assert there.take([0]).samples == 1


def test_costs_of_weight_zero_change_nothing() -> None:
    x = ao.Input([[1.0], [2.0]])
    h = ao.Dense(1, 2, "tanh")(x)
    seen, y = ao.Dense(2, 1, name="seen")(h), ao.Dense(2, 1)(h)
    cost = ao.Cost(y, ao.SquaredError(), [0.0, 1.0])
    both = ao.Problem([cost, ao.Cost(seen, ao.SquaredError(), [3.0, 3.0], weight=0)])
    w = both.initial_weights(1)
    value = np.tanh(x.values @ w[:2][None] + w[2:4]) @ w[7:9] + w[9]
    assert both.energy(w) == pytest.approx(0.5 * ((value - [0.0, 1.0]) ** 2).mean())
    np.testing.assert_array_equal(both.gradient(w)[both.groups[1].slice], 0.0)


def x_of(columns: int = 2, samples: int = 3, name: str = "x") -> ao.Input:
    return ao.Input(np.ones((samples, columns)), name=name)


def cost_on(node: ao.Node, samples: int = 3, **options: Any) -> ao.Cost:
    return ao.Cost(node, ao.SquaredError(), np.zeros((samples, node.size)), **options)


def test_sizes_that_do_not_join() -> None:
    with pytest.raises(
        ao.InputError, match=r"head, Dense\(2, 1, None\), takes 2 features, but 'x' \(2\) and 'u' \(1\) give 3"
    ):
        ao.Dense(2, 1, name="head")(x_of(), x_of(1, name="u"))
    with pytest.raises(ao.InputError, match="takes 2 features, but no node gives 0"):
        ao.Dense(2, 1)()
    with pytest.raises(ao.InputError, match=r"is placed on nodes.*got array"):
        ao.Dense(2, 1)(np.ones((3, 2)))


def test_inputs_of_different_lengths() -> None:
    y = ao.Dense(4, 1)(x_of(name="x"), x_of(samples=2, name="u"))
    with pytest.raises(ao.InputError, match="as many samples each: 'x' has 3, 'u' has 2"):
        ao.Problem([cost_on(y)])


def test_wrong_inputs() -> None:
    with pytest.raises(ao.InputError, match="values of 'u' must be finite, got nan at sample 1"):
        ao.Input([0.0, np.nan], name="u")
    with pytest.raises(ao.InputError, match="values of 'u' must hold at least one sample"):
        ao.Input(np.zeros((0, 2)), name="u")


def test_dangling_nodes_are_named() -> None:
    x = x_of()
    h = ao.Dense(2, 2)(x)
    forgotten = ao.Dense(2, 1, name="forgotten")(h)
    y = ao.Dense(2, 1)(h)
    with pytest.raises(ao.InputError, match="node 'forgotten', placed on 'Dense', leads to no cost"):
        ao.Problem([cost_on(y)])
    del forgotten
    assert ao.Problem([cost_on(y)]).size == 9


def test_costs_of_one_network_may_make_several_problems() -> None:
    x = x_of()
    h = ao.Dense(2, 2, "tanh")(x)
    left, right = (cost_on(ao.Dense(2, 1)(ao.Dense(2, 2)(h))) for _ in range(2))
    both, one, other = ao.Problem([left, right]), ao.Problem([left]), ao.Problem([right])
    w = both.initial_weights(1)
    split = [np.concatenate([w[:6], w[cut]]) for cut in (slice(6, 15), slice(15, 24))]
    assert both.energy(w) == pytest.approx(one.energy(split[0]) + other.energy(split[1]), rel=1e-13)


def test_unused_inputs_are_named() -> None:
    x, unused = x_of(), x_of(name="unused")
    y = ao.Dense(2, 1)(x)
    with pytest.raises(ao.InputError, match="input 'unused' is not used"):
        ao.Problem([cost_on(y)])
    later = x_of(name="later")
    del unused
    assert ao.Problem([cost_on(y)]).size == 3
    assert later.size == 2


def test_circles_are_named() -> None:
    h = ao.Dense(2, 2, name="h")(x_of())
    k = ao.Dense(2, 2, name="k")(h)
    h.of = (k,)
    with pytest.raises(ao.InputError, match="nodes run in a circle: 'k' <- 'h' <- 'k'"):
        ao.Problem([cost_on(k)])


def test_nodes_of_another_network() -> None:
    y, other = ao.Dense(2, 1)(x_of()), ao.Dense(2, 1, name="other")(x_of(name="u"))
    with pytest.raises(ao.InputError, match="node 'other' belongs to another network than 'Dense'"):
        ao.Problem([cost_on(y), cost_on(other)])
    siamese = ao.Dense(2, 1)
    assert ao.Problem([cost_on(siamese(x_of())), cost_on(siamese(x_of(name="u")))]).size == 3


def test_wrong_costs() -> None:
    y = ao.Dense(2, 1, name="y")(x_of())
    with pytest.raises(ao.InputError, match=r"cost on node 'y' of 1 features: targets must match the 3 samples"):
        ao.Problem([cost_on(y, samples=2)])
    with pytest.raises(ao.InputError, match="Cost takes a node"):
        ao.Cost(ao.Dense(2, 1), ao.SquaredError())
    with pytest.raises(ao.InputError, match="loss of a Cost must be a Loss"):
        ao.Cost(y, "squared")
    with pytest.raises(ao.InputError, match="weight of a Cost must be a finite number >= 0, got -1"):
        cost_on(y, weight=-1)
    with pytest.raises(ao.InputError, match=r"takes costs on nodes, ao.Cost\(y, loss, targets\), got the node Node"):
        ao.Problem([y], np.ones((3, 2)), np.ones((3, 1)), ao.SquaredError())
    with pytest.raises(ao.InputError, match="modules or costs, not both"):
        ao.Problem([cost_on(y), ao.Dense(2, 1)])
    with pytest.raises(ao.InputError, match="costs bring their inputs"):
        ao.Problem([cost_on(y)], np.ones((3, 2)))


@pytest.mark.parametrize("wrap", [ao.Residual, ao.Parallel], ids=["residual", "parallel"])
def test_weights_inside_a_module_are_not_shared_silently(wrap: Any) -> None:
    layer = ao.Dense(2, 2)
    with pytest.raises(ao.InputError, match=r"the same Dense.* is used by .* and again by .*would not be shared"):
        ao.Problem([layer, wrap(layer)], np.ones((3, 2)), np.ones((3, 2)), ao.SquaredError())
    with pytest.raises(ao.InputError, match="would not be shared"):
        ao.Problem(ao.Parallel(layer, layer), np.ones((3, 4)), np.ones((3, 4)), ao.SquaredError())


def test_chains_are_placed_part_by_part() -> None:
    y = ao.Chain(ao.Dense(2, 3, "tanh"), ao.Dense(3, 1), name="net")(x_of())
    problem = ao.Problem([cost_on(y)])
    assert [place.name for place in problem.nodes] == ["x", "Dense", "net"]
    whole = ao.Chain(ao.Dense(2, 3, "tanh"), ao.Dense(3, 1), mass=2.0)(x_of())
    assert len(ao.Problem([cost_on(whole)]).groups) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_multipliers_are_the_adjoints_of_every_node(name: str) -> None:
    problem = NETWORKS[name]
    check = ao.check_adjoints(problem, problem.initial_weights(1))
    assert check.ok, check.message
    assert check.relative_error < 1e-12
    assert check.gradient_error < 1e-12
    assert [row.name for row in check.modules] == list(problem.labels)


def test_training_of_a_tied_autoencoder_leaves_out_the_least_variance() -> None:
    problem = autoencoder(weight_decay=1e-3)
    found = ao.train(problem, problem.initial_weights(1))
    assert found.success
    assert np.linalg.norm(problem.gradient(found.weights)) < 1e-7


def test_lines_of_the_page() -> None:
    result = doctest.testfile(str(Path(__file__).parents[1] / "docs" / "networks.md"), module_relative=False)
    assert result.attempted > 15
    assert result.failed == 0
