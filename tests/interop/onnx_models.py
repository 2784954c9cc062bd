"""ONNX models built node by node, with float64 weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def node(kind: str, *inputs: str, out: str, **attributes: Any) -> Any:
    """One node; it is named after its output."""
    return helper.make_node(kind, list(inputs), [out], name=f"{out}_node", **attributes)


def model(
    nodes: Sequence[Any],
    constants: dict[str, Any],
    *,
    shape: Sequence[Any] = ("N", 4),
    outputs: Sequence[str] = ("y",),
    inputs: Sequence[str] = ("x",),
    opset: int = 21,
) -> Any:
    """A model whose input is x and whose output is y; numbers become float64, integers stay as they are."""
    arrays = {name: np.asarray(values) for name, values in constants.items()}
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, (None, None)) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in arrays.items()],
    )
    domains = {"": opset, **{step.domain: 1 for step in nodes if step.domain}}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def saved(proto: Any, folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(proto, path)
    return path


def evaluate(proto: Any, x: np.ndarray) -> np.ndarray:
    """What the reference implementation of ONNX says."""
    return ReferenceEvaluator(proto).run(None, {"x": x})[0]
