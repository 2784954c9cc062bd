"""The NumPy namespace."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from actionopt.errors import InputError
from actionopt.ops.base import Array, Ops, checked_indices, columns_of, one_a_sample

_SAME_NAME = ("exp", "log", "log1p", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh", "arctan", "abs")


class ArrayOps(Ops):
    """Arrays with leading axes."""

    def __init__(self) -> None:
        for name in _SAME_NAME:
            setattr(self, name, getattr(np, name))
        self._unpacked: tuple[Any, Any, Any] = (None, None, None)

    def unpack(self, w: Array, *shapes: tuple[int, ...]) -> Any:
        whole, before, parts = self._unpacked  # a module that is used many times takes the same apart every time
        if whole is w and before == shapes:
            return parts
        found = self._views(w, shapes)
        self._unpacked = (w, shapes, found)
        return found

    def _views(self, w: Array, shapes: tuple[tuple[int, ...], ...]) -> Any:
        lead = w.shape[:-1]
        parts, start = [], 0
        for shape in shapes:
            rows, columns = (1, *shape) if len(shape) == 1 else shape
            stop = start + rows * columns
            if stop > w.shape[-1]:
                raise InputError(
                    f"ops.unpack: pieces {', '.join(map(str, shapes))} take more than {w.shape[-1]} weights"
                )
            parts.append(w[..., start:stop].reshape((*lead, rows, columns)))
            start = stop
        return parts[0] if len(shapes) == 1 else tuple(parts)

    def pack(self, *parts: Array) -> Array:
        # not -1, which an empty array leaves undecided
        return self.concatenate([part.reshape((*part.shape[:-2], part.shape[-2] * part.shape[-1])) for part in parts])

    def row(self, values: Any) -> Array:
        return np.asarray(values, dtype=float)

    def split(self, z: Array, sizes: Sequence[int]) -> list[Array]:
        ends = list(accumulate(sizes))
        return [z[..., end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def size(self, z: Array) -> int:
        return z.shape[-1]

    def rank(self, z: Array) -> int:
        return len(z.shape)

    def concatenate(self, parts: Sequence[Array]) -> Array:
        if len(parts) == 1:
            return parts[0]
        leads = {part.shape[:-1] for part in parts}
        if len(leads) > 1:
            lead = np.broadcast_shapes(*leads)
            parts = [np.broadcast_to(part, (*lead, part.shape[-1])) for part in parts]
        return np.concatenate(parts, axis=-1)

    def matmul(self, a: Array, b: Array) -> Array:
        # outer products as products: two to five times faster than as stacked matrix products
        return a * b if a.shape[-1] == 1 else np.matmul(a, b)

    def transpose(self, a: Array) -> Array:
        transposed: np.ndarray = a.swapaxes(-1, -2)
        return transposed

    def take(self, z: Array, indices: Sequence[int] | np.ndarray) -> Array:
        return np.take(z, checked_indices(indices, z.shape[-1]), axis=-1)

    def put(self, z: Array, indices: Sequence[int] | np.ndarray, size: int) -> Array:
        places = checked_indices(indices, size)
        adding, sources, empty = _putting(places.tobytes(), size)
        if adding is not None:
            flat = z.reshape(-1, len(places))
            return np.ascontiguousarray((adding @ flat.T).T).reshape(*z.shape[:-1], size)
        if not len(places):
            return np.zeros((*z.shape[:-1], size), dtype=z.dtype)
        out = np.take(z, sources, axis=-1)  # taking is faster than putting
        out[..., empty] = 0.0
        return out

    def one_hot(self, z: Array, size: int) -> Array:
        if not ((z == np.floor(z)) & (z >= 0) & (z < size)).all():
            raise InputError(f"ops.one_hot: class numbers must be whole numbers 0 .. {size - 1}, got {z}")
        return np.eye(size)[z[..., 0].astype(np.intp)]

    def solve(self, matrix: Array, b: Array) -> Array:
        size = b.shape[-1]
        if one_a_sample(matrix.shape[-1], size):
            stacked = matrix.reshape(*matrix.shape[:-1], size, size)
            return np.linalg.solve(stacked, b[..., None])[..., 0]
        if size == 1:  # one a sample or one for all
            return b / matrix
        return np.linalg.solve(matrix, b[..., None])[..., 0] if b.ndim == 1 else self._solve_rows(matrix, b)

    def _solve_rows(self, matrix: Array, b: Array) -> Array:
        return np.swapaxes(np.linalg.solve(matrix, np.swapaxes(b, -1, -2)), -1, -2)

    def matmul_samples(self, a: Array, b: Array, inner: int) -> Array:
        rows, columns = columns_of(a.shape[-1], inner), columns_of(b.shape[-1], inner)
        left, right = a.reshape(*a.shape[:-1], rows, inner), b.reshape(*b.shape[:-1], inner, columns)
        out = self.matmul(left, right)
        return out.reshape(*out.shape[:-2], rows * columns)

    def parts_as_samples(self, z: Array, count: int) -> Array:
        *lead, samples, size = z.shape
        return z.reshape(*lead, samples * count, columns_of(size, count))

    def samples_as_parts(self, z: Array, count: int) -> Array:
        *lead, samples, size = z.shape
        return z.reshape(*lead, columns_of(samples, count), count * size)

    def sum(self, z: Array, keepdims: bool = False) -> Array:
        return np.add.reduce(z, axis=-1, keepdims=keepdims)  # type: ignore[call-overload]  # its stubs lack bool

    def repeat_columns(self, z: Array, size: int, keepdims: bool = False) -> Array:
        z = z if keepdims else z[..., None]
        return np.broadcast_to(z, (*z.shape[:-1], size))

    def sum_samples(self, z: Array) -> Array:
        # NumPy adds up over any but the last axis row by row; as a matrix product it is three times faster
        return np.matmul(np.ones((1, z.shape[-2])), z)

    def repeat_samples(self, row: Array, like: Array) -> Array:
        return row + np.zeros((like.shape[-2], 1))

    def logsumexp(self, z: Array) -> Array:
        top = np.max(z, axis=-1, keepdims=True)
        return top + np.log(self.sum(np.exp(z - top), keepdims=True))

    def softmax(self, z: Array) -> Array:
        weights = np.exp(z - np.max(z, axis=-1, keepdims=True))
        return weights / self.sum(weights, keepdims=True)

    def relu(self, z: Array) -> Array:
        return z * self.step(z)

    def step(self, z: Array) -> Array:
        return np.where(z > 0, 1.0, 0.0)

    def sigmoid(self, z: Array) -> Array:
        return 0.5 + 0.5 * np.tanh(0.5 * z)

    def softplus(self, z: Array) -> Array:
        return np.logaddexp(0.0, z)


@lru_cache(maxsize=64)
def _putting(places: bytes, size: int) -> tuple[csr_array | None, np.ndarray, np.ndarray]:
    """Return how entries go to places: a matrix `(size, k)` that adds up, where two go to the same.

    Where none do, the entry that each place takes, and the places that take none.
    """
    indices = np.frombuffer(places, dtype=np.intp)
    sources, empty = np.zeros(size, dtype=np.intp), np.ones(size, dtype=bool)
    sources[indices], empty[indices] = np.arange(len(indices)), False
    if size - empty.sum() < len(indices):
        ones = np.ones(len(indices))
        return csr_array((ones, (indices, np.arange(len(indices)))), shape=(size, len(indices))), sources, sources
    return None, sources, np.flatnonzero(empty)


NUMPY = ArrayOps()
