"""Weights that a module uses many times, such as those of a recurrent cell: its uses are differentiated all at once.

Only the adjoints have to be computed one use after the other, `lam <- A_k^T lam`. The equation of all uses is recorded
once, with the uses as a leading axis: what its record pulls back is laid out and replayed use by use, and what the uses
give to the weights is one more pass through the record. Modules with a closed form of their own are fast enough one by
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.modules import Module
from actionopt.network import Network, Place
from actionopt.ops import NUMPY
from actionopt.ops.linear import recording
from actionopt.ops.tape import Linear, Replay, between

FEWEST = 4  # uses from which it pays
NUMBERS = 1_000_000  # in the states of all uses: beyond that arrays leave the cache, and records of them are large
RECORD, DUALS = recording(NUMPY)


def backward(
    network: Network, pieces: Sequence[np.ndarray], states: Sequence[np.ndarray], sources: dict[int, np.ndarray]
) -> tuple[list[Any], list[Any]]:
    """Walk back as `Network.backward` in NumPy, the uses of repeated modules together; at one point of weights."""
    plans = plans_of(network)
    if not plans or pieces[plans[0].group].ndim > 1:
        return network.backward(NUMPY, pieces, states, sources)
    repeated = [_Uses(plan, pieces[plan.group], plan.inputs(states)) for plan in plans]
    owner = {index: uses for uses in repeated for index in uses.plan.place}

    def visit(place: Place, piece: np.ndarray, z: np.ndarray, state: np.ndarray, adjoint: np.ndarray) -> Any:
        if place.index in owner:
            return 0.0, owner[place.index].pull(place.index, adjoint)
        return place.module.vjp(NUMPY, piece, z, state, adjoint)  # type: ignore[union-attr]

    taken = {index: uses.inputs[k] for uses in repeated for index, k in uses.plan.place.items()}
    arrived, pulled = network.backward(NUMPY, pieces, states, sources, visit, taken=taken)
    for uses in repeated:
        pulled[uses.plan.group] = pulled[uses.plan.group] + uses.of_weights()
    return arrived, pulled


@dataclass(frozen=True)
class Plan:
    """A module that is used many times.

    Attributes
    ----------
    module : Module
    group : int
    place : dict of int to int
        Which use each of its nodes is.
    of : tuple of tuples of int
        For every source that a use takes, the nodes that give it, use by use.
    moves : bool
        Whether anybody asks for the adjoints of what it takes: not where all of that is data.
    """

    module: Module
    group: int
    place: dict[int, int]
    of: tuple[tuple[int, ...], ...]
    moves: bool

    def inputs(self, states: Sequence[np.ndarray]) -> np.ndarray:
        """Return what the uses take, `(P, B, in)`."""
        parts = [np.stack([states[index] for index in nodes]) for nodes in self.of]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def plans_of(network: Network) -> list[Plan]:
    """Return the repeated modules of a network; found once, as they do not depend on its data."""
    held: list[Plan] | None = vars(network).get("_repeated")
    if held is None:
        held = vars(network)["_repeated"] = list(_find(network))
    return held


def _find(network: Network) -> Any:
    for group in network.groups:
        places = [network.nodes[index] for index in group.uses]
        module, index = places[0].module, places[0].group
        if not group.size or len(places) < FEWEST or module is None or index is None:
            continue
        sizes = {tuple(network.nodes[source].size for source in place.of) for place in places}
        alike = len(sizes) == 1 and all(place.module is module for place in places)
        numbers = network.samples * (module.in_size + module.out_size) * len(places)
        if type(module).vjp is not Module.vjp or not alike or not places[0].of or numbers > NUMBERS:
            continue
        moves = any(source >= len(network.data) for place in places for source in place.of)
        of = tuple(zip(*(place.of for place in places), strict=True))
        yield Plan(module, index, {node: k for k, node in enumerate(group.uses)}, of, moves)


class _Uses:
    """All uses of a module at one point of its weights.

    Parameters
    ----------
    plan : Plan
    piece : array (n_a,)
        Its weights.
    inputs : array (P, B, in)
    """

    def __init__(self, plan: Plan, piece: np.ndarray, inputs: np.ndarray) -> None:
        self.plan, self.inputs, self.size = plan, inputs, len(piece)
        self.adjoints = np.zeros((*inputs.shape[:2], plan.module.out_size))
        weights, states = RECORD.variable(piece.shape), RECORD.variable(inputs.shape[-2:])
        out = plan.module.forward(DUALS, DUALS.dual(piece, weights), DUALS.dual(inputs, states))
        tangent = DUALS.parts(out)[1]
        self.to_states = _replay(tangent, states, len(inputs)) if plan.moves else None
        self.to_weights = _replay(tangent, weights, len(inputs))

    def pull(self, index: int, adjoint: np.ndarray) -> np.ndarray | None:
        """Return `A_k^T lam` of one use, and keep lam for the weights."""
        use = self.plan.place[index]
        self.adjoints[use] = adjoint
        return None if self.to_states is None else self.to_states(adjoint, use)

    def of_weights(self) -> np.ndarray:
        """Return `sum_k sum_b B_k^T lam_k`."""
        if self.to_weights is None:
            return np.zeros(self.size)
        total: np.ndarray = self.to_weights(self.adjoints).reshape(-1, self.size).sum(axis=0)
        return total


def _replay(tangent: Any, variable: Linear, uses: int) -> Replay | None:
    order = [] if tangent is None else between(tangent, variable)
    return Replay(order, uses) if order else None
