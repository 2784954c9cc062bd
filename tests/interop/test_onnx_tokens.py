"""ONNX graphs on tokens, attention among them: outputs are those of the reference evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from tests.interop.onnx_models import evaluate, model, node, saved

RNG = np.random.default_rng(6)
TOKENS, WIDTH, HEADS = 4, 6, 2
X = RNG.standard_normal((3, TOKENS, WIDTH))
SHAPE = ("N", TOKENS, WIDTH)
SPLIT = np.array([0, TOKENS, HEADS, WIDTH // HEADS])


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape) / np.sqrt(shape[0])


def read(nodes: list[Any], constants: dict[str, Any], folder: Path, **options: Any) -> ao.Problem:
    """Read a model and hold its outputs against the reference evaluator's."""
    proto = model(nodes, constants, shape=options.pop("shape", SHAPE))
    x = options.pop("x", X)
    expected = evaluate(proto, x)
    expected = expected.reshape(len(x), -1)
    problem = ao.Problem.from_onnx(
        saved(proto, folder), x.reshape(len(x), -1), np.zeros_like(expected), ao.SquaredError()
    )
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), expected, rtol=1e-12, atol=1e-13)
    return problem


def projection(name: str, order: list[int]) -> list[Any]:
    """Affine in the tokens, split into heads, axes in another order."""
    return [
        node("MatMul", "x", f"W{name}", out=f"{name}0"),
        node("Add", f"{name}0", f"b{name}", out=f"{name}1"),
        node("Reshape", f"{name}1", "split", out=f"{name}2"),
        node("Transpose", f"{name}2", out=name, perm=order),
    ]


def attention() -> tuple[list[Any], dict[str, Any]]:
    """Multi-head attention as exporters write it, with a causal mask."""
    nodes = [
        *projection("q", [0, 2, 1, 3]), *projection("k", [0, 2, 3, 1]), *projection("v", [0, 2, 1, 3]),
        node("MatMul", "q", "k", out="s0"), node("Div", "s0", "root", out="s1"), node("Add", "s1", "mask", out="s2"),
        node("Softmax", "s2", out="p", axis=-1), node("MatMul", "p", "v", out="h0"),
        node("Transpose", "h0", out="h1", perm=[0, 2, 1, 3]), node("Reshape", "h1", "join", out="h2"),
        node("MatMul", "h2", "Wo", out="h3"), node("Add", "h3", "bo", out="h"),
    ]  # fmt: skip
    constants = {f"W{name}": weights(WIDTH, WIDTH) for name in "qkvo"} | {f"b{name}": weights(WIDTH) for name in "qkvo"}
    mask = np.where(np.tri(TOKENS) > 0, 0.0, -1e9)
    more = {"split": SPLIT, "join": np.array([0, 0, WIDTH]), "root": np.array(np.sqrt(WIDTH / HEADS)), "mask": mask}
    return nodes, constants | more


def test_attention_is_read_and_is_the_attention_of_ours(tmp_path: Path) -> None:
    nodes, constants = attention()
    nodes.append(node("Flatten", "h", out="y"))
    problem = read(nodes, constants, tmp_path)
    ours = ao.Attention(TOKENS, WIDTH, HEADS, causal=True)
    w = [np.concatenate([constants[f"W{name}"].T.ravel() for name in "qkv"])]
    w += [np.concatenate([constants[f"b{name}"] for name in "qkv"]), constants["Wo"].T.ravel(), constants["bo"]]
    out = ours.forward(ao.ops.NUMPY, np.concatenate(w), X.reshape(3, -1))
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), out, rtol=1e-12, atol=1e-13)
    assert [type(node.module).__name__ for node in problem.nodes if node.module].count("Each") == 4


def test_a_block_of_a_transformer_trains(tmp_path: Path) -> None:
    nodes, constants = attention()
    nodes += [
        node("Add", "x", "h", out="r"),
        node("LayerNormalization", "r", "scale", "shift", out="n", axis=-1, epsilon=1e-5),
        node("MatMul", "n", "W1", out="f0"), node("Add", "f0", "b1", out="f1"), node("Relu", "f1", out="f2"),
        node("MatMul", "f2", "W2", out="f3"), node("Add", "f3", "n", out="f4"),
        node("ReduceMean", "f4", "tokens", out="m", keepdims=0), node("Gemm", "m", "V", "c", out="y", transB=1),
    ]  # fmt: skip
    constants |= {
        "scale": weights(WIDTH), "shift": weights(WIDTH), "W1": weights(WIDTH, 8), "b1": weights(8),
        "W2": weights(8, WIDTH), "tokens": np.array([1]), "V": weights(2, WIDTH), "c": weights(2),
    }  # fmt: skip
    problem = read(nodes, constants, tmp_path)
    w = problem.initial_weights()
    assert ao.check_adjoints(problem, w).ok
    assert problem.energy(ao.step(problem, w, 0.05)) < problem.energy(w)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("AveragePool", "x", out="y", kernel_shape=[3], strides=[2])],
        [node("Slice", "x", "one", "end", "one", out="y")],
        [node("Slice", "x", "end", "begin", "two", "back", out="y")],
        [node("Gather", "x", "places", out="y", axis=2)],
        [node("Gather", "x", "two", out="h", axis=1), node("Tanh", "h", out="y")],
        [node("Concat", "x", "x", out="y", axis=-1)],
        [node("Unsqueeze", "x", "one", out="h"), node("Squeeze", "h", "one", out="y")],
        [node("Reshape", "x", "flat", out="h"), node("Sub", "row", "h", out="y")],
        [node("ReduceMean", "x", "two", out="h", keepdims=1), node("Mul", "h", "h", out="y")],
        [node("Transpose", "x", out="h", perm=[0, 2, 1]), node("MatMul", "x", "h", out="y")],
        [node("LeakyRelu", "x", out="h", alpha=0.2), node("Identity", "h", out="y")],
        [node("MatMul", "x", "W", out="h"), node("Add", "h", "x", out="y")],
    ],
    ids=lambda nodes: "-".join(one.op_type for one in nodes),
)
def test_single_nodes(nodes: list[Any], tmp_path: Path) -> None:
    constants = {
        "one": np.array([1]), "two": np.array([2]), "end": np.array([3]), "begin": np.array([-100]),
        "back": np.array([-1]), "places": np.array([4, 0, 4]), "flat": np.array([-1, TOKENS * WIDTH]),
        "row": weights(TOKENS * WIDTH), "W": weights(WIDTH, WIDTH),
    }  # fmt: skip
    used = {name for step in nodes for name in step.input}
    read(nodes, {name: value for name, value in constants.items() if name in used}, tmp_path)


def test_features_that_become_tokens_and_weights_used_twice(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x", "shape", out="t"), node("MatMul", "t", "W", out="a"), node("Sin", "a", out="b"),
        node("MatMul", "b", "W", out="y"),
    ]  # fmt: skip
    constants = {"shape": np.array([-1, 3, 2]), "W": weights(2, 2)}
    problem = read(nodes, constants, tmp_path, shape=("N", 6), x=RNG.standard_normal((5, 6)))
    assert problem.size == 4  # the same constants are the same weights

    nodes = [node("Reshape", "x", "shape", out="t"), node("ReduceMean", "t", "axis", out="y")]
    constants = {"shape": np.array([7, -1, 3]), "axis": np.array([-2])}
    proto = model(nodes, constants, shape=(7, 6))
    x = RNG.standard_normal((7, 6))
    expected = evaluate(proto, x)[:2].reshape(2, -1)
    problem = ao.Problem.from_onnx(saved(proto, tmp_path), x[:2], expected, ao.SquaredError())
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Softmax", "x", out="y", axis=1)], {}, "'Softmax y_node'.*along the last axis"),
        ([node("MatMul", "x", "x", out="y")], {}, r"factors do not fit, \(4, 6\) and \(4, 6\) a sample"),
        ([node("MatMul", "x", "W", out="y")], {"W": np.ones((5, 2))}, "takes rows of 5, but gets 6"),
        ([node("MatMul", "W", "x", out="y")], {"W": np.ones((2, 4))}, "the second a constant matrix"),
        ([node("Transpose", "x", out="y", perm=[1, 0, 2])], {}, "axis of the samples must stay first"),
        ([node("Flatten", "x", out="y", axis=2)], {}, "axis of the samples must stay"),
        ([node("Gather", "x", "k", out="y", axis=0)], {"k": np.array([0])}, "it chooses samples"),
        ([node("Slice", "x", "k", "l", out="y")], {"k": np.array([0]), "l": np.array([1])}, "it cuts samples"),
        ([node("Concat", "x", "x", out="y", axis=0)], {}, "branches do not fit"),
        ([node("ReduceMean", "x", "k", out="y")], {"k": np.array([0])}, "means over one axis of a sample"),
        ([node("LayerNormalization", "x", "k", out="y", axis=1)], {"k": np.ones(24)}, "over the last axis"),
        (
            [node("AveragePool", "x", out="y", kernel_shape=[2], pads=[1, 1])],
            {},
            "windows of one axis, without padding",
        ),
        ([node("Div", "k", "x", out="y")], {"k": np.ones(6)}, "divides by data"),
        ([node("Add", "x", "k", out="y")], {"k": np.ones((2, 4, 6))}, r"constant \(2, 4, 6\) is no part of a sample"),
        ([node("Reshape", "x", "k", out="y")], {"k": np.array([-1, 5, 5])}, "does not fit samples"),
        ([node("Erf", "x", out="y")], {}, "'Erf y_node'.*on tokens from_onnx reads Add, AveragePool"),
        ([node("Tanh", "x", out="h"), node("Max", "x", "h", out="y")], {}, "reads Add, Concat, MatMul, Mul, Sub"),
    ],
)
def test_what_is_not_read_is_named(nodes: list[Any], constants: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = saved(model(nodes, constants, shape=SHAPE), tmp_path)
    with pytest.raises(ao.InputError, match=message):
        ao.Problem.from_onnx(path, X.reshape(3, -1), np.zeros((3, 1)), ao.SquaredError())


def test_inputs_of_another_size_are_named(tmp_path: Path) -> None:
    path = saved(model([node("Tanh", "x", out="y")], {}, shape=SHAPE), tmp_path)
    with pytest.raises(ao.InputError, match="input 'x' has 23 features, the file declares"):
        ao.Problem.from_onnx(path, np.zeros((3, 23)), np.zeros((3, 23)), ao.SquaredError())
