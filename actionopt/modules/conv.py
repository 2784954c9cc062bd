"""Convolution and average pooling of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.modules.base import Module, check_count, no_weights
from actionopt.modules.dense import Dense
from actionopt.modules.image import windows
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Conv2d(Module):
    """A convolution and an elementwise activation: a dense layer on every window of an image.

    `out[c, i, j] = phi(b[c] + sum_{d, p, q} W[c, d, p, q] z[d, stride i + p - padding, stride j + q - padding])`, zero
    outside the image: a cross-correlation, as deep learning calls a convolution.

    Parameters
    ----------
    shape : (C, H, W)
        Channels, height and width of the input; states are flattened in that order, as PyTorch flattens.
    channels : int
        Channels of the output.
    kernel, stride, padding : int or pair of int
        Height and width of a window, steps between windows, zeros on each side.
    activation : str, optional
        A name in `ACTIVATIONS`; None is linear.
    bias : bool
        Whether there is an offset b.
    mass : float or array (weight_size,), optional
        Diagonal of this module's part of the metric; the problem's where None.
    name : str, optional
        The name in tables and messages.

    Attributes
    ----------
    out_shape : (channels, height, width)
        Shape of the output.

    Raises
    ------
    InputError
        If a size is no positive whole number, or the kernel does not fit into the image.

    Notes
    -----
    Weights are `[W (channels, C, kernel height, kernel width) row-major, b]`, PyTorch's order. They start as
    normal(0, 1/fan in) with b = 0.

    Examples
    --------
    >>> layer = ao.Conv2d((1, 5, 5), channels=2, kernel=3)
    >>> layer.in_size, layer.out_size, layer.weight_size
    (25, 18, 20)
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: int,
        kernel: int | tuple[int, int],
        activation: str | None = None,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
        mass: Any = None,
        name: str | None = None,
    ) -> None:
        self.windows = windows("Conv2d", shape, kernel, stride, padding)
        channels = check_count("Conv2d", "channels", channels)
        self.places = self.windows.places.ravel()
        self.positions = int(np.prod(self.windows.positions))
        self.dense = Dense(len(self.places) // self.positions, channels, activation, bias)
        self.out_shape = (channels, *self.windows.positions)
        super().__init__(self.windows.size, channels * self.positions, self.dense.weight_size, mass=mass, name=name)

    def patches(self, ops: Ops, z: Array) -> Array:
        """Return the windows as samples, `(..., B positions, C kernel height kernel width)`."""
        return ops.parts_as_samples(self.windows.take(ops, z, self.places), self.positions)

    def positions_as_samples(self, ops: Ops, out: Array) -> Array:
        """Return the channels of every position, `(..., B positions, channels)`, of an output or its adjoint."""
        return ops.parts_as_samples(ops.transpose_samples(out, self.dense.out_size), self.positions)

    def onto_image(self, ops: Ops, patches: Array) -> Array:
        """Return an adjoint of the patches, pulled back to the image `(..., B, C H W)`."""
        return self.windows.put(ops, ops.samples_as_parts(patches, self.positions), self.places)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        out = ops.samples_as_parts(self.dense.forward(ops, w, self.patches(ops, z)), self.positions)
        return ops.transpose_samples(out, self.positions)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        by_position = [self.positions_as_samples(ops, x) for x in (out, adjoint)]
        dw, dpatches = self.dense.vjp(ops, w, self.patches(ops, z), *by_position)
        return dw, self.onto_image(ops, dpatches)

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return self.dense.initial_weights(rng)

    def __repr__(self) -> str:
        kernel = "x".join(map(str, self.windows.places.shape[3:]))
        return f"Conv2d({self.windows.shape}, {self.dense.out_size}, {kernel}, {self.dense.activation!r})"


class AveragePool2d(Module):
    """The mean over every window of an image, channel by channel; no weights.

    Parameters
    ----------
    shape : (C, H, W)
        Channels, height and width of the input, flattened in that order.
    kernel, stride, padding : int or pair of int
        Height and width of a window, steps between windows (the kernel where None), zeros on each side, which count.

    Attributes
    ----------
    out_shape : (C, height, width)
        Shape of the output.

    Examples
    --------
    >>> ao.AveragePool2d((1, 4, 4), 2).out_size
    4
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        kernel: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        name: str | None = None,
    ) -> None:
        self.windows = windows("AveragePool2d", shape, kernel, kernel if stride is None else stride, padding)
        seen = self.windows.places.transpose(2, 0, 1, 3, 4)  # channel after channel
        self.places, self.share = seen.ravel(), 1.0 / (seen.shape[3] * seen.shape[4])
        self.out_shape = seen.shape[:3]
        super().__init__(self.windows.size, int(np.prod(self.out_shape)), 0, name=name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        seen = ops.parts_as_samples(self.windows.take(ops, z, self.places), self.out_size)
        return ops.samples_as_parts(self.share * ops.sum(seen, keepdims=True), self.out_size)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        share = ops.parts_as_samples(self.share * adjoint, self.out_size)
        spread = ops.repeat_columns(share, len(self.places) // self.out_size, keepdims=True)
        return no_weights(ops, adjoint), self.windows.put(ops, ops.samples_as_parts(spread, self.out_size), self.places)

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(0)

    def __repr__(self) -> str:
        kernel = "x".join(map(str, self.windows.places.shape[3:]))
        return f"AveragePool2d({self.windows.shape}, {kernel})"
