"""Rows that are sums: over the parts of a sample (tokens, positions) and over the uses of weights that are shared.

A row of a dense layer that is used P times is a sum of P outer products, `sum_p delta_p (x) [z_p, offset]`: sum first,
square after. Its Gram is `sum_{p,q} (delta_p . delta'_q) (z_p . z'_q + offset^2)`; forming K costs r P n. Which is
cheaper depends on the sizes and is a matter of prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from actionopt.metric.dense_rows import DenseRows
from actionopt.metric.prices import ELEMENT, PRODUCT_FLOP
from actionopt.metric.rows import PlainRows, Rows, from_rows, spread, to_rows


@dataclass(frozen=True)
class SummedRows(DenseRows):
    """Rows of a dense layer that is used P times, `sum_p delta_p (x) [z_p, offset]`; arrays have an axis of uses.

    Attributes
    ----------
    delta : array (..., m, B, P, out)
        The rows at the affine map's output, divided by sqrt(B).
    z : array (..., B, P, in)
        The layer's inputs.
    offset : float or None
        The input of the offset b, one unless scaled; None for a layer without.
    """

    @property
    def uses(self) -> int:
        """Number of outer products in a row."""
        return self.delta.shape[-2]

    @property
    def shape(self) -> tuple[int, int, int]:
        m, samples, _, out = self.delta.shape[-4:]
        return m, samples, out * (self.z.shape[-1] + (self.offset is not None))

    def at(self, node: int) -> DenseRows:
        # inputs that are data have no nodes
        return replace(self, delta=self.delta[node], z=self.z if self.z.ndim == 3 else self.z[node])

    def spread(self, places: np.ndarray, count: int) -> Rows:
        return replace(self, delta=spread(self.delta, places, count, axis=-4))

    def part(self, which: slice) -> Rows:
        return replace(self, delta=self.delta[..., which, :, :, :])

    def scaled(self, factor: np.ndarray | float) -> Rows:
        scaled = super().scaled(factor)
        return scaled if isinstance(scaled, SummedRows) else PlainRows(self.values() * factor)

    def pull_push(self, c: np.ndarray) -> np.ndarray:
        return self.push(self.pull(c))

    def pull(self, c: np.ndarray) -> np.ndarray:
        covector = self._from_rows(c)
        *lead, samples, uses, out = covector.shape
        z = np.broadcast_to(self.z, (*lead, *self.z.shape[-3:])).reshape(*lead, samples * uses, -1)
        matrix = covector.reshape(*lead, samples * uses, out).swapaxes(-1, -2) @ z
        flat = matrix.reshape(*lead, -1)
        if self.offset is None:
            return flat
        return np.concatenate([flat, self.offset * covector.sum(axis=(-2, -3))], axis=-1)

    def gram(self) -> np.ndarray:
        by_uses, by_rows = gram_prices(self)
        if by_rows < by_uses:
            matrix = self.matrix()
            return matrix @ matrix.swapaxes(-1, -2)
        *lead, m, samples, uses, out = self.delta.shape
        flat = self.delta.reshape(*lead, m * samples * uses, out)
        outer = (flat @ flat.swapaxes(-1, -2)).reshape(*lead, m, samples * uses, m, samples * uses)
        z = self.z.reshape(*self.z.shape[:-3], samples * uses, -1)
        outer *= (z @ z.swapaxes(-1, -2) + (self.offset or 0.0) ** 2)[..., None, :, None, :]
        return outer.reshape(*lead, m * samples, uses, m * samples, uses).sum(axis=(-1, -3))

    def normal(self) -> np.ndarray:
        return Rows.normal(self)

    def matrix(self) -> np.ndarray:
        values = self.values()
        return values.reshape(*values.shape[:-3], self.count, self.size)

    def values(self) -> np.ndarray:
        """Return K as `(..., m, B, size)`: the outer products as one small product a sample."""
        *lead, m, samples, uses, out = self.delta.shape
        left = np.moveaxis(self.delta, -4, -3).swapaxes(-1, -2).reshape(*lead, samples, m * out, uses)
        table = np.moveaxis((left @ self.z).reshape(*lead, samples, m, -1), -2, -3)
        if self.offset is None:
            return table
        return np.concatenate([table, self.offset * self.delta.sum(axis=-2)], axis=-1)

    def settled(self) -> Rows:
        """Return the rows multiplied out where that is less to keep and to multiply with than the outer products."""
        return self if self.uses <= self.z.shape[-1] else PlainRows(self.values())

    def square(self) -> float:
        deltas = self.delta.swapaxes(-4, -3)  # (..., B, m, P, out)
        outputs = (deltas @ deltas.swapaxes(-1, -2)).sum(axis=-3)
        return float((outputs * (self.z @ self.z.swapaxes(-1, -2) + (self.offset or 0.0) ** 2)).sum())

    def _to_rows(self, moved: np.ndarray) -> np.ndarray:
        return to_rows(self._side_by_side, moved.reshape(*moved.shape[:-2], -1))

    def _from_rows(self, c: np.ndarray) -> np.ndarray:
        covector = from_rows(self._side_by_side, c)
        return covector.reshape(*covector.shape[:-1], *self.delta.shape[-2:])

    @property
    def _side_by_side(self) -> np.ndarray:
        return self.delta.reshape(*self.delta.shape[:-2], -1)


def gram_prices(rows: SummedRows) -> tuple[float, float]:
    """Return what the Gram of summed rows costs from pairs of their outer products, and from K multiplied out."""
    m, samples, size = rows.shape
    r, out, width = m * samples, rows.delta.shape[-1], rows.z.shape[-1]
    pairs = (r * rows.uses) ** 2
    by_uses = PRODUCT_FLOP * (pairs * out + (samples * rows.uses) ** 2 * width) + 3 * ELEMENT * pairs
    return by_uses, PRODUCT_FLOP * (r * rows.uses * size + r**2 * size) + ELEMENT * (r * size + r**2)


def sum_over_parts(rows: Rows, count: int) -> Rows:
    """Return the rows of samples, given those of their parts.

    Parameters
    ----------
    rows : Rows
        Of a module evaluated on `B count` parts as samples.
    count : int
        Parts of a sample.

    Returns
    -------
    Rows
        `(m, B, size)`.
    """
    m, samples, size = rows.shape
    samples //= count
    if type(rows) is DenseRows:
        delta = rows.delta.reshape(*rows.delta.shape[:-2], samples, count, -1)
        return SummedRows(delta, rows.z.reshape(*rows.z.shape[:-2], samples, count, -1), rows.offset).settled()
    if isinstance(rows, SummedRows):
        *lead, uses, out = rows.delta.shape
        delta = rows.delta.reshape(*lead[:-1], samples, count * uses, out)
        return SummedRows(delta, rows.z.reshape(*rows.z.shape[:-3], samples, count * uses, -1), rows.offset).settled()
    values = rows.matrix()
    return PlainRows(values.reshape(*values.shape[:-2], m, samples, count, size).sum(axis=-2))


def sum_over_uses(uses: Sequence[Sequence[Rows]]) -> list[Rows]:
    """Return the rows of weights that are shared, piece by piece, given those of each use."""
    if len(uses) == 1:
        return list(uses[0])
    return [_sum(pieces) for pieces in zip(*uses, strict=True)]


def _sum(pieces: Sequence[Rows]) -> Rows:
    dense = [_with_uses(piece) for piece in pieces if isinstance(piece, DenseRows)]
    if len(dense) == len(pieces):
        deltas, inputs = [piece.delta for piece in dense], [piece.z for piece in dense]
        return SummedRows(_joined(deltas, 4), _joined(inputs, 3), dense[0].offset).settled()
    m, samples, size = pieces[0].shape
    total = sum(piece.matrix() for piece in pieces)
    return PlainRows(np.reshape(total, (*np.shape(total)[:-2], m, samples, size)))


def _with_uses(rows: DenseRows) -> SummedRows:
    if isinstance(rows, SummedRows):
        return rows
    return SummedRows(rows.delta[..., None, :], rows.z[..., None, :], rows.offset)


def _joined(arrays: Sequence[np.ndarray], own: int) -> np.ndarray:
    """Join along the axis of uses; arrays that have no nodes, made of data alone, are the same at each."""
    lead = np.broadcast_shapes(*(array.shape[:-own] for array in arrays))
    return np.concatenate([np.broadcast_to(array, (*lead, *array.shape[-own:])) for array in arrays], axis=-2)
