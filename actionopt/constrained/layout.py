"""Where weights, states and equations of a network lie in the variables and constraints of a lifted program.

The order of the nodes is cut where one state alone goes on: between two cuts lies a stage of an optimal-control
problem, with the state at its first cut as x_s, and its weights and inner states as controls u_s. Of a chain every
node is a cut, and the variables are `w_1, z_1, w_2, z_2, ..`: depth is the stage index. Weights that are used on both
sides of a place forbid the cut; where the weights are fixed they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actionopt.network import Network
from actionopt.nlp import Stages


@dataclass(frozen=True)
class Stage:
    """Nodes between two cuts, by their number among those that run a module.

    Attributes
    ----------
    state : int or None
        The node whose state the stage starts from.
    inner : tuple of int
        Nodes whose states stay inside.
    end : int or None
        The node whose state goes on; None in the last stage.
    groups : tuple of int
        Weights that are used here.
    """

    state: int | None
    inner: tuple[int, ...]
    end: int | None
    groups: tuple[int, ...]

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes that are evaluated here, in order."""
        return self.inner if self.end is None else (*self.inner, self.end)


def stages_of(network: Network, *, fixed: bool = False) -> list[Stage]:
    """Cut the order of a network's nodes; `fixed` weights do not hold stages together."""
    first = len(network.data)
    count = len(network.placed)
    blocked = np.zeros(count, dtype=bool)  # after node i no cut
    for index, place in enumerate(network.placed):
        for source in place.of:
            if source >= first:
                blocked[source - first + 1 : index] = True
    if not fixed:
        for group in network.groups:
            if group.size:
                blocked[group.uses[0] - first : group.uses[-1] - first] = True
    stages: list[Stage] = []
    state, start = None, 0
    for cut in [*np.flatnonzero(~blocked).tolist(), None]:
        stop = count if cut is None else cut
        inner = tuple(range(start, stop))
        nodes = inner if cut is None else (*inner, cut)
        groups = tuple(dict.fromkeys(network.placed[k].group for k in nodes if network.placed[k].group is not None))
        stages.append(Stage(state, inner, cut, groups))  # type: ignore[arg-type]
        state, start = cut, stop + 1
    return stages


@dataclass(frozen=True)
class Layout:
    """Positions of everything in x and g.

    Attributes
    ----------
    weights : array (n,) of int
        Of the weights in x; empty where they are fixed.
    states, equations : tuple of arrays (B, d_k) of int
        Of every node's states in x, and of its equations in g.
    conditions : tuple of arrays of int
        Of every constraint in g, in its own shape.
    size, rows : int
        Lengths of x and g.
    stages : Stages
        As fatrop takes them.
    """

    weights: np.ndarray
    states: tuple[np.ndarray, ...]
    equations: tuple[np.ndarray, ...]
    conditions: tuple[np.ndarray, ...]
    size: int
    rows: int
    stages: Stages


@dataclass(frozen=True)
class Condition:
    """A constraint as the layout sees it: where it belongs, by group or by node, and the shape of its values.

    Attributes
    ----------
    group, node : int or None
    shape : tuple of int
        For a node `(B, m)`.
    """

    group: int | None
    node: int | None
    shape: tuple[int, ...]


Part = tuple[int, tuple[int, ...]]  # a node, and the samples of it


@dataclass
class _Step:
    """A stage of the optimal-control problem, for some samples: of a whole batch, or of two samples that follow."""

    state: Part | None
    inner: list[Part]
    end: Part | None
    groups: tuple[int, ...]


def lay_out(network: Network, conditions: Sequence[Condition] = (), *, fixed: bool = False) -> Layout:
    """Lay a network out stage after stage; where the weights are fixed sample after sample, which do not meet."""
    steps = _steps(network, fixed)
    samples = network.samples
    states = [np.zeros((samples, place.size), dtype=int) for place in network.placed]
    equations = [np.zeros_like(array) for array in states]
    placed = [np.zeros(condition.shape, dtype=int) for condition in conditions]
    weights = np.zeros(0 if fixed else network.size, dtype=int)
    x = g = 0
    sizes: list[tuple[int, int, int]] = []
    for step in steps:
        start, gap = x, g
        for part in [] if step.state is None else [step.state]:
            x = _number(states[part[0]], part[1], x)
        controls = x
        for group in () if fixed else step.groups:
            piece = network.groups[group].slice
            weights[piece] = np.arange(x, x + piece.stop - piece.start)
            x += piece.stop - piece.start
        for node, rows in step.inner:
            x = _number(states[node], rows, x)
        for part in [] if step.end is None else [step.end]:
            g = _number(equations[part[0]], part[1], g)
        gap = g
        for node, rows in step.inner:
            g = _number(equations[node], rows, g)
        for condition, places in zip(conditions, placed, strict=True):
            g = _number_condition(condition, places, step, fixed, g)
        sizes.append((controls - start, x - controls, g - gap))
    return Layout(
        weights=weights,
        states=tuple(states),
        equations=tuple(equations),
        conditions=tuple(placed),
        size=x,
        rows=g,
        stages=Stages(*(tuple(column) for column in zip(*sizes, strict=True))),
    )


def _steps(network: Network, fixed: bool) -> list[_Step]:
    stages = stages_of(network, fixed=fixed)
    every = tuple(range(network.samples))
    steps: list[_Step] = []
    for rows in [(sample,) for sample in every] if fixed else [every]:
        for stage in stages:
            inner = [(node, rows) for node in stage.inner]
            end = None if stage.end is None else (stage.end, rows)
            if steps and steps[-1].end is None:  # one sample ends where the next one starts
                steps[-1].inner += inner
                steps[-1].end = end
            else:
                state = None if stage.state is None else (stage.state, rows)
                steps.append(_Step(state, inner, end, stage.groups))
    return steps


def _number(places: np.ndarray, rows: tuple[int, ...], start: int) -> int:
    """Number the entries of some rows from `start` on; return the next number."""
    shape = (len(rows), places.shape[1])
    places[list(rows)] = np.arange(start, start + shape[0] * shape[1]).reshape(shape)
    return start + shape[0] * shape[1]


def _number_condition(condition: Condition, places: np.ndarray, step: _Step, fixed: bool, start: int) -> int:
    """Number a constraint's entries where it belongs to this step."""
    if condition.group is not None:
        if fixed or condition.group not in step.groups:
            return start
        places[...] = np.arange(start, start + places.size).reshape(places.shape)
        return start + places.size
    for node, rows in [*([] if step.state is None else [step.state]), *step.inner]:
        if node == condition.node:
            start = _number(places, rows, start)
    return start
