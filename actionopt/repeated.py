"""Weights that a module uses many times, such as those of a recurrent cell: its uses are differentiated all at once.

Only the adjoints have to be computed one use after the other, `lam <- A_k^T lam`. The Jacobians A_k of all uses are one
evaluation of the equation on duals, with the uses as a leading axis, and what they give to the weights is one more.
Modules with a closed form of their own are fast enough one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from actionopt.modules import Module
from actionopt.modules.derived import pull_back
from actionopt.network import Group, Network, Place
from actionopt.ops import NUMPY

FEWEST = 4  # uses from which it pays
NUMBERS = 50_000  # of Jacobians computed at once: beyond that arrays leave the cache, and it is slower by far
AT_ONCE = 3  # uses that must fit into that


def backward(
    network: Network, pieces: Sequence[np.ndarray], states: Sequence[np.ndarray], sources: dict[int, np.ndarray]
) -> tuple[list[Any], list[Any]]:
    """Walk back as `Network.backward` in NumPy, the uses of repeated modules together; at one point of weights."""
    repeated = [
        uses
        for group in network.groups
        if group.size and len(group.uses) >= FEWEST and (uses := _Uses.of(network, group, pieces, states))
    ]
    if not repeated:
        return network.backward(NUMPY, pieces, states, sources)
    owner = {index: uses for uses in repeated for index in uses.place}

    def visit(place: Place, piece: np.ndarray, z: np.ndarray, state: np.ndarray, adjoint: np.ndarray) -> Any:
        if place.index in owner:
            return 0.0, owner[place.index].pull(place.index, adjoint)
        return place.module.vjp(NUMPY, piece, z, state, adjoint)  # type: ignore[union-attr]

    taken = {index: uses.inputs[k] for uses in repeated for index, k in uses.place.items()}
    arrived, pulled = network.backward(NUMPY, pieces, states, sources, visit, taken=taken)
    for uses in repeated:
        pulled[uses.group] = pulled[uses.group] + uses.of_weights()
    return arrived, pulled


class _Uses:
    """All uses of one module's weights at one point.

    Parameters
    ----------
    module : Module
    group : int
    piece : array (n_a,)
        Its weights.
    nodes : tuple of int
    inputs : list of arrays (B, in)
        What each node takes.
    moving : array (in,) of bool
        Which features do not come from data, whose adjoints nobody asks for.
    """

    def __init__(
        self,
        module: Module,
        group: int,
        piece: np.ndarray,
        nodes: tuple[int, ...],
        inputs: list[np.ndarray],
        moving: np.ndarray,
    ) -> None:
        self.module, self.group, self.piece, self.moving = module, group, piece, moving
        self.place = {index: k for k, index in enumerate(nodes)}
        self.inputs = np.stack(inputs)
        self.adjoints: list[np.ndarray | None] = [None] * len(nodes)
        self.jacobians = self._all_jacobians()  # (P, B, out, moving features)

    @classmethod
    def of(
        cls, network: Network, group: Group, pieces: Sequence[np.ndarray], states: Sequence[np.ndarray]
    ) -> _Uses | None:
        """Return the uses of a group, None where one by one is faster or they differ."""
        places = [network.nodes[index] for index in group.uses]
        module, index = places[0].module, places[0].group
        if module is None or index is None or type(module).vjp is not Module.vjp:
            return None
        if any(place.module is not module for place in places) or pieces[index].ndim > 1:
            return None
        moving = np.zeros(module.in_size, dtype=bool)
        for place in places:
            moving |= np.repeat(np.array(place.of) >= len(network.data), [network.nodes[k].size for k in place.of])
        if network.samples * module.out_size * int(moving.sum()) * AT_ONCE > NUMBERS:
            return None
        inputs = [network.joined(NUMPY, place, states) for place in places]
        return cls(module, index, pieces[index], group.uses, inputs, moving)

    def _all_jacobians(self) -> np.ndarray:
        count, samples, width = self.inputs.shape
        directions = np.eye(width)[self.moving][:, None, None, :]
        step = max(AT_ONCE, NUMBERS // max(1, samples * self.module.out_size * len(directions)))
        found = []
        for start in range(0, count, step):
            z = self.inputs[start : start + step]
            tangents = np.broadcast_to(directions, (len(directions), *z.shape))
            moved = self.module.jvp(NUMPY, self.piece, z, None, tangents)[1]
            found.append(np.moveaxis(np.broadcast_to(moved, (len(directions), *moved.shape[-3:])), 0, -1))
        return np.concatenate(found)

    def pull(self, index: int, adjoint: np.ndarray) -> np.ndarray:
        """Return `A_k^T lam` of one use, zero for features of data, and keep lam for the weights."""
        use = self.place[index]
        self.adjoints[use] = adjoint
        pulled = np.zeros(self.inputs.shape[1:])
        pulled[:, self.moving] = (adjoint[:, None, :] @ self.jacobians[use])[:, 0]
        return pulled

    def of_weights(self) -> np.ndarray:
        """Return `sum_k sum_b B_k^T lam_k`, of all uses that an adjoint has reached."""
        none = np.zeros((self.inputs.shape[1], self.module.out_size))
        adjoints = np.stack([none if adjoint is None else adjoint for adjoint in self.adjoints])

        def forward(ops: Any, w: Any) -> Any:
            return self.module.forward(ops, w, self.inputs)

        (pulled,) = pull_back(forward, NUMPY, (self.piece,), (1,), adjoints)
        total: np.ndarray = pulled.reshape(-1, pulled.shape[-1]).sum(axis=0)
        return total
