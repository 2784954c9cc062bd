"""Feed-forward networks in ONNX files, as PyTorch and others export them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.interop.onnx_layers import Step, modules_of
from actionopt.modules import Module


def read_onnx(path: str | Path, in_size: int) -> tuple[Module, ...]:
    """Read the modules of an ONNX graph, starting at its weights.

    Parameters
    ----------
    path : str or Path
        A model with one input and one output: matrix products, sums with constants, activations, skip connections.
    in_size : int
        Features of a sample.

    Returns
    -------
    tuple of Module
        One a layer, in order, with float64 weights. A product, its offset and the activation after it are one layer,
        whose matrix holds the factors of a Gemm (`alpha op(B)`, `beta C`).

    Raises
    ------
    InputError
        If the package onnx is missing, the file is no valid ONNX model, or a node is none of the supported ones (the
        message names it).
    """
    path = Path(path)
    model = _load(path)
    graph = model.graph
    constants = _constants(graph)
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise InputError(f"{path}: expected one input and one output, got {len(inputs)} and {len(graph.output)}")
    steps = _steps(path, model, inputs[0].name, constants)
    modules = modules_of(steps, in_size, [extent.dim_value for extent in inputs[0].type.tensor_type.shape.dim])
    if not modules:
        raise InputError(f"{path}: the graph has no layer, its output is its input")
    return modules


def _load(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise InputError("reading ONNX files needs the package onnx: pip install 'actionopt[onnx]'") from error
    if not path.is_file():
        raise InputError(f"no ONNX file {path}")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, the checker and the reader of external data raise types of their own
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{path} is no valid ONNX model: {reason.strip()}") from error
    return model


def _constants(graph: Any) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _steps(path: Path, model: Any, start: str, constants: dict[str, np.ndarray]) -> tuple[Step, ...]:
    """Follow the graph from input to output: each value is the path of steps that leads to it from the input."""
    paths: dict[str, tuple[Step, ...]] = {start: ()}
    for node in _needed(model.graph):
        step = Step(node, constants)
        data = [name for name in node.input if name in paths]
        if any(name and name not in paths and name not in constants for name in node.input):
            raise step.unsupported("it takes a further output of a node, or a sparse constant")
        if not data and (node.input or node.op_type == "Constant"):
            _fold(model, step, constants)
            continue
        taken = [paths[name] for name in data]
        paths[node.output[0]] = (*taken[0], step) if len(taken) == 1 else _joined(step, taken)
    output = model.graph.output[0].name
    if output not in paths:
        raise InputError(f"{path}: the output {output!r} does not depend on the input {start!r}")
    return paths[output]


def _joined(step: Step, paths: list[tuple[Step, ...]]) -> tuple[Step, ...]:
    """Return the path to a node that takes several values."""
    kind = step.node.op_type
    if kind == "Add" and len(paths) == 2:
        short, long = sorted(paths, key=len)
        if len(short) < len(long) and long[: len(short)] == short:
            return (*short, step.around(long[len(short) :]))
        raise step.unsupported("its two branches do not make a skip connection x + f(x)")
    if kind == "Where" and len(paths) == 3 and _guards_softplus(*paths):
        return paths[2]
    raise step.unsupported("from_onnx reads chains of layers and skip connections x + f(x)")


def _guards_softplus(condition: tuple[Step, ...], x: tuple[Step, ...], y: tuple[Step, ...]) -> bool:
    """Whether the paths are those of `x > threshold`, x and softplus(x), as PyTorch writes its softplus."""
    if not (condition and y and condition[:-1] == x == y[:-1] and condition[-1].node.op_type == "Greater"):
        return False
    threshold = condition[-1].constant(1)
    return y[-1].node.op_type == "Softplus" and threshold is not None and threshold.min() >= 15.0


def _needed(graph: Any) -> Sequence[Any]:
    """List the nodes that the output depends on, in the graph's order, which is topological."""
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _fold(model: Any, step: Step, constants: dict[str, np.ndarray]) -> None:
    """Evaluate a node that only depends on constants, such as the transposition of a matrix."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    node = step.node
    feeds = {name: constants[name] for name in node.input if name}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(feeds[name].dtype), None) for name in feeds
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    try:
        single = helper.make_model(graph, opset_imports=model.opset_import)
        values: Any = ReferenceEvaluator(single).run(None, feeds)
    except Exception as error:  # the evaluator raises whatever its operators raise
        raise step.unsupported(f"it cannot be evaluated on its constants: {error}") from error
    constants.update(zip(node.output, values, strict=True))
