"""Networks in ONNX files: outputs are those of the reference evaluator, gradients those of the closed form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import actionopt as ao
from tests.interop.onnx_models import evaluate, model, node, saved

RNG = np.random.default_rng(3)
W1, B1 = RNG.standard_normal((4, 3)), RNG.standard_normal(3)
W2, B2 = RNG.standard_normal((3, 2)), RNG.standard_normal(2)
GEMM = node("Gemm", "x", "W", "b", out="h")
CONSTANTS = {"W": W1, "b": B1}
X, Y = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 2))


def read(proto: Any, folder: Path, inputs: np.ndarray = X, out_size: int | None = None) -> ao.Problem:
    out_size = evaluate(proto, inputs).shape[-1] if out_size is None else out_size
    return ao.Problem.from_onnx(saved(proto, folder), inputs, np.zeros((len(inputs), out_size)), ao.SquaredError())


def rejected(proto: Any, folder: Path, message: str, inputs: np.ndarray = X) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.Problem.from_onnx(saved(proto, folder), inputs, Y, ao.SquaredError())


def same_outputs(proto: Any, folder: Path, inputs: np.ndarray = X) -> ao.Problem:
    problem = read(proto, folder, inputs)
    np.testing.assert_allclose(
        problem.outputs(problem.initial_weights()), evaluate(proto, inputs), rtol=1e-14, atol=1e-14
    )
    return problem


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, -2.0)])
@pytest.mark.parametrize("offset", [B1, B1[None], np.array(0.7), None], ids=["(d,)", "(1, d)", "()", "none"])
def test_gemm(tmp_path: Path, trans_b: int, alpha: float, beta: float, offset: Any) -> None:
    constants = {"W": W1.T if trans_b else W1, **({} if offset is None else {"b": offset})}
    gemm = node("Gemm", "x", *constants, out="y", transB=trans_b, alpha=alpha, beta=beta)
    (dense,) = same_outputs(model([gemm], constants), tmp_path).modules
    assert isinstance(dense, ao.Dense)
    assert dense.bias == (offset is not None)
    assert dense.label == "y_node"


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_gemm_with_features_first(tmp_path: Path, trans_a: int, trans_b: int) -> None:
    """Data in B are columns of features, unless transposed: our inputs stay samples-first."""
    gemm = node("Gemm", "W", "x", "b", out="y", transA=trans_a, transB=trans_b)
    proto = model([gemm], {"W": W1 if trans_a else W1.T, "b": B1[:, None]}, shape=(None, None))
    problem = read(proto, tmp_path, out_size=3)
    expected = evaluate(proto, X if trans_b else X.T)
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), expected.T, rtol=1e-14, atol=1e-14)


def test_gemm_with_transposed_data(tmp_path: Path) -> None:
    proto = model([node("Gemm", "x", "W", "b", out="y", transA=1)], {"W": W1, "b": B1}, shape=(4, "N"))
    problem = read(proto, tmp_path, out_size=3)
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), evaluate(proto, X.T), rtol=1e-14, atol=1e-14)


def test_a_graph_that_turns_its_data(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", out="xt"),
        node("MatMul", "W1", "xt", out="h"),
        node("Tanh", "h", out="t"),
        node("Transpose", "t", out="tt", perm=[1, 0]),
        node("Gemm", "tt", "W2", "b2", out="y"),
    ]
    same_outputs(model(nodes, {"W1": W1.T, "W2": W2, "b2": B2}), tmp_path)


@pytest.mark.parametrize("kind", ["Tanh", "Relu", "Sigmoid", "Softplus", "Sin", "Exp"])
def test_matmul_add_and_activation_are_one_layer(tmp_path: Path, kind: str) -> None:
    nodes = [
        node("MatMul", "x", "W1", out="m"),
        node("Add", "b1", "m", out="h"),
        node(kind, "h", out="a"),
        node("MatMul", "a", "W2", out="y"),
    ]
    proto = model(nodes, {"W1": W1, "b1": B1, "W2": W2})
    problem = same_outputs(proto, tmp_path)
    assert [module.weight_size for module in problem.modules] == [15, 6]
    assert [module.activation for module in problem.modules] == [kind.lower(), None]


def test_activations_alone_twice_and_after_a_sum(tmp_path: Path) -> None:
    nodes = [
        node("Sin", "x", out="s"),
        node("Gemm", "s", "W1", "b1", out="h"),
        node("Add", "h", "c", out="hc"),
        node("Tanh", "hc", out="t"),
        node("Softplus", "t", out="y"),
    ]
    problem = same_outputs(model(nodes, {"W1": W1, "b1": B1, "c": np.array([[1.0, 2.0, 3.0]])}), tmp_path)
    assert [module.label for module in problem.modules] == ["sin", "h_node", "softplus"]


def test_nodes_that_only_arrange(tmp_path: Path) -> None:
    nodes = [
        node("Identity", "x", out="x1"),
        node("Cast", "x1", out="x2", to=onnx.TensorProto.DOUBLE),
        node("Dropout", "x2", out="x3"),
        node("Flatten", "x3", out="x4", axis=-1),
        node("Reshape", "x4", "shape", out="x5"),
        node("Gemm", "x5", "W", "b", out="y"),
    ]
    proto = model(nodes, {"W": W1, "b": B1, "shape": np.array([0, -1])})
    assert len(same_outputs(proto, tmp_path).modules) == 1


@pytest.mark.parametrize("arrange", ["Flatten", "Reshape"])
def test_images_are_flattened(tmp_path: Path, arrange: str) -> None:
    flatten = node("Flatten", "x", out="f") if arrange == "Flatten" else node("Reshape", "x", "shape", out="f")
    constants = {"W": W1, "b": B1, **({"shape": np.array([-1, 4])} if arrange == "Reshape" else {})}
    proto = model([flatten, node("Gemm", "f", "W", "b", out="y")], constants, shape=("N", 1, 2, 2))
    problem = read(proto, tmp_path, out_size=3)
    expected = evaluate(proto, X.reshape(5, 1, 2, 2))
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), expected, rtol=1e-14, atol=1e-14)


def guarded_softplus(threshold: float) -> Any:
    nodes = [
        GEMM,
        node("Softplus", "h", out="s"),
        node("Greater", "h", "t", out="g"),
        node("Where", "g", "h", "s", out="y"),
    ]
    return model(nodes, {**CONSTANTS, "t": np.array(threshold)})


def test_softplus_as_pytorch_writes_it(tmp_path: Path) -> None:
    (module,) = same_outputs(guarded_softplus(20.0), tmp_path).modules
    assert module.activation == "softplus"
    rejected(guarded_softplus(1.0), tmp_path, r"'Where y_node'.*several values from_onnx reads Add")


def test_a_file_written_for_a_number_of_samples_takes_others(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x", "shape", out="f"), node("Gemm", "f", "W", "b", out="y")]
    proto = model(nodes, {**CONSTANTS, "shape": np.array([7, 4])}, shape=(7, 2, 2))
    inputs = np.random.default_rng(0).standard_normal((7, 4))
    expected = evaluate(proto, inputs.reshape(7, 2, 2))
    problem = ao.Problem.from_onnx(saved(proto, tmp_path), inputs[:5], np.zeros((5, 3)), ao.SquaredError())
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), expected[:5], rtol=1e-14, atol=1e-14)


def test_constants_are_folded_in_and_unused_nodes_left_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        node("Cast", "half", out="half64", to=onnx.TensorProto.DOUBLE),
        node("Mul", "W", "half64", out="Wh"),
        node("Transpose", "Wh", out="Wt"),
        node("Softmax", "x", out="unused"),
        node("Gemm", "x", "Wt", "b", out="y"),
    ]
    problem = same_outputs(model(nodes, {"W": W1.T, "b": B1}), tmp_path)
    np.testing.assert_array_equal(problem.initial_weights()[:12], (W1.T / 2).ravel())


def test_skip_connections(tmp_path: Path) -> None:
    inner = np.random.default_rng(8).standard_normal((3, 3))
    nodes = [
        node("Gemm", "x", "W1", "b1", out="h"),
        node("Relu", "h", out="a"),
        node("MatMul", "a", "V", out="m"),
        node("Tanh", "m", out="t"),
        node("Add", "t", "a", out="r"),
        node("Softplus", "r", out="s"),
        node("Add", "r", "s", out="q"),
        node("Gemm", "q", "W2", "b2", out="y"),
    ]
    problem = same_outputs(model(nodes, {"W1": W1, "b1": B1, "V": inner, "W2": W2, "b2": B2}), tmp_path)
    assert [type(module).__name__ for module in problem.modules] == ["Pretrained", "Residual", "Residual", "Pretrained"]


def test_gradient_is_that_of_the_closed_form(tmp_path: Path) -> None:
    """A tanh network with squared error, differentiated on paper."""
    nodes = [
        node("Gemm", "x", "W1", "b1", out="h"),
        node("Tanh", "h", out="t"),
        node("Gemm", "t", "W2", "b2", out="y"),
    ]
    path = saved(model(nodes, {"W1": W1, "b1": B1, "W2": W2, "b2": B2}), tmp_path)
    problem = ao.Problem.from_onnx(path, X, Y, ao.SquaredError(), weight_decay=0.1)
    w = problem.initial_weights()
    t = np.tanh(X @ W1 + B1)
    delta = (t @ W2 + B2 - Y) / len(X)
    back = (delta @ W2.T) * (1 - t**2)
    expected = np.concatenate([(back.T @ X).ravel(), back.sum(0), (delta.T @ t).ravel(), delta.sum(0)]) + 0.1 * w
    np.testing.assert_allclose(problem.gradient(w), expected, rtol=0, atol=1e-14)
    assert problem.name == "net"


def test_float32_weights_become_float64(tmp_path: Path) -> None:
    w32 = W1.astype(np.float32)
    gemm = helper.make_node("Gemm", ["x", "W"], ["y"])
    graph = helper.make_graph(
        [gemm],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("N", 4))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (None, None))],
        [onnx.numpy_helper.from_array(w32, "W")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    problem = read(proto, tmp_path, out_size=3)
    assert problem.initial_weights().dtype == np.float64
    np.testing.assert_array_equal(problem.initial_weights(), w32.T.astype(float).ravel())


def test_read_networks_pass_every_check_of_the_package(tmp_path: Path) -> None:
    """The modules are symbolic too: CasADi's Jacobian against backpropagation."""
    from actionopt.symbolic import module_function

    nodes = [node("MatMul", "x", "W1", out="m"), node("Sigmoid", "m", out="s"), node("Gemm", "s", "W2", "b2", out="y")]
    problem = read(model(nodes, {"W1": W1, "W2": W2, "b2": B2}), tmp_path)
    z = X[0]
    for module, w in zip(problem.modules, problem.unflatten(problem.initial_weights()), strict=True):
        z = np.asarray(module_function(module)(z, w)).ravel()
    np.testing.assert_allclose(z, problem.outputs(problem.initial_weights())[0], rtol=0, atol=1e-14)


# -- what is refused, by name --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([GEMM, node("Celu", "h", out="y")], {}, r"'Celu y_node' -> 'y' is not supported: from_onnx knows Add"),
        ([GEMM, node("Softmax", "h", out="y")], {}, r"'Softmax y_node'.*contains the softmax: export the logits"),
        ([GEMM, node("Erf", "h", out="e"), node("Relu", "e", out="y")], {}, r"'Erf e_node'"),
        ([GEMM, node("Relu", "h", out="y", domain="mine")], {}, r"'Relu y_node'"),
        ([GEMM, node("Pow", "h", "h", out="y")], {}, r"'Pow y_node'.*several values from_onnx reads Add, Sub, Mul"),
        ([GEMM, node("Div", "b", "h", out="y")], {}, r"'Div y_node'.*it divides by data, or by zero"),
        ([GEMM, node("Div", "h", "c", out="y")], {"c": np.zeros(3)}, r"'Div y_node'.*it divides by data, or by zero"),
        ([GEMM, node("Add", "h", "c", out="y")], {"c": np.ones((5, 3))}, r"offset of 3 numbers.*got shape \(5, 3\)"),
        ([node("Gemm", "x", "W", "c", out="y")], {"c": np.ones((5, 1))}, r"offset of 3 numbers.*got shape \(5, 1\)"),
        ([GEMM, node("Add", "x", "h", out="y")], {}, r"'Add y_node'.*two branches differ, 3 features and 4"),
        ([GEMM, node("MatMul", "h", "h", out="y")], {}, r"'MatMul y_node'.*several values"),
        ([GEMM, node("MatMul", "W", "h", out="y")], {}, r"'MatMul y_node'.*multiplies along the samples"),
        ([GEMM, node("MatMul", "h", "V", out="y")], {"V": np.ones((2, 3, 3))}, r"'MatMul y_node'.*constant matrix"),
        ([GEMM, node("MatMul", "h", "V", out="y")], {"V": np.ones((7, 3))}, r"'MatMul y_node' takes 7 inputs.*gets 3"),
        ([GEMM, node("Flatten", "h", out="y", axis=0)], {}, r"'Flatten y_node'.*axis of the samples must stay"),
        ([GEMM, node("Reshape", "h", "s", out="y")], {"s": np.array([-1, 1])}, r"shape \[-1, 3\].*got \[-1, 1\]"),
        ([GEMM, node("Cast", "h", out="y", to=onnx.TensorProto.INT64)], {}, r"'Cast y_node'.*float64"),
        ([GEMM, node("Dropout", "h", "r", "t", out="y")], {"r": 0.5, "t": True}, r"'Dropout y_node'.*evaluation mode"),
        ([GEMM, node("Transpose", "h", out="y", perm=[0, 1])], {}, r"'Transpose y_node'.*may be exchanged"),
        (
            [node("RandomNormal", out="V", shape=[4, 3], dtype=11), node("MatMul", "x", "V", out="y")],
            {},
            "RandomNormal",
        ),
        (
            [node("Reshape", "W", "s", out="V"), node("MatMul", "x", "V", out="y")],
            {"s": np.array([5, 5])},
            r"'Reshape V",
        ),
        ([node("Gemm", "W", "V", "x", out="y")], {"V": np.ones((3, 4))}, r"'Gemm y_node'.*the other a constant matrix"),
        (
            [GEMM, node("Less", "h", "b", out="l"), node("Where", "l", "h", "h", out="y")],
            {},
            r"'Where y_node'.*several values",
        ),
        (
            [helper.make_node("Split", ["x"], ["p", "q"], num_outputs=2), node("Tanh", "q", out="y")],
            {},
            r"further output",
        ),
        ([node("Gemm", "x", "W", "x", out="y")], {}, r"'Gemm y_node'.*several values"),
        ([node("Identity", "x", out="y")], {}, r"no layer, its output is its input"),
        ([node("Relu", "W", out="y")], {}, r"'Relu y_node'.*depends on constants alone, of which only Add"),
    ],
)
def test_refused_nodes_are_named(tmp_path: Path, nodes: Any, constants: Any, message: str) -> None:
    rejected(model(nodes, {**CONSTANTS, **constants}), tmp_path, message)


def test_axes_that_are_neither_samples_nor_features_are_refused(tmp_path: Path) -> None:
    images = model([node("MatMul", "x", "W", out="y")], CONSTANTS, shape=("N", 1, 1, 4))
    rejected(images, tmp_path, "its input has 4 axes; put a Flatten before it")
    relu = [node("Relu", "x", out="y")]
    rejected(model(relu, {}, shape=("N", 1, 2, 2)), tmp_path, "output of the ONNX graph has 4 axes")


def test_inputs_of_another_size_are_refused(tmp_path: Path) -> None:
    rejected(model([node("Gemm", "x", "W", out="y")], CONSTANTS), tmp_path, "takes 4 inputs, but gets 3", X[:, :3])


def test_a_sigmoid_before_the_logistic_loss_is_refused(tmp_path: Path) -> None:
    path = saved(model([GEMM, node("Sigmoid", "h", out="y")], CONSTANTS), tmp_path)
    with pytest.raises(ao.InputError, match=r"ends in a sigmoid.*export the logits"):
        ao.Problem.from_onnx(path, X, np.ones((5, 3)), ao.Logistic())


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a\x12", bytes(range(256)) * 4, b"PK\x03\x04"])
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ao.InputError, match=r"broken\.onnx is no valid ONNX model: \S"):
        ao.Problem.from_onnx(path, X, Y, ao.SquaredError())


def test_truncated_files_are_refused_at_every_length(tmp_path: Path) -> None:
    whole = saved(model([node("Gemm", "x", "W", "b", out="y")], CONSTANTS), tmp_path).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ao.InputError):
            ao.Problem.from_onnx(path, X, Y, ao.SquaredError())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ao.InputError, match=r"no ONNX file .*nothing\.onnx"):
        ao.Problem.from_onnx(tmp_path / "nothing.onnx", X, Y, ao.SquaredError())


def test_the_extra_is_named_where_onnx_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(model([GEMM], CONSTANTS, outputs=("h",)), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ao.InputError, match=r"pip install 'actionopt\[onnx\]'"):
        ao.Problem.from_onnx(path, X, Y, ao.SquaredError())
