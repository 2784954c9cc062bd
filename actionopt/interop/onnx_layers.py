"""From ONNX nodes to modules: what each supported node means, and which nodes make one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.interop import onnx_images as images
from actionopt.interop.onnx_parts import Affine, Layout, Step
from actionopt.interop.onnx_scaling import SCALINGS, Layers, Rescale, Scaling, scaling_of
from actionopt.interop.pretrained import Pretrained
from actionopt.modules import Activation, Chain, Module, Residual

ACTIVATION_NODES = {
    "Tanh": "tanh",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Sin": "sin",
    "Exp": "exp",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
}
PARAMETERS = {"LeakyRelu": 0.01, "Elu": 1.0}  # their alpha where the file names none
_HINTS = {
    "Softmax": "SoftmaxCrossEntropy contains the softmax: export the logits",
    "LogSoftmax": "SoftmaxCrossEntropy contains the softmax: export the logits",
    "BatchNormalization": "export in evaluation mode, with the normalisation folded into the layer before",
}


class Placed:
    """The layers read so far: those made of the same constants in the same way are one module, or share its weights."""

    def __init__(self) -> None:
        self.found: dict[tuple[Any, ...], dict[str | None, Pretrained]] = {}

    def of(self, layers: Layers) -> tuple[Module, ...]:
        """Turn all layers into modules."""
        return tuple(self._one(layer) for layer in layers)

    def _one(self, layer: Affine | Scaling | Module) -> Module:
        if isinstance(layer, Scaling):
            return Rescale(layer.factor, layer.shift)
        return self.module(layer) if isinstance(layer, Affine) else layer

    def module(self, layer: Affine) -> Pretrained:
        alike = self.found.setdefault(layer.made_of, {})
        if layer.activation not in alike:
            module = Pretrained(layer.matrix, layer.offset, layer.activation, layer.name)
            module.shares = next(iter(alike.values()), None)
            alike[layer.activation] = module
        return alike[layer.activation]


def modules_of(steps: Sequence[Step], size: int, shape: Sequence[int]) -> tuple[Module, ...]:
    """Translate the steps from the graph's input, of `size` features and a shape with 0 for open extents, to modules.

    Raises
    ------
    InputError
        Naming the node that is not supported, or that does not fit the size of its input.
    """
    layout = Layout(size, len(shape), samples_first(steps), shape[0] if shape else 0, images.image_of(shape))
    modules, layout = translate(steps, layout, Placed())
    if layout.rank > 2:
        raise InputError(f"the output of the ONNX graph has {layout.rank} axes, expected samples and features")
    return modules


def translate(steps: Sequence[Step], layout: Layout, placed: Placed) -> tuple[tuple[Module, ...], Layout]:
    """Translate the steps behind a value of that layout to modules; return the layout behind them, too."""
    layers, layout = _translate(steps, layout)
    return placed.of(layers), layout


def samples_first(steps: Sequence[Step]) -> bool:
    """Tell from the first product how the input lies, counting transpositions on the way."""
    turned = False
    for step in steps:
        if step.inner:
            return samples_first(step.inner) != turned
        if step.node.op_type == "Transpose":
            turned = not turned
        elif step.node.op_type in ("Gemm", "MatMul"):
            data = 0 if step.constant(0) is None else 1
            transposed = bool(step.attribute("transB" if data else "transA", 0))
            return (data == 0) != (transposed != turned)
    return True


def _translate(steps: Sequence[Step], layout: Layout) -> tuple[Layers, Layout]:
    layers: Layers = ()
    for step in steps:
        layers, layout = (_skip if step.inner else _reader(step))(step, layers, layout)
    return layers, layout


def _reader(step: Step) -> Callable[[Step, Layers, Layout], tuple[Layers, Layout]]:
    kind = step.node.op_type
    if step.node.domain not in ("", "ai.onnx") or kind not in READERS:
        known = f"from_onnx knows {', '.join(sorted(READERS))}"
        raise step.unsupported(f"{_HINTS[kind]}; {known}" if kind in _HINTS else known)
    return READERS[kind]


def _skip(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    inner, after = _translate(step.inner, layout)
    if after != layout or not inner:
        raise step.unsupported(f"its two branches differ, {after.size} features and {layout.size}")
    return (*layers, Residual(Chain(*Placed().of(inner)))), after


def _activation(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    name = ACTIVATION_NODES[step.node.op_type]
    if step.node.op_type in PARAMETERS:
        default = PARAMETERS[step.node.op_type]
        name = f"{name}({step.attribute('alpha', default):.17g})"
    if layers and isinstance(layers[-1], Affine) and layers[-1].activation is None:
        return (*layers[:-1], replace(layers[-1], activation=name)), layout
    return (*layers, Activation(layout.size, name)), layout


def _gemm(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    """Read `Y = alpha op(A) op(B) + beta C`: data in A has samples first, data in B features first, after `op`."""
    left, right = step.constant(0), step.constant(1)
    transposed = [bool(step.attribute("transA", 0)), bool(step.attribute("transB", 0))]
    if left is None and right is not None:
        matrix, data_transposed = (right if transposed[1] else right.T), transposed[0]
    elif left is not None and right is None:
        matrix, data_transposed = (left.T if transposed[0] else left), transposed[1]
    else:
        raise step.unsupported("one factor must be the data, the other a constant matrix")
    samples_first = left is None
    _check_orientation(step, layout, samples_first != data_transposed)
    affine = _affine(step, step.attribute("alpha", 1.0) * matrix.astype(float), layout.size)
    after = replace(layout, size=len(affine.matrix), samples_first=samples_first)
    offset = step.constant(2)
    if offset is not None:
        beta = step.attribute("beta", 1.0)
        made_of = (*affine.made_of, step.node.input[2], beta)
        affine = replace(affine, offset=beta * _offset(step, offset, after), made_of=made_of)
    return _behind(layers, affine), after


def _matmul(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    left, right = step.constant(0), step.constant(1)
    factor = left if left is not None else right
    if factor is None or factor.ndim != 2:
        raise step.unsupported("one factor must be the data, the other a constant matrix")
    samples_first = left is None
    _check_orientation(step, layout, samples_first)
    affine = _affine(step, (factor.T if samples_first else factor).astype(float), layout.size)
    return _behind(layers, affine), replace(layout, size=len(affine.matrix))


def _affine(step: Step, matrix: np.ndarray, size: int) -> Affine:
    if matrix.shape[1] != size:
        raise InputError(f"ONNX node {step.label!r} takes {matrix.shape[1]} inputs, but gets {size}")
    constant = next(name for name in step.node.input if name in step.constants)
    attributes = (step.node.op_type, *(str(attribute) for attribute in step.node.attribute))
    return Affine(matrix, None, None, step.node.name or step.node.op_type, (constant, *attributes))


def _scaling(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    """Read a constant that is added, subtracted, multiplied or divided by; beside a matrix product it becomes part."""
    values = step.constant(0)
    constant_first = values is not None
    constant = _offset(step, step.constant(1) if values is None else values, layout)
    name = next(name for name in step.node.input if name in step.constants)
    with np.errstate(divide="ignore"):
        scaling = scaling_of(step.node.op_type, constant, constant_first, (step.node.op_type, constant_first, name))
    if scaling is None or not np.isfinite(scaling.factor).all():
        raise step.unsupported("it divides by data, or by zero")
    last = layers[-1] if layers else None
    if isinstance(last, Affine) and last.activation is None:
        return (*layers[:-1], scaling.after(last)), layout
    if isinstance(last, Scaling):
        return (*layers[:-1], last.then(scaling)), layout
    return (*layers, scaling), layout


def _behind(layers: Layers, affine: Affine) -> Layers:
    """Append a matrix product; a scaling of its input becomes part of it."""
    last = layers[-1] if layers else None
    return (*layers[:-1], last.before(affine)) if isinstance(last, Scaling) else (*layers, affine)


def _offset(step: Step, values: Any, layout: Layout) -> np.ndarray:
    """Return a constant as one number a feature; it may not differ between samples."""
    size = layout.size
    one_a_feature = ((size,), (1, size)) if layout.samples_first else ((size, 1),)
    if values.size != 1 and values.shape not in one_a_feature:
        raise step.unsupported(f"expected an offset of {size} numbers, one a feature, got shape {values.shape}")
    return np.broadcast_to(values.astype(float).ravel(), (size,))


def _check_orientation(step: Step, layout: Layout, samples_first: bool) -> None:
    if layout.rank > 2:
        raise step.unsupported(f"its input has {layout.rank} axes; put a Flatten before it")
    if layout.samples_first != samples_first:
        raise step.unsupported("it multiplies along the samples; features are on the other axis")


def _transpose(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    if layout.rank != 2 or list(step.attribute("perm", [1, 0])) != [1, 0]:
        raise step.unsupported("only samples and features may be exchanged")
    return layers, replace(layout, samples_first=not layout.samples_first)


def _flatten(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    axis = step.attribute("axis", 1)
    if (axis + layout.rank if axis < 0 else axis) != 1 or not layout.samples_first:
        raise step.unsupported("the axis of the samples must stay")
    return layers, replace(layout, rank=2, image=None)


def _reshape(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    shape = step.constant(1)
    target = [] if shape is None else [int(extent) for extent in shape]
    size, samples = layout.size, layout.samples
    if (layout_of_images := images.reshaped(layout, target)) is not None:
        return layers, layout_of_images
    kept = ([0, -1], [-1, size], [0, size], [samples, -1], [samples, size])
    if not layout.samples_first or target not in kept:
        got = "data" if shape is None else target
        raise step.unsupported(f"expected the shape [-1, {size}], which keeps the samples, got {got}")
    return layers, replace(layout, rank=2, image=None)


def _identity(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    return layers, layout


def _cast(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    from onnx import TensorProto

    if step.attribute("to", None) not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise step.unsupported("all is computed in float64")
    return layers, layout


def _dropout(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    training = step.constant(2)
    if training is not None and training.any():
        raise step.unsupported("export in evaluation mode")
    return layers, layout


READERS: dict[str, Callable[[Step, Layers, Layout], tuple[Layers, Layout]]] = {
    **dict.fromkeys(ACTIVATION_NODES, _activation),
    "Gemm": _gemm,
    "MatMul": _matmul,
    **dict.fromkeys(SCALINGS, _scaling),
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Identity": _identity,
    "Cast": _cast,
    "Dropout": _dropout,
    **images.READERS,
}
