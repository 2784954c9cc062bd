"""Symmetric tensors of intervals: every entry is enclosed once for each order of its indices."""

from __future__ import annotations

from itertools import permutations

from actionopt.ops.rounded import Interval, meet

MOST = 6  # orders tried


def symmetric(tensor: Interval, rank: int) -> Interval:
    """Meet the enclosures of the entries of a symmetric tensor in the orders of its last `rank` axes."""
    lead = tensor.ndim - rank
    best = tensor
    orders = list(permutations(range(rank)))
    for order in orders[1 :: max(1, len(orders) // MOST)]:
        axes = (*range(lead), *[lead + k for k in order])
        best = meet(best, tensor.map(lambda x, axes=axes: x.transpose(axes)))
    return best
