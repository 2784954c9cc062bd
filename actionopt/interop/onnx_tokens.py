"""ONNX graphs on tokens: values of several axes a sample, as attention has them, placed on nodes of a network.

A sample's axes stand as features in row-major order. What only moves entries (Reshape, Transpose, Slice, ...) is done
once on their numbers and becomes a `take`; what acts on the last axis is a module on each of its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.interop.onnx_images import PretrainedLayerNorm
from actionopt.interop.onnx_layers import ACTIVATION_NODES, PARAMETERS, READERS
from actionopt.interop.onnx_moves import MOVES
from actionopt.interop.onnx_parts import Layout, Step
from actionopt.interop.onnx_scaling import SCALINGS, Rescale, scaling_of
from actionopt.interop.pretrained import Pretrained
from actionopt.modules import Activation, Each, Map, Module, Node
from actionopt.nodes import Input
from actionopt.ops import Ops
from actionopt.ops.base import Array

Shape = tuple[int, ...]


def has_tokens(steps: Sequence[tuple[Step, list[str]]], shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether samples have two axes somewhere: an input of three axes, or a Reshape to three."""
    targets = [step.constant(1) for step, _ in steps if step.node.op_type == "Reshape"]
    return any(len(shape) == 3 for shape in shapes.values()) or any(
        target is not None and np.size(target) == 3 for target in targets
    )


@dataclass(frozen=True)
class Value:
    """A value of the graph: the node whose state it is, and the axes of a sample."""

    node: Node
    shape: Shape

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def rows(self) -> int:
        """Number of rows along the last axis."""
        return self.size // self.shape[-1] if self.shape else 1


@dataclass(frozen=True)
class Take:
    """Entries of a sample by number."""

    indices: np.ndarray

    def __call__(self, ops: Ops, z: Array) -> Array:
        return ops.take(z, self.indices)


@dataclass(frozen=True)
class RowSoftmax:
    """Softmax along each of `rows` rows."""

    rows: int

    def __call__(self, ops: Ops, z: Array) -> Array:
        return ops.samples_as_parts(ops.softmax(ops.parts_as_samples(z, self.rows)), self.rows)


@dataclass(frozen=True)
class RowMean:
    """Mean of each of `rows` rows of the entries at `indices`."""

    indices: np.ndarray
    rows: int

    def __call__(self, ops: Ops, z: Array) -> Array:
        parts = ops.parts_as_samples(ops.take(z, self.indices), self.rows)
        share = self.rows / len(self.indices)
        return ops.samples_as_parts(share * ops.sum(parts, keepdims=True), self.rows)


@dataclass(frozen=True)
class Product:
    """Product of `count` pairs of matrices, joined: those of the left `(count, n, inner)`, then of the right."""

    left: int
    right: int
    count: int
    inner: int

    def __call__(self, ops: Ops, z: Array) -> Array:
        a, b = (ops.parts_as_samples(part, self.count) for part in ops.split(z, [self.left, self.right]))
        return ops.samples_as_parts(ops.matmul_samples(a, b, self.inner), self.count)


@dataclass(frozen=True)
class Entrywise:
    """Sum, difference or product of two values of one size, joined."""

    kind: str

    def __call__(self, ops: Ops, z: Array) -> Array:
        half = ops.size(z) // 2
        a, b = ops.split(z, [half, half])
        return a + b if self.kind == "Add" else a - b if self.kind == "Sub" else a * b


class TokenReader:
    """Places the steps of a graph on nodes.

    Parameters
    ----------
    steps : sequence of (Step, list of str)
        The nodes that data pass through, in order, each with the names of the data that it takes.
    inputs : mapping
        Samples `(B, d)` of every input, by name.
    shapes : mapping
        The shape that the file declares for each input, samples first, 0 for an open extent.
    outputs : sequence of str
        The values wanted.
    """

    def __init__(
        self,
        steps: Sequence[tuple[Step, list[str]]],
        inputs: Mapping[str, np.ndarray],
        shapes: Mapping[str, Sequence[int]],
        outputs: Sequence[str],
    ) -> None:
        self.steps, self.outputs = steps, outputs
        self.uses = Counter([*(name for _, data in steps for name in data), *outputs])
        self.readers: dict[str, Callable[[Step, Value], Value]] = {
            **dict.fromkeys(ACTIVATION_NODES, _activation), **dict.fromkeys(SCALINGS, _scaling),
            **dict.fromkeys(MOVES, _moved), **dict.fromkeys(("Identity", "Dropout", "Cast"), _kept),
            "MatMul": self._matmul, "Gemm": self._matmul, "Softmax": _softmax, "LayerNormalization": self._layer_norm,
            "ReduceMean": _reduce_mean, "AveragePool": _average_pool,
        }  # fmt: skip
        self.made: dict[tuple[Any, ...], Module] = {}
        self.values: dict[str, Value] = {}
        self.offsets: dict[str, str] = {}  # sums with an offset that a product took in
        for name, samples in inputs.items():
            shape = tuple(int(extent) for extent in shapes[name][1:])
            if not all(shape) or int(np.prod(shape)) != samples.shape[1]:
                raise InputError(f"input {name!r} has {samples.shape[1]} features, the file declares {shapes[name]}")
            self.values[name] = Value(Input(samples, name=name), shape)

    def read(self) -> dict[str, Node]:
        """Return the node of every output, by name."""
        for step, data in self.steps:
            if not all(name in self.values for name in data):
                raise step.unsupported("it does not depend on the inputs given")
            values = [self.values[name] for name in data]
            kind = step.node.op_type
            if step.node.output[0] in self.offsets:
                found = values[0]
            elif len(values) == 2:
                found = _meet(step, *values)
            elif len(values) == 1 and kind in self.readers and step.node.domain in ("", "ai.onnx"):
                found = self.readers[kind](step, values[0])
            else:
                raise step.unsupported(f"on tokens from_onnx reads {', '.join(sorted(self.readers))}")
            self.values[step.node.output[0]] = found
        return {name: self._output(name) for name in self.outputs}

    def _on_rows(self, key: tuple[Any, ...], value: Value) -> Module:
        """Return the module of that key on each row of a value: one object, whose weights all its uses share."""
        if value.rows == 1:
            return self.made[key]
        if (*key, value.rows) not in self.made:
            self.made[*key, value.rows] = Each(self.made[key], value.rows)
        return self.made[*key, value.rows]

    def _output(self, name: str) -> Node:
        if name not in self.values:
            raise InputError(f"the output {name!r} does not depend on the inputs")
        value = self.values[name]
        return value.node if value.node.module is not None else Map(_as_it_is, value.size, value.size)(value.node)

    def _matmul(self, step: Step, value: Value) -> Value:
        """Read rows times a constant matrix, with the offset that is added to nothing but that."""
        matrix, gemm = step.constant(1), step.node.op_type == "Gemm"
        plain = {step.attribute("alpha", 1.0), step.attribute("beta", 1.0)} == {1.0} and not step.attribute("transA", 0)
        if matrix is None or matrix.ndim != 2 or not plain or (gemm and len(value.shape) != 1):
            raise step.unsupported("on tokens one factor must be the data, the second a constant matrix")
        if step.attribute("transB", 0):
            matrix = matrix.T
        if matrix.shape[0] != value.shape[-1]:
            raise step.unsupported(f"it takes rows of {matrix.shape[0]}, but gets {value.shape[-1]}")
        name, offset = (step.node.input[2], step.constant(2)) if gemm and len(step.node.input) > 2 else ("", None)
        if not gemm:
            name, offset = self._offset_behind(step, matrix.shape[1])
        key = (step.node.input[1], step.attribute("transB", 0), name)
        if key not in self.made:
            layer = Pretrained(
                matrix.T.astype(float), None if offset is None else offset.ravel().astype(float), None, step.node.name
            )
            self.made[key] = layer
        return Value(self._on_rows(key, value)(value.node), (*value.shape[:-1], matrix.shape[1]))

    def _offset_behind(self, step: Step, width: int) -> tuple[str, np.ndarray | None]:
        result = step.node.output[0]
        behind = [other for other, data in self.steps if result in data]
        if self.uses[result] == 1 and len(behind) == 1 and behind[0].node.op_type == "Add":
            names = [name for name in behind[0].node.input if name != result]
            values = behind[0].constants.get(names[0]) if names else None
            if values is not None and values.shape == (width,):
                self.offsets[behind[0].node.output[0]] = result
                return names[0], values
        return "", None

    def _layer_norm(self, step: Step, value: Value) -> Value:
        scale, offset, width = step.constant(1), step.constant(2), value.shape[-1]
        if step.attribute("axis", -1) not in (-1, len(value.shape)) or scale is None or scale.size != width:
            raise step.unsupported(f"from_onnx knows normalisation over the last axis, with {width} constants as scale")
        key = ("norm", *step.node.input[1:], step.attribute("epsilon", 1e-5))
        if key not in self.made:
            module = PretrainedLayerNorm(width, float(step.attribute("epsilon", 1e-5)), name=step.node.name or None)
            shift = np.zeros(width) if offset is None else offset.ravel()
            module.weights = np.concatenate([scale.ravel(), shift]).astype(float)
            self.made[key] = module
        return Value(self._on_rows(key, value)(value.node), value.shape)


def _kept(step: Step, value: Value) -> Value:
    READERS[step.node.op_type](step, (), Layout(value.size, 2, True, 0))  # may refuse
    return value


def _as_it_is(ops: Ops, z: Array) -> Array:
    return z


def _map(step: Step, rule: Callable[[Ops, Array], Array], value: Value, shape: Shape) -> Value:
    joint = Map(rule, value.size, int(np.prod(shape)), name=step.label)
    return Value(joint(value.node), shape)


def _activation(step: Step, value: Value) -> Value:
    name = ACTIVATION_NODES[step.node.op_type]
    if step.node.op_type in PARAMETERS:
        name = f"{name}({step.attribute('alpha', PARAMETERS[step.node.op_type]):.17g})"
    return Value(Activation(value.size, name)(value.node), value.shape)


def _scaling(step: Step, value: Value) -> Value:
    """Read a constant that is added, subtracted, multiplied or divided by, broadcast over a sample."""
    first = step.constant(0)
    constant = step.constant(1) if first is None else first
    assert constant is not None  # one of the two is no data
    try:
        spread = np.broadcast_to(constant.astype(float), (1, *value.shape)).ravel()
    except ValueError:
        raise step.unsupported(f"its constant {constant.shape} is no part of a sample {value.shape}") from None
    with np.errstate(divide="ignore"):
        scaling = scaling_of(step.node.op_type, spread, first is not None, ())
    if scaling is None or not np.isfinite(scaling.factor).all():
        raise step.unsupported("it divides by data, or by zero")
    return Value(Rescale(scaling.factor, scaling.shift, step.label)(value.node), value.shape)


def _softmax(step: Step, value: Value) -> Value:
    if step.attribute("axis", -1) not in (-1, len(value.shape)):
        raise step.unsupported("from_onnx knows it along the last axis")
    return _map(step, RowSoftmax(value.rows), value, value.shape)


def _reduce_mean(step: Step, value: Value) -> Value:
    given = step.constant(1)
    axes = step.attribute("axes", ()) if given is None else given.ravel()
    found = {int(axis) + (len(value.shape) + 1 if axis < 0 else 0) for axis in axes}
    if len(found) != 1 or not 0 < min(found) <= len(value.shape):
        raise step.unsupported("from_onnx knows means over one axis of a sample")
    axis = found.pop() - 1
    entries = np.moveaxis(np.arange(value.size).reshape(value.shape), axis, -1)
    kept = 1 if step.attribute("keepdims", 1) else None
    shape = tuple(s for k, s in enumerate(value.shape) if k != axis)
    shape = (*shape[:axis], kept, *shape[axis:]) if kept else shape
    return _map(step, RowMean(entries.ravel(), value.size // value.shape[axis]), value, shape)


def _average_pool(step: Step, value: Value) -> Value:
    """Read an AveragePool along the last axis, `(C, L)`, without padding."""
    kernel, stride = step.attribute("kernel_shape", ()), step.attribute("strides", (1,))
    if len(value.shape) != 2 or len(kernel) != 1 or any(step.attribute("pads", (0,))) or step.attribute("ceil_mode", 0):
        raise step.unsupported("on tokens from_onnx knows windows of one axis, without padding")
    entries = np.arange(value.size).reshape(value.shape)
    windows = np.lib.stride_tricks.sliding_window_view(entries, int(kernel[0]), axis=-1)[:, :: int(stride[0])]
    return _map(step, RowMean(windows.ravel(), windows.shape[0] * windows.shape[1]), value, windows.shape[:2])


def _moved(step: Step, value: Value) -> Value:
    """Move the numbers of a sample's entries as the node would move the entries."""
    entries = np.arange(value.size).reshape(1, *value.shape)
    try:
        moved = MOVES[step.node.op_type](step, entries)
    except (ValueError, IndexError, TypeError) as error:
        raise step.unsupported(f"it does not fit samples {value.shape}: {error}") from None
    if moved.shape[0] != 1:
        raise step.unsupported("the axis of the samples must stay first")
    shape = moved.shape[1:]
    if moved.size == value.size and (moved.ravel() == entries.ravel()).all():
        return Value(value.node, shape)
    return _map(step, Take(moved.ravel()), value, shape)


def _meet(step: Step, left: Value, right: Value) -> Value:
    """Return the value of a node that takes two."""
    kind = step.node.op_type
    if kind == "MatMul":
        return _product(step, left, right)
    if kind == "Concat":
        return _concatenation(step, left, right)
    if kind not in ("Add", "Sub", "Mul"):
        raise step.unsupported("of nodes that take two values on tokens from_onnx reads Add, Concat, MatMul, Mul, Sub")
    if left.shape != right.shape:
        raise step.unsupported(f"its branches differ, {left.shape} and {right.shape} a sample")
    joint = Map(Entrywise(kind), 2 * left.size, left.size, name=step.label)
    return Value(joint(left.node, right.node), left.shape)


def _product(step: Step, left: Value, right: Value) -> Value:
    """Read a product of two states, matrices along the last two axes (queries with keys, weights with values)."""
    fits = len(left.shape) == len(right.shape) >= 2 and left.shape[:-2] == right.shape[:-2]
    if not fits or left.shape[-1] != right.shape[-2]:
        raise step.unsupported(f"its factors do not fit, {left.shape} and {right.shape} a sample")
    count = int(np.prod(left.shape[:-2]))
    shape = (*left.shape[:-1], right.shape[-1])
    rule = Product(left.size, right.size, count, left.shape[-1])
    joint = Map(rule, left.size + right.size, int(np.prod(shape)), name=step.label)
    return Value(joint(left.node, right.node), shape)


def _concatenation(step: Step, left: Value, right: Value) -> Value:
    axis = int(step.attribute("axis", 0))
    parts = [np.arange(left.size).reshape(1, *left.shape), left.size + np.arange(right.size).reshape(1, *right.shape)]
    try:
        entries = np.concatenate(parts, axis=axis)
    except ValueError:
        entries = None
    if entries is None or axis % (len(left.shape) + 1) == 0:
        raise step.unsupported(f"its branches do not fit, {left.shape} and {right.shape} a sample")
    joint = Map(Take(entries.ravel()), entries.size, entries.size, name=step.label)
    return Value(joint(left.node, right.node), entries.shape[1:])
