"""Rows of modules that act on parts of a sample (tokens, positions): sums over the parts, then numbers."""

from __future__ import annotations

import numpy as np

from actionopt.metric.rows import DenseRows, PlainRows, Rows


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
        `(m, B, size)`: a row of a dense layer is the sum of `count` outer products, multiplied out.
    """
    m, samples, size = rows.shape
    if isinstance(rows, DenseRows):
        return PlainRows(_summed_outer_products(rows, count))
    values = rows.matrix()
    return PlainRows(values.reshape(*values.shape[:-2], m, samples // count, count, size).sum(axis=-2))


def _summed_outer_products(rows: DenseRows, count: int) -> np.ndarray:
    """Return `sum_p delta_p (x) [z_p, offset]` as numbers `(..., m, B, size)`: one small product a sample."""
    *lead, m, parts, out = rows.delta.shape
    samples = parts // count
    delta = rows.delta.reshape(*lead, m, samples, count, out)
    left = np.moveaxis(delta, -4, -3).swapaxes(-1, -2).reshape(*lead, samples, m * out, count)
    z = rows.z.reshape(*rows.z.shape[:-2], samples, count, rows.z.shape[-1])
    table = np.moveaxis((left @ z).reshape(*lead, samples, m, -1), -2, -3)
    if rows.offset is None:
        return table
    return np.concatenate([table, rows.offset * delta.sum(axis=-2)], axis=-1)
