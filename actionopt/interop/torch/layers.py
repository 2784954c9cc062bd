"""Rows of the metric for PyTorch's layers: what each does with its weights, sample by sample.

A layer's rows come from its input and from the covectors at its output, `delta (m, B, ...)`, which automatic
differentiation gives for all rows at once. Only layers listed here have weights that the optimiser can see into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from actionopt.errors import InputError
from actionopt.metric.dense_rows import DenseRows
from actionopt.metric.parts import SummedRows, sum_over_parts
from actionopt.metric.rows import PlainRows, Rows

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Make = Callable[[Any, torch.Tensor, torch.Tensor], Rows]


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array in float64."""
    return np.asarray(tensor.detach().to("cpu", torch.float64).numpy())


def rows_of(layer: nn.Module, z: torch.Tensor, delta: torch.Tensor) -> Rows:
    """Return the rows of a layer's weights `[weight row-major, bias]`.

    Parameters
    ----------
    layer : Module
        One that `kind` knows.
    z : Tensor (B, ...)
        Its input.
    delta : Tensor (m, B, ...)
        Rows at its output.
    """
    return KINDS[type(layer)](layer, z, delta)


def check_layer(name: str, layer: nn.Module) -> None:
    """Raise InputError, naming the layer, where its weights or its samples are not what `rows_of` takes them for."""
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
        raise InputError(
            f"{name} (BatchNorm in training mode) couples the samples of a batch, so that no sample has rows of its "
            "own; put it in evaluation mode, or take LayerNorm"
        )
    if getattr(layer, "inplace", False):
        raise InputError(f"{name} works in place and overwrites the output of the layer before; set inplace=False")
    if not any(True for _ in layer.parameters(recurse=False)):
        return
    if type(layer) not in KINDS:
        known = ", ".join(sorted(kind.__name__ for kind in KINDS))
        raise InputError(
            f"{name} is a {type(layer).__name__}, whose weights Layerwise cannot see into; it knows {known}; freeze "
            "its weights (requires_grad=False) or train them with another optimiser"
        )
    if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros" or layer.padding == "same"):
        raise InputError(f"{name}: of convolutions Layerwise knows groups=1, padding of zeros, and padding in numbers")


def _linear(layer: Any, z: torch.Tensor, delta: torch.Tensor) -> Rows:
    m, samples = delta.shape[:2]
    parts = z[0, ..., 0].numel()
    flat = DenseRows(
        numbers(delta).reshape(m, samples * parts, layer.out_features),
        numbers(z).reshape(samples * parts, layer.in_features),
        None if layer.bias is None else 1.0,
    )
    return flat if parts == 1 else sum_over_parts(flat, parts)


def _conv(layer: Any, z: torch.Tensor, delta: torch.Tensor) -> Rows:
    padding = 0 if layer.padding == "valid" else layer.padding
    patches = functional.unfold(z, layer.kernel_size, layer.dilation, padding, layer.stride)  # (B, C kh kw, positions)
    at_positions = numbers(delta.flatten(3)).swapaxes(-1, -2)  # (m, B, positions, out)
    offset = None if layer.bias is None else 1.0
    return SummedRows(at_positions, numbers(patches).swapaxes(-1, -2), offset).settled()


def _layer_norm(layer: Any, z: torch.Tensor, delta: torch.Tensor) -> Rows:
    normal = functional.layer_norm(z, layer.normalized_shape, None, None, layer.eps)
    own = int(np.prod(layer.normalized_shape))
    return _scale_and_offset(
        layer, numbers(normal).reshape(len(z), -1, own), numbers(delta).reshape(*delta.shape[:2], -1, own)
    )


def _batch_norm(layer: Any, z: torch.Tensor, delta: torch.Tensor) -> Rows:
    normal = functional.batch_norm(z, layer.running_mean, layer.running_var, None, None, False, 0.0, layer.eps)
    flat = numbers(normal).reshape(*z.shape[:2], -1).swapaxes(-1, -2)
    return _scale_and_offset(layer, flat, numbers(delta).reshape(*delta.shape[:3], -1).swapaxes(-1, -2))


def _scale_and_offset(layer: Any, normal: np.ndarray, delta: np.ndarray) -> Rows:
    """Return rows of `scale * normal + offset`: `normal (B, parts, d)`, `delta (m, B, parts, d)`, summed over parts."""
    parts = [(delta * normal).sum(axis=-2)]
    if layer.bias is not None:
        parts.append(delta.sum(axis=-2))
    return PlainRows(np.concatenate(parts, axis=-1))


KINDS: dict[type, Make] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.LayerNorm: _layer_norm,
    **dict.fromkeys(NORMS, _batch_norm),
}
