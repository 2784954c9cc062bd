"""Recorded tangents, run forward on NumPy arrays: recorded once, applied to many directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from actionopt.ops.tape import Linear


class LinearProgram:
    """A recorded linear function of NumPy arrays, ready to run.

    Parameters
    ----------
    variables : sequence of Linear
        The arguments, in order.
    outputs : sequence of Linear
        What to compute, in order.
    definitions : dict, optional
        Further variables, and what they are: nodes recorded after them.
    """

    def __init__(
        self,
        variables: Sequence[Linear],
        outputs: Sequence[Linear],
        definitions: Mapping[Linear, Linear] | None = None,
    ) -> None:
        nodes = _in_order(outputs, variables, definitions or {})
        slots = {node: slot for slot, node in enumerate([*variables, *nodes])}
        slots.update({node: slots[meaning] for node, meaning in (definitions or {}).items() if meaning in slots})
        self.outputs = [slots[node] for node in outputs]
        last = {slots[source]: slots[node] for node in nodes for source in node.sources}
        kept = set(self.outputs)
        self.size = len(slots)
        # one step a node: what to call, with which slots, where the result goes, and which slots are then done with
        self.steps: list[tuple[Any, list[int], int, list[int]]] = []
        for node in nodes:
            slot, sources = slots[node], [slots[source] for source in node.sources]
            dead = [source for source in set(sources) if last[source] == slot and source not in kept]
            self.steps.append((node.forward, sources, slot, dead))

    def __call__(self, *arguments: np.ndarray) -> list[np.ndarray]:
        """Compute the outputs; arguments may have further leading axes."""
        values: list[Any] = [*arguments, *[None] * (self.size - len(arguments))]
        for forward, sources, slot, dead in self.steps:
            if len(sources) == 1:
                values[slot] = forward(values[sources[0]])
            else:
                values[slot] = forward(*[values[source] for source in sources])
            for source in dead:
                values[source] = None
        return [values[slot] for slot in self.outputs]


def _in_order(
    outputs: Sequence[Linear], variables: Sequence[Linear], definitions: Mapping[Linear, Linear]
) -> list[Linear]:
    """List the nodes that outputs are made of, sources first: what definitions need, then the rest."""
    done, ordered = {*variables, *definitions}, []
    for targets in (*([meaning] for meaning in definitions.values()), outputs):
        found, stack = [], [node for node in targets if node not in done]
        while stack:
            node = stack.pop()
            if node not in done:
                done.add(node)
                found.append(node)
                stack.extend(node.sources)
        ordered += sorted(found, key=_number)
    return ordered


_number = attrgetter("number")
