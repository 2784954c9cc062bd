"""What a file may have computed while it is read, and scaling by constants, as pipelines export it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import actionopt as ao
from actionopt.interop import onnx_constants
from tests.interop.onnx_models import evaluate, model, node, saved

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4))
CONSTANTS: dict[str, Any] = {
    "mean": RNG.standard_normal(4),
    "std": RNG.random(4) + 0.5,
    "W": RNG.standard_normal((3, 4)),
    "b": RNG.standard_normal(3),
    "V": RNG.standard_normal((2, 3)),
    "c": RNG.standard_normal(2),
    "half": np.array(0.5),
    "hidden": RNG.random(3) + 0.5,
    "scale": np.array([7.0, 2.0]),
}
FIRST = node("Gemm", "z", "W", "b", out="h", transB=1)
LAST = node("Gemm", "t", "V", "c", out="o", transB=1)


def problem_of(nodes: list[Any], folder: Path, **options: Any) -> tuple[ao.Problem, np.ndarray]:
    proto = model(nodes, CONSTANTS)
    expected = evaluate(proto, X)
    return ao.Problem.from_onnx(saved(proto, folder), X, 0.0 * expected, ao.SquaredError(), **options), expected


SCALED = {
    "standard scaler": [node("Sub", "x", "mean", out="s"), node("Div", "s", "std", out="z"), FIRST],
    "constants on the left": [node("Sub", "mean", "x", out="s"), node("Mul", "std", "s", out="z"), FIRST],
    "one number": [node("Mul", "x", "half", out="s"), node("Add", "s", "half", out="z"), FIRST],
}
BEHIND = {
    "nothing": [node("Identity", "o", out="y")],
    "mul add": [node("Mul", "o", "scale", out="m"), node("Add", "m", "c", out="y")],
    "div sub": [node("Div", "o", "scale", out="m"), node("Sub", "m", "c", out="y")],
}


@pytest.mark.parametrize("before", SCALED)
@pytest.mark.parametrize("behind", BEHIND)
def test_scaling_folds_into_the_layers_beside_it(before: str, behind: str, tmp_path: Path) -> None:
    nodes = [*SCALED[before], node("Tanh", "h", out="t"), LAST, *BEHIND[behind]]
    problem, expected = problem_of(nodes, tmp_path)
    w = problem.initial_weights()
    np.testing.assert_allclose(problem.outputs(w), expected, rtol=1e-12, atol=1e-13)
    assert [type(module).__name__ for module in problem.modules] == ["Pretrained", "Pretrained"]


def test_scaling_between_activations_is_a_module_of_its_own(tmp_path: Path) -> None:
    nodes = [
        node("Identity", "x", out="z"), FIRST, node("Tanh", "h", out="a"), node("Mul", "a", "hidden", out="m"),
        node("Sin", "m", out="t"), LAST, node("Tanh", "o", out="p"), node("Mul", "p", "scale", out="y"),
    ]  # fmt: skip
    problem, expected = problem_of(nodes, tmp_path)
    w = problem.initial_weights()
    np.testing.assert_allclose(problem.outputs(w), expected, rtol=1e-12)
    assert "Rescale" in [type(module).__name__ for module in problem.modules]
    assert ao.check_adjoints(problem, w).ok


@pytest.mark.parametrize(
    ("kind", "attributes"), [("LeakyRelu", {}), ("LeakyRelu", {"alpha": 0.2}), ("Elu", {}), ("Elu", {"alpha": 1.5})]
)
def test_activations_with_a_parameter(kind: str, attributes: dict[str, float], tmp_path: Path) -> None:
    nodes = [node("Identity", "x", out="z"), FIRST, node(kind, "h", out="t", **attributes), LAST]
    nodes.append(node("Identity", "o", out="y"))
    problem, expected = problem_of(nodes, tmp_path)
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), expected, rtol=1e-6)
    assert ao.check_adjoints(problem, problem.initial_weights()).ok


def test_parameters_of_activations() -> None:
    w = np.zeros(1)
    x = np.array([[-2.0], [3.0]])
    assert ao.Activation(1, "leaky_relu(0.2)").forward(ao.ops.NUMPY, w[:0], x).ravel().tolist() == [-0.4, 3.0]
    assert ao.Activation(1, "leaky_relu").forward(ao.ops.NUMPY, w[:0], x).ravel().tolist() == [-0.02, 3.0]
    with pytest.raises(ao.InputError, match=r"activation 'elu\(1e-e\)': expected a number"):
        ao.Dense(1, 1, "elu(1e-e)")
    with pytest.raises(ao.InputError, match=r"unknown activation 'tanh\(2\)'"):
        ao.Dense(1, 1, "tanh(2)")


def refused(nodes: list[Any], constants: dict[str, Any], folder: Path, message: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ao.InputError, match=message):
        ao.Problem.from_onnx(saved(model(nodes, constants), folder), X, np.zeros((5, 3)), ao.SquaredError())
    assert time.perf_counter() - began < 30.0  # it was not computed: a loop of 1e9 trips takes hours


def value_info(name: str, kind: int, shape: list[int]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def test_loops_are_not_run(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_in"], ["go_out"]), helper.make_node("Identity", ["M"], ["M_out"])],
        "body",
        [
            value_info("i", TensorProto.INT64, []),
            value_info("go_in", TensorProto.BOOL, []),
            value_info("M", TensorProto.DOUBLE, [4, 3]),
        ],
        [value_info("go_out", TensorProto.BOOL, []), value_info("M_out", TensorProto.DOUBLE, [4, 3])],
    )
    loop = helper.make_node("Loop", ["trips", "go", "A"], ["R"], body=body, name="R_node")
    constants = {"trips": np.array(10**9), "go": np.array(True), "A": np.ones((4, 3))}
    refused([loop, node("MatMul", "x", "R", out="y")], constants, tmp_path, "'Loop R_node'.*depends on constants alone")


def test_ranges_are_not_made(tmp_path: Path) -> None:
    nodes = [node("Range", "zero", "end", "one", out="r"), node("MatMul", "x", "r", out="y")]
    constants = {"zero": np.array(0), "end": np.array(4 * 10**8), "one": np.array(1)}
    refused(nodes, constants, tmp_path, "'Range r_node'.*depends on constants alone, of which only")


@pytest.mark.parametrize("kind", ["RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"])
def test_nothing_random_is_evaluated(kind: str, tmp_path: Path) -> None:
    attributes = {"sample_size": 3} if kind == "Multinomial" else {}
    nodes = [node(kind, "W", out="R", **attributes), node("MatMul", "x", "R", out="y")]
    refused(nodes, {"W": np.full((4, 3), 0.5)}, tmp_path, f"'{kind} R_node'.*depends on constants alone")


def test_constants_do_not_grow_without_end(tmp_path: Path) -> None:
    nodes = [node("Add", "row", "column", out="big"), node("MatMul", "x", "big", out="y")]
    constants = {"row": np.ones((1, 20_000)), "column": np.ones((20_000, 1))}
    refused(nodes, constants, tmp_path, r"would hold 4e\+08 numbers, more than the 1e\+08 that are read")


def test_constants_of_another_shape_are_named(tmp_path: Path) -> None:
    nodes = [node("Add", "p", "q", out="s"), node("MatMul", "x", "s", out="y")]
    refused(nodes, {"p": np.ones(2), "q": np.ones(3)}, tmp_path, "'Add s_node'.*constants do not fit|no valid ONNX")


def test_damaged_constants_are_named(tmp_path: Path) -> None:
    proto = model([node("MatMul", "x", "W", out="y")], {"W": np.ones((4, 3))})
    proto.graph.initializer[0].raw_data = b"short"
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ao.InputError, match=r"constant 'W' cannot be read|no valid ONNX model"):
        ao.Problem.from_onnx(path, X, np.zeros((5, 3)), ao.SquaredError())


def test_a_shape_alone_is_no_reason_to_allocate(tmp_path: Path) -> None:
    proto = model([node("MatMul", "x", "W", out="y")], {"W": np.ones((4, 3))})
    proto.graph.initializer[0].dims[:] = [10**7, 10**7]
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ao.InputError, match=r"would hold|no valid ONNX model"):
        ao.Problem.from_onnx(path, X, np.zeros((5, 3)), ao.SquaredError())


def test_every_allowed_operator_exists() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert set(onnx_constants.ALLOWED) <= known
