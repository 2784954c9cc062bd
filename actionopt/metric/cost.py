"""What the solvers cost: a model in seconds, in the prices of `prices.py`.

Only ratios matter, and those change little between machines: which of primal and dual is cheaper to factorise, and how
many iterations a factorisation is worth. `python -m benchmarks.metric_step --model` compares model and measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from actionopt.metric.block import Block
from actionopt.metric.dense_rows import DenseRows, ScaledDenseRows
from actionopt.metric.parts import SummedRows, gram_prices
from actionopt.metric.prices import CALL, ELEMENT, FACTOR_FLOP, FUSED, ITERATION, PRODUCT_FLOP, SOLVE, STREAM
from actionopt.metric.rows import Rows

REMEMBERED = 1000  # sizes of blocks

Cost = TypeVar("Cost", bound=Callable[..., float])


def remembered(cost: Cost) -> Cost:
    """Compute a cost once for all blocks of the same sizes: in a run of mini-batches they are those of every step."""
    known: dict[Any, float] = {}

    @wraps(cost)
    def look_up(block: Block, *arguments: Any) -> float:
        key = (*(piece.sizes for piece in block.rows), *arguments)
        if key not in known:
            if len(known) >= REMEMBERED:
                known.clear()
            known[key] = cost(block, *arguments)
        return known[key]

    return cast(Cost, look_up)


@remembered
def factor_cost(block: Block, form: str) -> float:
    """Return the cost of forming and factorising the block's matrix, "primal" or "dual"."""
    size = block.size if form == "primal" else block.rank
    formed = _normal(block) if form == "primal" else sum(_gram(piece) for piece in block.rows)
    return formed + FACTOR_FLOP * size**3 / 3 + 2 * ELEMENT * size**2


def solve_cost(size: int) -> float:
    """Return the cost of solving with a factor of that size once."""
    return SOLVE * size**2 + CALL / 4


@remembered
def iteration_cost(block: Block, form: str, preconditioned: bool) -> float:
    """Return the cost of one iteration of conjugate gradients, preconditioned by a factor or not."""
    size = block.size if form == "primal" else block.rank
    return product_cost(block, form) + ITERATION + (solve_cost(size) if preconditioned else 0.0)


def product_cost(block: Block, form: str) -> float:
    """Return the cost of one product with the block's system."""
    return sum(_product(piece, form) for piece in block.rows)


def _product(rows: Rows, form: str) -> float:
    m, samples, size = rows.shape
    dense = rows.rows if isinstance(rows, ScaledDenseRows) else rows
    if not isinstance(dense, DenseRows):
        return 2 * STREAM * m * samples * size + CALL
    out, width = dense.delta.shape[-1], dense.z.shape[-1]
    uses = dense.uses if isinstance(dense, SummedRows) else 1
    through = PRODUCT_FLOP * 4 * samples * uses * width * out + CALL
    if form == "dual" and dense is rows and uses == 1:
        through = min(through, PRODUCT_FLOP * 2 * samples**2 * out)
    return FUSED * 4 * m * samples * uses * out + through + CALL


def _gram(rows: Rows) -> float:
    m, samples, size = rows.shape
    r = m * samples
    if isinstance(rows, ScaledDenseRows):
        out, width = rows.rows.delta.shape[-1], rows.rows.z.shape[-1]
        return out * (2 * ELEMENT * r**2 + PRODUCT_FLOP * samples**2 * width)
    if isinstance(rows, SummedRows):
        return min(gram_prices(rows))
    if isinstance(rows, DenseRows):
        out, width = rows.delta.shape[-1], rows.z.shape[-1]
        return PRODUCT_FLOP * (r**2 * out + samples**2 * width) + ELEMENT * r**2
    return PRODUCT_FLOP * r**2 * size + ELEMENT * r**2


def _normal(block: Block) -> float:
    n, r = block.size, block.rank
    dense = block.rows[0].rows if isinstance(block.rows[0], ScaledDenseRows) else block.rows[0]
    if len(block.rows) > 1 or not isinstance(dense, DenseRows) or isinstance(dense, SummedRows):
        return PRODUCT_FLOP * r * n**2 + ELEMENT * (n**2 + r * n)
    return PRODUCT_FLOP * dense.shape[1] * n**2 / 2 + 2 * ELEMENT * n**2 + FUSED * r * dense.delta.shape[-1] ** 2
