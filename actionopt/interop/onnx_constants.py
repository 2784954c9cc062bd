"""Constants of an ONNX file: read, and combined by nodes that depend on nothing else.

Such nodes are evaluated, so a file decides what is computed while it is read: only operators of a list are, and only
where the result has a size that a network's weights may have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.interop.onnx_parts import Step

LARGEST = 100_000_000  # numbers that a constant may hold

Shape = tuple[int, ...]


def _joined(shapes: Sequence[Shape]) -> int:
    return math.prod(np.broadcast_shapes(*shapes))


def _kept(shapes: Sequence[Shape]) -> int:
    return math.prod(shapes[0])


def _product(shapes: Sequence[Shape]) -> int:
    return math.prod(shapes[0]) * math.prod(shapes[1])  # more than any product of the two


def _added(shapes: Sequence[Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes)


# how many numbers a node gives at most, from the shapes of its inputs; no loops, no ranges, nothing random
ALLOWED: dict[str, Callable[[Sequence[Shape]], int]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"), _joined),
    **dict.fromkeys(("Identity", "Cast", "Neg", "Abs", "Sqrt", "Exp", "Log", "Reciprocal"), _kept),
    **dict.fromkeys(("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Shape"), _kept),
    **dict.fromkeys(("Concat",), _added),
    **dict.fromkeys(("MatMul", "Gemm", "Gather"), _product),
}


def read_constants(path: Any, graph: Any) -> dict[str, np.ndarray]:
    """Return the constants that the file stores, by name.

    Raises
    ------
    InputError
        If one cannot be read, or is larger than a network's weights may be.
    """
    from onnx import numpy_helper

    found = {}
    for tensor in graph.initializer:
        _check_size(f"{path}: constant {tensor.name!r}", math.prod(tensor.dims))
        try:
            found[tensor.name] = numpy_helper.to_array(tensor)
        except Exception as error:  # whatever the bytes make the reader raise
            raise InputError(f"{path}: constant {tensor.name!r} cannot be read: {error}") from error
    return found


def fold(model: Any, step: Step, constants: dict[str, np.ndarray]) -> None:
    """Evaluate a node that only depends on constants, such as the transposition of a matrix, and add what it gives.

    Raises
    ------
    InputError
        If the operator is none of `ALLOWED`, what it gives is too large, or it cannot be evaluated.
    """
    node = step.node
    feeds = {name: constants[name] for name in node.input if name}
    if node.op_type != "Constant":
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED:
            raise step.unsupported(f"it depends on constants alone, of which only {', '.join(ALLOWED)} are evaluated")
        try:
            size = ALLOWED[node.op_type]([feeds[name].shape for name in node.input if name])
        except (ValueError, IndexError) as error:
            raise step.unsupported(f"its constants do not fit: {error}") from None
        _check_size(f"ONNX node {step.label!r}: what it makes of constants", size)
    with np.errstate(all="ignore"):
        constants.update(zip(node.output, _evaluated(model, step, feeds), strict=True))


def _evaluated(model: Any, step: Step, feeds: dict[str, np.ndarray]) -> list[Any]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    node = step.node
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
    return list(values)


def _check_size(what: str, size: int) -> None:
    if size > LARGEST:
        raise InputError(f"{what} would hold {size:.3g} numbers, more than the {LARGEST:.0e} that are read")
