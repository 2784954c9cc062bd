"""ONNX nodes on images, and normalisation: convolutions, average pooling, LayerNormalization, shapes in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.interop.onnx_parts import Image, Layout, Step
from actionopt.interop.onnx_scaling import Layers
from actionopt.modules import AveragePool2d, Conv2d, LayerNorm, Module


class PretrainedConv2d(Conv2d):
    """A convolution whose `initial_weights` are given."""

    weights: np.ndarray

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        """Return the given weights; nothing is drawn."""
        return self.weights.copy()


class PretrainedLayerNorm(LayerNorm):
    """A normalisation whose `initial_weights` are given."""

    weights: np.ndarray

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        """Return the given weights; nothing is drawn."""
        return self.weights.copy()


def image_of(shape: Sequence[int]) -> Image | None:
    """Return channels, height and width of a declared shape `(samples, C, H, W)`; None of any other."""
    if len(shape) != 4 or not all(extent > 0 for extent in shape[1:]):
        return None
    return int(shape[1]), int(shape[2]), int(shape[3])


def reshaped(layout: Layout, target: Sequence[int]) -> Layout | None:
    """Return the layout of samples that become images, `[-1, C, H, W]`; None where they do not."""
    image = image_of(target)
    if image is None or not layout.samples_first or int(np.prod(image)) != layout.size:
        return None
    return replace(layout, rank=4, image=image) if target[0] in (-1, 0, layout.samples) else None


def conv(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    """Read a Conv of images with one group."""
    image, kernel = _image(step, layout), step.constant(1)
    if kernel is None or kernel.ndim != 4:
        raise step.unsupported("its kernel must be a constant (channels, C, height, width)")
    if step.attribute("group", 1) != 1 or set(step.attribute("dilations", [1])) != {1}:
        raise step.unsupported("from_onnx knows convolutions of one group, without dilation")
    if kernel.shape[1] != image[0]:
        raise step.unsupported(f"its kernel takes {kernel.shape[1]} channels, and gets {image[0]}")
    offset = step.constant(2)
    module = PretrainedConv2d(
        image, len(kernel), kernel.shape[2:], None, _strides(step, (1, 1)), _padding(step), offset is not None,
        name=step.node.name or "Conv",
    )  # fmt: skip
    parts = [kernel.ravel()] if offset is None else [kernel.ravel(), offset]
    module.weights = np.concatenate(parts).astype(float)
    return _placed(layers, layout, module, module.out_shape)


def average_pool(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    """Read an AveragePool, or a GlobalAveragePool, whose window is the whole image."""
    image = _image(step, layout)
    if step.node.op_type == "GlobalAveragePool":
        module = AveragePool2d(image, image[1:])
        return _placed(layers, layout, module, module.out_shape)
    kernel, padding = tuple(step.attribute("kernel_shape", ())), _padding(step)
    if step.attribute("ceil_mode", 0) or (any(padding) and not step.attribute("count_include_pad", 0)):
        raise step.unsupported("from_onnx knows windows inside the image, or whose zeros count (count_include_pad)")
    module = AveragePool2d(image, kernel, _strides(step, (1, 1)), padding)
    return _placed(layers, layout, module, module.out_shape)


def layer_norm(step: Step, layers: Layers, layout: Layout) -> tuple[Layers, Layout]:
    """Read a LayerNormalization over the features."""
    scale, offset = step.constant(1), step.constant(2)
    if layout.rank != 2 or not layout.samples_first or step.attribute("axis", -1) not in (-1, 1):
        raise step.unsupported("from_onnx knows normalisation over the features of a sample")
    if scale is None or scale.size != layout.size:
        raise step.unsupported(f"its scale must be {layout.size} constants")
    module = PretrainedLayerNorm(layout.size, float(step.attribute("epsilon", 1e-5)), name=step.node.name or None)
    shift = np.zeros(layout.size) if offset is None else offset.ravel()
    module.weights = np.concatenate([scale.ravel(), shift]).astype(float)
    return (*layers, module), layout


def _placed(layers: Layers, layout: Layout, module: Module, image: Image) -> tuple[Layers, Layout]:
    return (*layers, module), replace(layout, size=module.out_size, image=image)


def _image(step: Step, layout: Layout) -> Image:
    if layout.image is None:
        raise step.unsupported("it takes images (samples, C, H, W), with C, H and W in the file")
    return layout.image


def _strides(step: Step, default: tuple[int, int]) -> tuple[int, int]:
    first, second = step.attribute("strides", default)
    return int(first), int(second)


def _padding(step: Step) -> tuple[int, int]:
    auto: Any = step.attribute("auto_pad", b"NOTSET")
    top, left, bottom, right = step.attribute("pads", (0, 0, 0, 0))
    if auto not in (b"NOTSET", b"VALID", "NOTSET", "VALID") or (top, left) != (bottom, right):
        raise step.unsupported("from_onnx knows padding in numbers, as much on either side")
    return int(top), int(left)


READERS = {
    "Conv": conv,
    "AveragePool": average_pool,
    "GlobalAveragePool": average_pool,
    "LayerNormalization": layer_norm,
}
