"""Convolutions, pooling and normalisation in ONNX files: outputs are those of the reference evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from tests.interop.onnx_models import evaluate, model, node, saved

RNG = np.random.default_rng(5)
KERNEL, OFFSET = RNG.standard_normal((3, 2, 3, 2)), RNG.standard_normal(3)
IMAGES = RNG.standard_normal((4, 2, 6, 5))
SHAPE = ("N", 2, 6, 5)


def same_outputs(nodes: list[Any], constants: dict[str, Any], folder: Path, x: np.ndarray, shape: Any) -> ao.Problem:
    proto = model(nodes, constants, shape=shape)
    expected = evaluate(proto, x)
    flat = x.reshape(len(x), -1)
    problem = ao.Problem.from_onnx(saved(proto, folder), flat, np.zeros_like(expected), ao.SquaredError())
    w = problem.initial_weights()
    np.testing.assert_allclose(problem.outputs(w), expected, rtol=1e-13, atol=1e-13)
    return problem


@pytest.mark.parametrize("options", [{}, {"strides": [2, 1], "pads": [1, 2, 1, 2]}, {"auto_pad": "VALID"}])
@pytest.mark.parametrize("offset", [True, False])
def test_convolution(options: dict[str, Any], offset: bool, tmp_path: Path) -> None:
    if "auto_pad" in options:
        pytest.importorskip("onnx", minversion="1.21", reason="earlier reference evaluators pad where VALID is asked")
    names = ("W", "b") if offset else ("W",)
    nodes = [node("Conv", "x", *names, out="h", **options), node("Tanh", "h", out="t"), node("Flatten", "t", out="y")]
    constants = {"W": KERNEL, **({"b": OFFSET} if offset else {})}
    problem = same_outputs(nodes, constants, tmp_path, IMAGES, SHAPE)
    assert isinstance(problem.modules[0], ao.Conv2d)
    assert problem.modules[0].label == "h_node"


@pytest.mark.parametrize(
    "pool",
    [
        node("AveragePool", "h", out="p", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "h", out="p", kernel_shape=[3, 2], pads=[1, 1, 1, 1], count_include_pad=1),
        node("GlobalAveragePool", "h", out="p"),
    ],
    ids=["windows", "padded", "whole"],
)
def test_a_network_of_convolution_pooling_and_a_dense_layer(pool: Any, tmp_path: Path) -> None:
    nodes = [node("Conv", "x", "W", "b", out="c"), node("Relu", "c", out="h"), pool, node("Flatten", "p", out="f")]
    size = evaluate(model(nodes[:4], {"W": KERNEL, "b": OFFSET}, shape=SHAPE, outputs=("f",)), IMAGES).shape[1]
    last = RNG.standard_normal((size, 2))
    nodes.append(node("Gemm", "f", "V", out="y"))
    problem = same_outputs(nodes, {"W": KERNEL, "b": OFFSET, "V": last}, tmp_path, IMAGES, SHAPE)
    assert ao.check_adjoints(problem).ok


def test_features_that_become_images_and_back(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x", "image", out="i"),
        node("Conv", "i", "W", out="h"),
        node("Reshape", "h", "flat", out="y"),
    ]
    constants = {"image": np.array([-1, 2, 6, 5]), "W": KERNEL, "flat": np.array([0, -1])}
    same_outputs(nodes, constants, tmp_path, IMAGES.reshape(4, -1), ("N", 60))


@pytest.mark.parametrize("offset", [True, False])
def test_layer_normalisation(offset: bool, tmp_path: Path) -> None:
    names = ("s", "b") if offset else ("s",)
    constants = {"s": RNG.standard_normal(6), **({"b": RNG.standard_normal(6)} if offset else {})}
    nodes = [node("LayerNormalization", "x", *names, out="y", axis=-1, epsilon=1e-3)]
    problem = same_outputs(nodes, constants, tmp_path, RNG.standard_normal((5, 6)), ("N", 6))
    assert problem.size == 12


@pytest.mark.parametrize(
    ("nodes", "shape", "message"),
    [
        ([node("Conv", "x", "W", out="y", group=2)], SHAPE, "convolutions of one group"),
        ([node("Conv", "x", "W", out="y", dilations=[2, 1])], SHAPE, "without dilation"),
        ([node("Conv", "x", "W", out="y", pads=[0, 1, 1, 1])], SHAPE, "as much on either side"),
        ([node("Conv", "x", "W", out="y", auto_pad="SAME_UPPER")], SHAPE, "padding in numbers"),
        ([node("Conv", "x", "W", out="y")], ("N", 2, "H", 5), "with C, H and W in the file"),
        ([node("Conv", "x", "W", out="y")], ("N", 3, 4, 5), "takes 2 channels, and gets 3"),
        ([node("AveragePool", "x", out="y", kernel_shape=[2, 2], pads=[1, 1, 1, 1])], SHAPE, "whose zeros count"),
        ([node("MaxPool", "x", out="y", kernel_shape=[2, 2])], SHAPE, "MaxPool y_node' .* is not supported"),
        ([node("LayerNormalization", "x", "s", out="y")], SHAPE, "over the features of a sample"),
    ],
)
def test_what_is_not_supported_is_named(nodes: Any, shape: Any, message: str, tmp_path: Path) -> None:
    proto = model(nodes, {"W": KERNEL, "s": np.ones(5)}, shape=shape)
    with pytest.raises(ao.InputError, match=message):
        ao.Problem.from_onnx(saved(proto, tmp_path), np.ones((2, 60)), np.ones((2, 1)), ao.SquaredError())
