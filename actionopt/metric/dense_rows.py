"""Rows of dense layers: outer products that are never multiplied out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.metric.rows import Rows, from_rows, spread, to_rows, total


@dataclass(frozen=True)
class DenseRows(Rows):
    """Rows of a dense layer, `delta (x) [z, offset]` for weights `[W row by row, b]`; never multiplied out.

    Attributes
    ----------
    delta : array (..., m, B, out)
        The rows at the affine map's output, divided by sqrt(B).
    z : array (..., B, in)
        The layer's inputs.
    offset : float or None
        The input of the offset b, one unless scaled; None for a layer without.

    Notes
    -----
    `(K K^T)[(i, b), (j, c)] = (delta_ib . delta_jc) (z_b . z_c + offset^2)`: the Hadamard product of two small Grams.
    """

    delta: np.ndarray
    z: np.ndarray
    offset: float | None

    @property
    def shape(self) -> tuple[int, int, int]:
        m, samples, out = self.delta.shape[-3:]
        return m, samples, out * (self.z.shape[-1] + (self.offset is not None))

    def at(self, node: int) -> DenseRows:
        # the inputs of the first module have no nodes
        return replace(self, delta=self.delta[node], z=self.z if self.z.ndim == 2 else self.z[node])

    def spread(self, places: np.ndarray, count: int) -> Rows:
        return replace(self, delta=spread(self.delta, places, count))

    def scaled(self, factor: np.ndarray | float) -> Rows:
        if isinstance(factor, float):
            offset_there = None if self.offset is None else self.offset * factor
            return type(self)(self.delta, self.z * factor, offset_there)
        if not factor.size:  # a layer without outputs, or without weights
            return self
        if (factor == factor[0]).all():
            return self.scaled(float(factor[0]))
        matrix, offset = self.split(factor)
        table = matrix if self.offset is None else np.concatenate([matrix, offset[:, None]], axis=1)
        left, right = table[:, 0] / table[0, 0], table[0]
        if not (abs(left[:, None] * right - table) <= 1e-14 * table).all():
            return ScaledDenseRows(self, factor)
        width = self.z.shape[-1]
        offset_there = None if self.offset is None else self.offset * float(right[-1])
        delta = self.delta if (left == 1.0).all() else self.delta * left
        return replace(self, delta=delta, z=self.z * right[:width], offset=offset_there)

    def push(self, v: np.ndarray) -> np.ndarray:
        matrix, offset = self.split(v)
        moved = self.z @ matrix.swapaxes(-1, -2)
        if self.offset is not None:
            moved += self.offset * offset[..., None, :]
        return self._to_rows(moved)

    def pull(self, c: np.ndarray) -> np.ndarray:
        covector = self._from_rows(c)
        matrix = covector.swapaxes(-1, -2) @ self.z
        flat = matrix.reshape(*matrix.shape[:-2], -1)
        if self.offset is None:
            return flat
        return np.concatenate([flat, self.offset * covector.sum(axis=-2)], axis=-1)

    def pull_push(self, c: np.ndarray) -> np.ndarray:
        if not self._by_samples:
            return self.push(self.pull(c))
        return self._to_rows(self.inputs_gram @ self._from_rows(c))

    @property
    def sizes(self) -> tuple[Any, ...]:
        return (type(self), self.delta.shape, self.z.shape, self.offset is None)

    def part(self, which: slice) -> Rows:
        taken = type(self)(self.delta[..., which, :, :], self.z, self.offset)
        if self._by_samples:
            vars(taken)["inputs_gram"] = self.inputs_gram
        return taken

    def push_pull(self, other: Rows, c: np.ndarray) -> np.ndarray:
        if type(other) is not DenseRows or not self._by_samples:
            return super().push_pull(other, c)
        return self._to_rows(self.inputs_gram @ other._from_rows(c))

    def square(self) -> float:
        if self._by_samples:
            inputs = np.diagonal(self.inputs_gram, axis1=-2, axis2=-1)
        else:
            inputs = np.einsum("...bj,...bj->...b", self.z, self.z) + (self.offset or 0.0) ** 2
        return float(np.vdot(self.delta, self.delta) * inputs.max(initial=0.0))

    def gram(self) -> np.ndarray:
        m, samples, out = self.delta.shape[-3:]
        flat = self.delta.reshape(*self.delta.shape[:-3], m * samples, out)
        outer = flat @ flat.swapaxes(-1, -2)
        blocks = outer.reshape(*outer.shape[:-2], m, samples, m, samples)
        blocks *= self.inputs_gram[..., None, :, None, :]
        return outer

    @cached_property
    def _by_samples(self) -> bool:
        """Whether a product over the samples is cheaper than the two products with the weights."""
        return type(self) is DenseRows and self.z.shape[-2] <= 2 * self.z.shape[-1]

    @cached_property
    def inputs_gram(self) -> np.ndarray:
        """`z_b . z_c + offset^2`, `(..., B, B)`."""
        return self.z @ self.z.swapaxes(-1, -2) + (self.offset or 0.0) ** 2

    def normal(self) -> np.ndarray:
        """Return `K^T K`, from the products of pairs of outputs with pairs of inputs: m times cheaper than from K."""
        # samples last: pairs are then products of contiguous rows
        inputs = np.ascontiguousarray(self._all_inputs().swapaxes(-1, -2))
        deltas = np.ascontiguousarray(self.delta.swapaxes(-1, -2))  # (..., m, out, B)
        columns, out = inputs.shape[-2], deltas.shape[-2]
        (left, right), inputs_of = _pairs(columns)
        (first, second), outputs_of = _pairs(out)
        metrics = total(deltas[..., i, first, :] * deltas[..., i, second, :] for i in range(deltas.shape[-3]))
        slabs = [inputs[..., left[part], :] * inputs[..., right[part], :] for part in _slabs(len(left))]
        packed = np.concatenate([metrics @ slab.swapaxes(-1, -2) for slab in slabs], axis=-1)
        full = packed.take(inputs_of, axis=-1).take(outputs_of, axis=-2)
        table = full.reshape(*full.shape[:-2], out, out, columns, columns).swapaxes(-2, -3)
        return self._in_order_of_weights(table)

    def matrix(self) -> np.ndarray:
        outer = self.delta[..., :, None] * self.z[..., None, :, None, :]
        rows = outer.reshape(*outer.shape[:-2], -1)
        if self.offset is not None:
            rows = np.concatenate([rows, self.offset * self.delta], axis=-1)
        return rows.reshape(*rows.shape[:-3], self.count, self.size)

    def split(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take `v (..., size)` apart: the matrix `(..., out, in)` and the offsets `(..., out or 0)`."""
        out, width = self.delta.shape[-1], self.z.shape[-1]
        return v[..., : out * width].reshape(*v.shape[:-1], out, width), v[..., out * width :]

    def _to_rows(self, moved: np.ndarray) -> np.ndarray:
        return to_rows(self.delta, moved)

    def _from_rows(self, c: np.ndarray) -> np.ndarray:
        return from_rows(self.delta, c)

    def _all_inputs(self) -> np.ndarray:
        if self.offset is None:
            return self.z
        return np.concatenate([self.z, np.full((*self.z.shape[:-1], 1), self.offset)], axis=-1)

    def _in_order_of_weights(self, table: np.ndarray) -> np.ndarray:
        """Turn a table `(..., out, columns, out, columns)` over [W, b] into a matrix over `[W row by row, b]`."""
        lead, size = table.shape[:-4], self.size
        if self.offset is None:
            return table.reshape(*lead, size, size)
        out, width = self.delta.shape[-1], self.z.shape[-1]
        cut = out * width
        matrix = np.empty((*lead, size, size))
        matrix[..., :cut, :cut] = table[..., :width, :, :width].reshape(*lead, cut, cut)
        matrix[..., :cut, cut:] = table[..., :width, :, width].reshape(*lead, cut, out)
        matrix[..., cut:, :cut] = matrix[..., :cut, cut:].swapaxes(-1, -2)
        matrix[..., cut:, cut:] = table[..., width, :, width]
        return matrix


@dataclass(frozen=True)
class ScaledDenseRows(Rows):
    """Rows of a dense layer whose columns are scaled without structure, `rows diag(factor)`: a mass for each weight."""

    rows: DenseRows
    factor: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.rows.shape

    def at(self, node: int) -> Rows:
        return replace(self, rows=self.rows.at(node))

    def spread(self, places: np.ndarray, count: int) -> Rows:
        return self.rows.spread(places, count).scaled(self.factor)

    @property
    def sizes(self) -> tuple[Any, ...]:
        return (type(self), *self.rows.sizes)

    def part(self, which: slice) -> Rows:
        return self.rows.part(which).scaled(self.factor)

    def scaled(self, factor: np.ndarray | float) -> Rows:
        return self.rows.scaled(self.factor * factor)

    def push(self, v: np.ndarray) -> np.ndarray:
        return self.rows.push(v * self.factor)

    def pull(self, c: np.ndarray) -> np.ndarray:
        return self.rows.pull(c) * self.factor

    def square(self) -> float:
        return float(np.abs(self.factor).max(initial=0.0)) ** 2 * self.rows.square()

    def gram(self) -> np.ndarray:
        """Return `K K^T` as a sum over outputs, each with its own Gram of the scaled inputs; K is not formed."""
        matrix, offset = self.rows.split(self.factor)
        return total(self._of_output(k, weights, offset) for k, weights in enumerate(matrix))

    def _of_output(self, k: int, weights: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        offset = None if self.rows.offset is None else self.rows.offset * float(offsets[k])
        return replace(self.rows, delta=self.rows.delta[..., k, None], z=self.rows.z * weights, offset=offset).gram()

    def normal(self) -> np.ndarray:
        return self.factor[:, None] * self.rows.normal() * self.factor

    def matrix(self) -> np.ndarray:
        return self.rows.matrix() * self.factor


def _pairs(count: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return the pairs i <= j of `count` numbers, and for each of all `count^2` pairs which of those it is."""
    first, second = np.triu_indices(count)
    place = np.empty((count, count), dtype=np.intp)
    place[first, second] = place[second, first] = np.arange(len(first))
    return (first, second), place.ravel()


def _slabs(count: int, length: int = 4096) -> list[slice]:
    """Cut a range into pieces, so that a product over it needs little memory at once."""
    return [slice(start, start + length) for start in range(0, count, length)]
