"""What the solvers cost: a model in seconds, with constants measured on one core (2.5 GHz server CPU, OpenBLAS).

Only ratios matter, and those change little between machines: which of primal, dual and conjugate gradients is
cheapest for a block, and how many iterations a factorisation is worth.
"""

from __future__ import annotations

from actionopt.metric.block import Block
from actionopt.metric.rows import DenseRows, Rows, ScaledDenseRows

FLOP = 1 / 40e9  # one flop in a large matrix product or factorisation
ELEMENT = 3e-9  # one pass over an element of a matrix that is formed
TOUCH = 0.35e-9  # one flop where every number of an array is used once
CALL = 12e-6  # one product with rows in a few array operations


def factor_cost(block: Block, form: str) -> float:
    """Return the cost of forming and factorising the block's matrix, "primal" or "dual"."""
    size = block.size if form == "primal" else block.rank
    formed = _normal(block) if form == "primal" else sum(_gram(piece) for piece in block.rows)
    return formed + FLOP * size**3 / 3.0 + ELEMENT * size**2


def solve_cost(size: int) -> float:
    """Return the cost of solving with a factor of that size once."""
    return TOUCH * 4.0 * size**2 + CALL


def product_cost(block: Block, form: str) -> float:
    """Return the cost of one product with the block's system."""
    return sum(_product(piece, form) for piece in block.rows) + CALL


def _product(rows: Rows, form: str) -> float:
    m, samples, size = rows.shape
    dense = rows.rows if isinstance(rows, ScaledDenseRows) else rows
    if not isinstance(dense, DenseRows):
        return TOUCH * 4.0 * m * samples * size + 2.0 * CALL
    out, width = dense.delta.shape[-1], dense.z.shape[-1]
    through = 4.0 * samples * width * out
    if form == "dual" and dense is rows:
        through = min(through, 2.0 * samples**2 * out)
    return TOUCH * 4.0 * m * samples * out + 2.0 * FLOP * through + 2.0 * CALL


def _gram(rows: Rows) -> float:
    m, samples, size = rows.shape
    r = m * samples
    if isinstance(rows, ScaledDenseRows):
        out, width = rows.rows.delta.shape[-1], rows.rows.z.shape[-1]
        return out * (ELEMENT * r**2 + 2.0 * FLOP * samples**2 * width)
    if isinstance(rows, DenseRows):
        return FLOP * (r**2 * rows.delta.shape[-1] + 2.0 * samples**2 * rows.z.shape[-1]) + ELEMENT * r**2
    return FLOP * r**2 * size + ELEMENT * r**2


def _normal(block: Block) -> float:
    n, r = block.size, block.rank
    dense = block.rows[0].rows if isinstance(block.rows[0], ScaledDenseRows) else block.rows[0]
    if len(block.rows) > 1 or not isinstance(dense, DenseRows):
        return FLOP * r * n**2 + ELEMENT * (n**2 + r * n)
    samples = dense.shape[1]
    return FLOP * samples * n**2 / 2.0 + 2.0 * ELEMENT * n**2 + TOUCH * r * dense.delta.shape[-1] ** 2
