"""Where the windows of an image lie: images are features, channel after channel, each row by row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from actionopt.errors import InputError
from actionopt.modules.base import check_count
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Windows(NamedTuple):
    """The windows that a kernel sees of an image `(channels, height, width)`.

    Attributes
    ----------
    shape : tuple of int
        Channels, height and width of the image.
    padded_size : int
        Number of features of the image with its border of zeros.
    inside : array (C H W,)
        Where the image's features lie in the padded one.
    places : array (rows, columns, C, kernel height, kernel width)
        Which features of the padded image each window sees.
    """

    shape: tuple[int, int, int]
    padded_size: int
    inside: np.ndarray
    places: np.ndarray

    @property
    def positions(self) -> tuple[int, int]:
        """Height and width of the grid of windows."""
        return self.places.shape[0], self.places.shape[1]

    @property
    def size(self) -> int:
        """Number of features of the image."""
        return len(self.inside)

    def take(self, ops: Ops, z: Array, indices: np.ndarray) -> Array:
        """Return features of the padded image, of `z (..., B, C H W)`."""
        padded = z if self.padded_size == self.size else ops.put(z, self.inside, self.padded_size)
        return ops.take(padded, indices)

    def put(self, ops: Ops, adjoint: Array, indices: np.ndarray) -> Array:
        """Return the transpose of `take`: an adjoint of its result pulled back to the image."""
        padded = ops.put(adjoint, indices, self.padded_size)
        return padded if self.padded_size == self.size else ops.take(padded, self.inside)


def windows(owner: str, shape: Any, kernel: Any, stride: Any, padding: Any) -> Windows:
    """Lay out the windows of an image.

    Parameters
    ----------
    owner : str
        Who asks, in messages.
    shape : (C, H, W)
    kernel, stride, padding : int or pair of int
        Height and width of a window, steps between windows, and rows and columns of zeros on each side.

    Raises
    ------
    InputError
        If a size is no positive whole number, or the kernel is larger than the padded image.
    """
    try:
        channels, height, width = shape
    except (TypeError, ValueError):
        raise InputError(f"{owner}: shape must be (channels, height, width), got {shape!r}") from None
    sizes = tuple(check_count(owner, "shape", size) for size in (channels, height, width))
    (kh, kw), (sh, sw) = _pair(owner, "kernel", kernel), _pair(owner, "stride", stride)
    ph, pw = _pair(owner, "padding", padding, least=0)
    tall, wide = sizes[1] + 2 * ph, sizes[2] + 2 * pw
    if kh > tall or kw > wide:
        raise InputError(f"{owner}: a kernel {kh} x {kw} does not fit into an image {tall} x {wide}, padding included")
    image = np.arange(sizes[0] * tall * wide).reshape(sizes[0], tall, wide)
    seen = np.lib.stride_tricks.sliding_window_view(image, (kh, kw), axis=(1, 2))[:, ::sh, ::sw]
    inside = image[:, ph : ph + sizes[1], pw : pw + sizes[2]].ravel()
    return Windows((sizes[0], sizes[1], sizes[2]), image.size, inside, seen.transpose(1, 2, 0, 3, 4).copy())


def _pair(owner: str, what: str, value: Any, least: int = 1) -> tuple[int, int]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise InputError(f"{owner}: {what} must be a whole number or a pair of them, got {value!r}")
    first, second = (check_count(owner, what, one, least) for one in values)
    return first, second
