"""A chain as stages: values, Jacobians and second derivatives of all modules, each kind of module in one call.

    E(w, z) = mean_b sum_j c_j loss_j + rho/2 |w|^2,      f_a(z_{a-1}, w_a) - z_a = 0,      conditions on y, one by one:

a state, the weights of a module, or a control together with the state that it acts on. States and weights are flat
vectors, z `(N,)` stage after stage and sample after sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.constrained.constraint import PlacedConstraint
from actionopt.constrained.spots import READING, STATE, WEIGHTS, Spots
from actionopt.constrained.stage_point import ChainPoint, Conditions, Costs, Kind
from actionopt.modules import Module
from actionopt.network import Network
from actionopt.ops import NUMPY
from actionopt.problem import Problem
from actionopt.stacking import same_formula

MOST_EQUALITIES = 32  # each costs a column of every step
MOST_VARIABLES = 64  # of a condition, whose Hessian is formed


class Chain:
    """The energy `E / scale` of a chain as a function of weights and states that need not fit together.

    Parameters
    ----------
    problem : Problem
        Its network is a chain; costs may sit on any of its nodes, and on nodes that only read a stage.
    scale : float
    constraints : sequence of PlacedConstraint

    Attributes
    ----------
    low, high : arrays (m,)
        Limits of the conditions c, constraint after constraint.
    """

    def __init__(self, problem: Problem, scale: float = 1.0, constraints: Sequence[PlacedConstraint] = ()) -> None:
        network = problem.network
        self.problem, self.scale, self.network = problem, scale, network
        self.inputs = network.data[0]
        self.samples, self.decay = network.samples, problem.weight_decay / scale
        self.spine = [place for place in network.placed if not place.module.is_reading]  # type: ignore[union-attr]
        self.depth = len(self.spine)
        self.stage_of = {place.index: a for a, place in enumerate(self.spine)}
        self._stage_of_group = {place.group: a for a, place in enumerate(self.spine)}
        groups = [network.groups[place.group] for place in self.spine]  # type: ignore[index]
        self.weights_at = [np.arange(group.slice.start, group.slice.stop) for group in groups]
        self.states_at = _state_places(self.samples, [self.inputs.shape[1], *(place.size for place in self.spine)])
        self.data_size, self.size = self.inputs.size, sum(places.size for places in self.states_at[1:])
        self.kinds = self._kinds()
        self.place = {a: (k, p) for k, kind in enumerate(self.kinds) for p, a in enumerate(kind.stages)}
        self.costs = self._costs()
        self.conditions = self._conditions(constraints)
        self.low = np.concatenate([np.zeros(0), *(c.lower.ravel() for c in constraints)])
        self.high = np.concatenate([np.zeros(0), *(c.upper.ravel() for c in constraints)])

    def over(self, scale: float) -> Chain:
        """Return the same chain with its energy over another scale."""
        scaled = copy(self)
        scaled.scale, scaled.decay = scale, self.problem.weight_decay / scale
        scaled.costs = [replace(costs, factor=costs.factor * self.scale / scale) for costs in self.costs]
        return scaled

    @staticmethod
    def fits(problem: Problem, constraints: Sequence[PlacedConstraint] = ()) -> bool:
        """Whether every module takes the state before it alone, on weights of its own, but for readings of a stage."""
        return not why_no_chain(problem, constraints)

    def _kinds(self) -> list[Kind]:
        found: list[tuple[Module, list[int]]] = []
        for a, place in enumerate(self.spine):
            module: Module = place.module  # type: ignore[assignment]
            for known, stages in found:
                if same_formula(known, module):
                    stages.append(a)
                    break
            else:
                found.append((module, [a]))
        return [
            Kind(
                module,
                tuple(stages),
                np.stack([self.weights_at[a] for a in stages]),
                np.stack([self.states_at[a] for a in stages]),
                np.stack([self.states_at[a + 1] for a in stages]) - self.data_size,
            )
            for module, stages in found
        ]

    def _spot_of(self, node: int) -> tuple[str, int]:
        """Return what is seen at a node of the network, and at which stage."""
        if node in self.stage_of:
            return STATE, self.stage_of[node]
        place = self.network.nodes[node]
        return (STATE, -1) if place.module is None else (READING, self._stage_of_group[place.group])

    def _costs(self) -> list[Costs]:
        together: dict[Any, list[tuple[int, np.ndarray]]] = {}
        for term, targets in zip(self.network.costs, self.network.targets, strict=True):
            what, a = self._spot_of(term.node)
            size = self.network.nodes[term.node].size
            if term.weight:
                together.setdefault((id(term.loss), term.weight, what, size), []).append((a, targets, term.loss))  # type: ignore[arg-type]
        found = []
        for (_, weight, what, _), entries in together.items():
            stages, targets, losses = zip(*entries, strict=True)
            factor = weight / (self.samples * self.scale)
            joined = np.stack(targets) if len(targets) > 1 else targets[0]
            found.append(Costs(Spots.of(self, what, stages), losses[0], weight, factor, joined))
        return found

    def _conditions(self, constraints: Sequence[PlacedConstraint]) -> list[Conditions]:
        together: dict[Any, list[tuple[int, np.ndarray]]] = {}
        start, values = 0, {}
        for constraint in constraints:
            what, a = (
                (WEIGHTS, self._stage_of_group[constraint.condition.group])
                if constraint.condition.node is None
                else self._spot_of(constraint.condition.node + len(self.network.data))
            )
            rows = start + np.arange(constraint.lower.size).reshape(1 if what == WEIGHTS else self.samples, -1)
            start += constraint.lower.size
            size = len(self.weights_at[a]) if what != STATE else self.states_at[a + 1].shape[1]
            alone = a if what == WEIGHTS else None
            key = (id(constraint.value), what, size, rows.shape[1], alone)
            values[key] = constraint.value
            together.setdefault(key, []).append((a, rows))
        return [
            Conditions(Spots.of(self, key[1], [a for a, _ in entries]), values[key], np.stack([r for _, r in entries]))
            for key, entries in together.items()
        ]

    def joined(self, z: np.ndarray) -> np.ndarray:
        """Return data and states in one array."""
        return np.concatenate([self.inputs.ravel(), z])

    def by_node(self, w: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
        """Return z as states `(B, d_k)` of the network's nodes that run a module, those that only read among them."""
        x, found = self.joined(z), []
        for place in self.network.placed:
            what, a = self._spot_of(place.index)
            after = self.states_at[a + 1] if what == STATE else self.states_at[a]
            parts = (
                []
                if what == STATE
                else [np.broadcast_to(w[self.weights_at[a]], (self.samples, len(self.weights_at[a])))]
            )
            found.append(np.concatenate([*parts, x[after]], axis=1))
        return found

    def by_stage(self, z: np.ndarray) -> list[np.ndarray]:
        """Return z, or multipliers, as arrays `(B, d_a)`, one a stage."""
        return [z[places - self.data_size] for places in self.states_at[1:]]

    def simulate(self, w: np.ndarray) -> np.ndarray:
        """Return the states that the weights lead to."""
        z, found = self.inputs, []
        for place, at in zip(self.spine, self.weights_at, strict=True):
            z = np.broadcast_to(place.module.forward(NUMPY, w[at], z), (self.samples, place.size))  # type: ignore[union-attr]
            found.append(z.ravel())
        return np.concatenate(found)

    def at(self, w: np.ndarray, z: np.ndarray) -> ChainPoint:
        """Return the chain at weights `(n,)` and states `(N,)`."""
        return ChainPoint(self, w, z)


def why_no_chain(problem: Problem, constraints: Sequence[PlacedConstraint] = ()) -> str:
    """Say why a problem is no chain with conditions that stay within a stage; "" where it is."""
    network: Network = problem.network
    if len(network.data) != 1:
        return f"it takes {len(network.data)} inputs"
    before, spine = 0, []
    for place in network.placed:
        if place.module.is_reading:  # type: ignore[union-attr]
            continue
        if place.of != (before,):
            return f"node {place.name!r} takes another state than the one before it"
        spine.append(place)
        before = place.index
    stage = {place.group: place for place in spine}
    if len(stage) != len(spine):
        return "modules share weights"
    for place in network.placed:
        if place.module.is_reading and (place.group not in stage or stage[place.group].of != place.of):  # type: ignore[union-attr]
            return f"node {place.name!r} reads another state than its stage"
    equalities = sum(int((c.lower == c.upper).sum()) for c in constraints)
    if equalities > MOST_EQUALITIES:
        return f"its constraints are {equalities} equalities, more than {MOST_EQUALITIES}"
    for constraint in constraints:
        on = constraint.condition
        size = network.groups[on.group].size if on.node is None else network.placed[on.node].size  # type: ignore[index]
        if size > MOST_VARIABLES:
            return f"{constraint.name} is a condition on {size} numbers, more than {MOST_VARIABLES}"
    return ""


def _state_places(samples: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """Where data and states lie in one array, each `(B, d)`."""
    ends = np.cumsum([0, *(samples * size for size in sizes)])
    return [
        start + np.arange(samples * size).reshape(samples, size) for start, size in zip(ends[:-1], sizes, strict=True)
    ]
