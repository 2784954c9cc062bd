"""Networks in ONNX files, as PyTorch and others export them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.errors import InputError, unknown_name
from actionopt.interop.onnx_constants import fold, read_constants
from actionopt.interop.onnx_graph import JOINTS, GraphReader, guards_softplus
from actionopt.interop.onnx_layers import modules_of
from actionopt.interop.onnx_parts import Step
from actionopt.interop.onnx_tokens import TokenReader, has_tokens
from actionopt.losses import as_samples
from actionopt.modules import Module, Node


class _Branches(InputError):
    """A graph that is no chain of layers."""


def read_onnx(path: str | Path, inputs: Any, outputs: Sequence[str] | None = None) -> tuple[Module, ...] | list[Node]:
    """Read an ONNX graph, starting at its weights.

    Parameters
    ----------
    path : str or Path
        A model of matrix products, sums with constants and activations, whose branches may meet in sums, differences,
        products and joined features; on tokens also in products of matrices, with softmax along rows.
    inputs : array (B, in_size), or a mapping or sequence of them
        Samples of the graph's input; of several by name or in their order.
    outputs : sequence of str, optional
        Names of the outputs wanted; all in their order where None.

    Returns
    -------
    tuple of Module, or list of Node
        Of a chain its layers, in order, with float64 weights. A product, its offset and the activation after it are
        one layer, whose matrix holds the factors of a Gemm (`alpha op(B)`, `beta C`); skips `x + f(x)` are one module.
        Of another graph the node of every output, on the given inputs; layers made of the same constants share them.

    Raises
    ------
    InputError
        If the package onnx is missing, the file is no valid ONNX model, inputs or outputs do not fit, or a node is none
        of the supported ones (the message names it).
    """
    path = Path(path)
    model = _load(path)
    graph = model.graph
    constants = read_constants(path, graph)
    values = {value.name: value for value in graph.input if value.name not in constants}
    data = _by_name(path, "input", list(values), inputs)
    wanted = _wanted(path, [value.name for value in graph.output], outputs)
    shapes = {name: [extent.dim_value for extent in value.type.tensor_type.shape.dim] for name, value in values.items()}
    steps = _data_steps(model, wanted, list(data), constants)
    if has_tokens(steps, shapes):
        placed = TokenReader(steps, data, shapes, wanted).read()
        return [placed[name] for name in wanted]
    if len(data) == len(wanted) == 1:
        try:
            return _chain(path, steps, next(iter(data)), wanted[0], data, shapes)
        except _Branches:
            pass
    found = GraphReader(steps, data, shapes, wanted).read()
    return [found[name] for name in wanted]


def _chain(
    path: Path,
    steps: Sequence[tuple[Step, list[str]]],
    start: str,
    output: str,
    data: dict[str, np.ndarray],
    shapes: dict[str, list[int]],
) -> tuple[Module, ...]:
    """Read a chain: each value is the path of steps that leads to it from the input."""
    paths: dict[str, tuple[Step, ...]] = {start: ()}
    for step, names in steps:
        taken = [paths[name] for name in names]
        paths[step.node.output[0]] = (*taken[0], step) if len(taken) == 1 else _joined(step, taken)
    if output not in paths:
        raise InputError(f"{path}: the output {output!r} does not depend on the input {start!r}")
    modules = modules_of(paths[output], data[start].shape[1], shapes[start])
    if not modules:
        raise InputError(f"{path}: the graph has no layer, its output is its input")
    return modules


def _by_name(path: Path, kind: str, names: list[str], given: Any) -> dict[str, np.ndarray]:
    """Return the samples of every input, given one for one, by name or in order."""
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise InputError(f"{path} has the {kind}s {', '.join(names)}; got {', '.join(map(str, given))}")
        return {name: as_samples(f"{kind} {name!r}", given[name]) for name in names}
    several = [given] if len(names) == 1 else given
    if not isinstance(several, (list, tuple)) or len(several) != len(names):
        raise InputError(f"{path} has {len(names)} {kind}s: give them by name, {{{names[0]!r}: array, ...}}")
    return {name: as_samples(f"{kind}s", values) for name, values in zip(names, several, strict=True)}


def _wanted(path: Path, names: list[str], outputs: Sequence[str] | None) -> list[str]:
    if outputs is None:
        return names
    if unknown := [name for name in outputs if name not in names]:
        raise unknown_name(f"output of {path}", unknown[0], names)
    return list(outputs)


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


def _data_steps(
    model: Any, outputs: Sequence[str], inputs: Sequence[str], constants: dict[str, np.ndarray]
) -> list[tuple[Step, list[str]]]:
    """List the nodes that data pass through on the way to the outputs, with the data each takes; fold the others."""
    data, found = set(inputs), []
    for node in _needed(model.graph, outputs):
        step = Step(node, constants)
        names = [name for name in node.input if name in data]
        if any(name and name not in data and name not in constants for name in node.input):
            raise step.unsupported("it takes a further output of a node, or a sparse constant")
        if not names and (node.input or node.op_type == "Constant"):
            fold(model, step, constants)
            continue
        if not names:
            raise step.unsupported("it makes values of nothing")
        data.add(node.output[0])
        found.append((step, names))
    return found


def _joined(step: Step, paths: list[tuple[Step, ...]]) -> tuple[Step, ...]:
    """Return the path to a node that takes several values."""
    kind = step.node.op_type
    if kind == "Add" and len(paths) == 2:
        short, long = sorted(paths, key=len)
        if len(short) < len(long) and long[: len(short)] == short:
            return (*short, step.around(long[len(short) :]))
    if kind == "Where" and len(paths) == 3:
        condition, x, y = paths
        if condition and y and guards_softplus(condition[-1], y[-1], [condition[:-1], x, y[:-1]]):
            return y
    if kind in JOINTS:
        raise _Branches(f"{step.label} makes no skip connection")
    raise step.unsupported(f"of nodes that take several values from_onnx reads {', '.join(JOINTS)}")


def _needed(graph: Any, outputs: Sequence[str]) -> Sequence[Any]:
    """List the nodes that the outputs depend on, in the graph's order, which is topological."""
    wanted = set(outputs)
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]
