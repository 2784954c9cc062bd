"""ONNX graphs that are no chains: states are those of the reference evaluator, shared constants are shared weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import actionopt as ao
from tests.interop.onnx_models import model, node, saved

RNG = np.random.default_rng(3)
CONSTANTS = {
    "W": RNG.standard_normal((4, 3)),
    "b": RNG.standard_normal(3),
    "V": RNG.standard_normal((3, 3)),
    "U": RNG.standard_normal((4, 3)),
    "R": RNG.standard_normal((6, 2)),
    "t": np.array(20.0),
}
X, U = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 4))


def states(proto: Any, **inputs: np.ndarray) -> list[np.ndarray]:
    return ReferenceEvaluator(proto).run(None, inputs)


def read(proto: Any, folder: Path, targets: Any, loss: Any = None, inputs: Any = X, **options: Any) -> ao.Problem:
    return ao.Problem.from_onnx(saved(proto, folder), inputs, targets, loss or ao.SquaredError(), **options)


@pytest.mark.parametrize(("kind", "of"), [("Add", "gk"), ("Sub", "gk"), ("Mul", "gk"), ("Sum", "gkg"), ("Add", "gg")])
def test_branches_meet(tmp_path: Path, kind: str, of: str) -> None:
    nodes = [
        node("Gemm", "x", "W", "b", out="h"),
        node("Tanh", "h", out="g"),
        node("MatMul", "g", "V", out="m"),
        node("Sigmoid", "m", out="s"),
        node("MatMul", "x", "U", out="k"),
        node(kind, *of, out="j"),
        node("Sub", "j", "s", out="y"),
    ]
    proto = model(nodes, CONSTANTS)
    problem = read(proto, tmp_path, np.zeros((5, 3)))
    (expected,) = states(proto, x=X)
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), expected, rtol=1e-13, atol=1e-13)


def test_joined_features_and_two_outputs(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "x", "W", "b", out="h"),
        node("MatMul", "u", "U", out="k"),
        node("Concat", "h", "k", out="c", axis=1),
        node("Relu", "c", out="r"),
        node("MatMul", "r", "R", out="first"),
        node("Concat", "k", "h", out="second", axis=-1),
    ]
    proto = model(nodes, CONSTANTS, inputs=("x", "u"), outputs=("first", "second"))
    expected = states(proto, x=X, u=U)
    targets = {"first": np.zeros((5, 2)), "second": np.ones((5, 6))}
    problem = read(proto, tmp_path, targets, inputs={"x": X, "u": U}, mass=0.5)
    for found, state in zip(problem.outputs(problem.initial_weights()), expected, strict=True):
        np.testing.assert_allclose(found, state, rtol=1e-13, atol=1e-13)
    energy = 0.5 * (expected[0] ** 2).sum(axis=1).mean() + 0.5 * ((expected[1] - 1) ** 2).sum(axis=1).mean()
    assert problem.energy(problem.initial_weights()) == pytest.approx(energy, rel=1e-13)
    in_order = read(proto, tmp_path, list(targets.values()), [ao.SquaredError()] * 2, inputs=[X, U])
    assert in_order.energy(problem.initial_weights()) == pytest.approx(energy, rel=1e-13)


def test_one_output_of_several(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "x", "W", "b", out="h"),
        node("MatMul", "h", "V", out="first"),
        node("Erf", "h", out="second"),
    ]
    proto = model(nodes, CONSTANTS, outputs=("first", "second"))
    problem = read(proto, tmp_path, {"first": np.zeros((5, 3))})
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), states(proto, x=X)[0], rtol=1e-13)
    assert len(problem.modules) == 2
    with pytest.raises(ao.InputError, match=r"unknown output of .*'third'.*Known: first, second"):
        read(proto, tmp_path, {"third": np.zeros((5, 3))})


def test_layers_of_the_same_constants_share_their_weights(tmp_path: Path) -> None:
    """A recurrent cell written out, once more with another activation behind the same product."""
    nodes = [
        node("MatMul", "x", "U", out="a"),
        node("Tanh", "a", out="h1"),
        node("Gemm", "h1", "V", "b", out="m1"),
        node("Tanh", "m1", out="h2"),
        node("Gemm", "h2", "V", "b", out="m2"),
        node("Sin", "m2", out="h3"),
        node("Add", "h1", "h3", out="q"),
        node("Mul", "q", "h2", out="y"),
    ]
    proto = model(nodes, CONSTANTS)
    problem = read(proto, tmp_path, np.zeros((5, 3)))
    assert problem.size == 12 + 12
    assert [len(group.uses) for group in problem.groups if group.size] == [1, 2]
    w = problem.initial_weights()
    np.testing.assert_allclose(problem.outputs(w), states(proto, x=X)[0], rtol=1e-13, atol=1e-14)


def test_layers_of_the_same_constants_share_their_weights_in_a_chain(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x", "S", out="h"), node("Tanh", "h", out="g"), node("Gemm", "g", "S", out="y")]
    proto = model(nodes, {"S": RNG.standard_normal((4, 4))})
    problem = read(proto, tmp_path, np.zeros((5, 4)))
    assert (problem.size, len(problem.modules)) == (16, 2)
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), states(proto, x=X)[0], rtol=1e-13)


def test_guarded_softplus_between_branches(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "x", "W", "b", out="h"),
        node("Softplus", "h", out="s"),
        node("Greater", "h", "t", out="g"),
        node("Where", "g", "h", "s", out="p"),
        node("MatMul", "x", "U", out="k"),
        node("Add", "p", "k", out="y"),
    ]
    proto = model(nodes, CONSTANTS)
    problem = read(proto, tmp_path, np.zeros((5, 3)))
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), states(proto, x=X)[0], rtol=1e-13)


H, K = node("Gemm", "x", "W", "b", out="h"), node("MatMul", "x", "R", out="k")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([H, node("MatMul", "x", "T", out="k"), node("Mul", "h", "k", out="y")], "branches differ, 3 and 2 features"),
        ([H, node("Concat", "h", "h", out="y", axis=0)], "'Concat y_node'.*features are joined, samples stay"),
        ([H, node("Transpose", "h", out="k"), node("Mul", "h", "k", out="y")], "its branches lie differently"),
        ([H, node("Max", "h", "x", out="y")], "'Max y_node'.*several values from_onnx reads Add, Sub, Mul"),
        ([H, node("Mul", "h", "h", out="m"), node("Erf", "m", out="y")], "'Erf y_node'.*from_onnx knows"),
    ],
)
def test_refused_nodes_are_named(tmp_path: Path, nodes: Any, message: str) -> None:
    proto = model(nodes, {**CONSTANTS, "T": np.ones((4, 2))})
    with pytest.raises(ao.InputError, match=message):
        read(proto, tmp_path, np.zeros((5, 3)))


def test_inputs_and_outputs_that_do_not_fit(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x", "W", "b", out="h"), node("MatMul", "u", "U", out="k"), node("Add", "h", "k", out="y")]
    proto = model(nodes, CONSTANTS, inputs=("x", "u"))
    with pytest.raises(ao.InputError, match=r"has 2 inputs: give them by name"):
        read(proto, tmp_path, np.zeros((5, 3)))
    with pytest.raises(ao.InputError, match=r"has the inputs x, u; got x, v"):
        read(proto, tmp_path, np.zeros((5, 3)), inputs={"x": X, "v": U})
    with pytest.raises(ao.InputError, match=r"as many samples each: 'x' has 5, 'u' has 4"):
        read(proto, tmp_path, np.zeros((5, 3)), inputs={"x": X, "u": U[:4]})
    two = model(nodes, CONSTANTS, inputs=("x", "u"), outputs=("h", "y"))
    with pytest.raises(ao.InputError, match=r"has 2 outputs: give targets for each"):
        read(two, tmp_path, np.zeros((5, 3)), inputs=[X, U])
    with pytest.raises(ao.InputError, match=r"has 2 outputs: give losses for each"):
        read(two, tmp_path, [np.zeros((5, 3))] * 2, inputs=[X, U])


def test_a_sigmoid_before_the_logistic_loss_is_refused(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x", "W", "b", out="h"), node("Sigmoid", "h", out="s"), node("Tanh", "h", out="g")]
    proto = model(nodes, CONSTANTS, outputs=("s", "g"))
    with pytest.raises(ao.InputError, match=r"ends in a sigmoid.*export the logits"):
        read(proto, tmp_path, {"s": np.ones((5, 3)), "g": np.ones((5, 3))}, ao.Logistic())


def test_a_node_that_makes_values_of_nothing(tmp_path: Path) -> None:
    nodes = [helper.make_node("RandomNormal", [], ["h"], shape=[5, 3], dtype=11, name="noise"), H]
    proto = model([nodes[0], node("Tanh", "h", out="y")], {})
    with pytest.raises(ao.InputError, match="RandomNormal noise"):
        read(proto, tmp_path, np.zeros((5, 3)))
