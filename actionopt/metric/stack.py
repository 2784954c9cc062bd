"""How the rows of several costs are stacked: which of them a node or a group of weights has, and where they stand.

A node has the rows of the costs that its state enters, in the order of the costs, a group those that its weights enter:
nothing is multiplied with rows that are zero by the shape of the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actionopt.metric.rows import Rows, spread
from actionopt.network import Network

Costs = frozenset[int]


class Stack:
    """The rows of a network's costs, `counts[j]` a sample of cost j."""

    def __init__(self, network: Network, counts: Sequence[int]) -> None:
        self.network = network
        self.counts = counts
        self.all: Costs = frozenset(range(len(counts)))

    def count(self, costs: Costs) -> int:
        """Return how many rows a sample some costs have together."""
        return sum(self.counts[j] for j in costs)

    def sources(self, factors: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Return the rows that enter at the nodes with costs, by node, stacked as the node has them."""
        found: dict[int, np.ndarray] = {}
        for j, (term, factor) in enumerate(zip(self.network.costs, factors, strict=True)):
            rows = self.spread(factor, frozenset({j}), self.network.reach[term.node])
            found[term.node] = found[term.node] + rows if term.node in found else rows
        return found

    def spread(self, rows: np.ndarray, have: Costs, want: Costs) -> np.ndarray:
        """Return rows `(..., m, B, d)` of some costs among those of more costs."""
        return rows if have == want else spread(rows, self._places(have, want), self.count(want))

    def spread_rows(self, rows: Sequence[Rows], have: Costs, want: Costs) -> list[Rows]:
        """Return rows of K likewise."""
        if have == want:
            return list(rows)
        places, count = self._places(have, want), self.count(want)
        return [piece.spread(places, count) for piece in rows]

    def _places(self, have: Costs, want: Costs) -> np.ndarray:
        owner = np.repeat(sorted(want), [self.counts[j] for j in sorted(want)])
        return np.flatnonzero(np.isin(owner, sorted(have)))
