"""Equal modules one after the other, as one module: everything but the two recursions is one call for all of them.

Of P equal modules the states `z_a = f(z_{a-1}, w_a)` and the adjoints `lam_{a-1} = A_a^T lam_a` have to be computed in
turn. The Jacobians A_a, the products with B_a and all second derivatives do not: with the modules as a leading axis of
weights `(P, n_a)` and states `(P, B, d)` each is one evaluation of the formula, on duals where it is a derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.modules import Module
from actionopt.network import Group, Network, Place
from actionopt.ops import NUMPY, Dual, Linear, LinearProgram, Ops
from actionopt.ops.base import Array
from actionopt.ops.linear import recording

FEWEST = 16  # equal modules from which stacking pays; shorter lists keep their order of operations to the last bit
WIDEST = 16  # features up to which the Jacobians are formed
# samples times features squared up to which they are worth it: measured, 16 modules of 8 features on 32 samples break
# even, 40 gain a quarter, and on 128 samples of 16 features the caches are left and it costs thirty times as much
JACOBIAN_NUMBERS = 2048
_RECORD, _DUALS = recording(NUMPY)


def stacked(network: Network) -> Network:
    """Return the network with every run of equal modules as one node; the flat vector of weights is the same.

    A run is a chain of at least 16 modules of one formula, with weights of their own, as many outputs as inputs, at
    most 16, on few samples, whose states between enter nothing else. Where there is none the network itself comes back.
    """
    runs = _runs(network)
    if not runs:
        return network
    return _with_runs(network, runs)


def with_data(of: Network, held: Network, network: Network) -> Network:
    """Return `stacked(network)`, given the stacked form `held` of a network `of` that may differ in its data alone."""
    if of.nodes is not network.nodes:
        return stacked(network)
    if held is of:
        return network
    return Network(held.nodes, held.groups, held.costs, network.data, network.targets)


def unrolled(
    network: Network, pieces: Sequence[np.ndarray], states: Sequence[np.ndarray], arrived: Sequence[Any]
) -> tuple[list[np.ndarray], list[Any]]:
    """Return the states and adjoints of all nodes of the network that a stacked one was made of."""
    all_states, all_arrived = [], []
    for place, state, adjoint in zip(network.nodes, states, arrived, strict=True):
        if isinstance(place.module, Stack) and adjoint is not None:
            z = network.joined(NUMPY, place, states)
            inner = place.module.unrolled(pieces[place.group], z, adjoint)  # type: ignore[index]
        elif isinstance(place.module, Stack):
            raise AssertionError("a run of modules that no cost sees is not stacked")
        else:
            inner = [state], [adjoint]
        all_states += inner[0]
        all_arrived += inner[1]
    return all_states, all_arrived


class Stack(Module):
    """P equal modules in a row; weights one after the other.

    In NumPy, and on recorded tangents over it, evaluation is stacked; in other namespaces it is that of the chain.
    """

    def __init__(self, parts: Sequence[Module]) -> None:
        first = parts[0]
        super().__init__(first.in_size, first.out_size, len(parts) * first.weight_size)
        self.parts = tuple(parts)
        self.part = first
        self._last: _Linearised | None = None

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        if ops is NUMPY:
            return self._at(w, z).states[-1]
        if ops is _DUALS:
            return self._recorded_forward(w, z)
        for part, piece in zip(self.parts, ops.split(w, [self.part.weight_size] * len(self.parts)), strict=True):
            z = part.forward(ops, piece, z)
        return z

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        if ops is NUMPY:
            return self._at(w, z).pull(adjoint)
        if ops is _DUALS:
            return self._recorded_vjp(w, z, adjoint)
        return super().vjp(ops, w, z, out, adjoint)

    def unrolled(self, w: np.ndarray, z: np.ndarray, adjoint: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the states and the adjoints of all modules' outputs, given the adjoint of the last."""
        point = self._at(w, z)
        adjoints, _ = point.back(adjoint)
        return point.states[1:], list(np.moveaxis(adjoints, -3, 0))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": None}

    def _at(self, w: np.ndarray, z: np.ndarray) -> _Linearised:
        """Return the states at a point, kept from the last call where it was the same arrays."""
        last = self._last
        if last is None or last.w is not w or last.z is not z:
            last = self._last = _Linearised(self.part, len(self.parts), w, z)
        return last

    def _recorded_forward(self, w: Any, z: Any) -> Dual:
        (w, dw), (z, dz) = _DUALS.parts(w), _DUALS.parts(z)
        point = self._at(w, z)
        moved = point.moved = _linear(point.tangents, (), dw, dz)
        tangent = None if moved is None else Linear(_RECORD, z.shape[-2:], (moved,), lambda pair: pair[1])
        return _DUALS.dual(point.states[-1], tangent)

    def _recorded_vjp(self, w: Any, z: Any, adjoint: Any) -> tuple[Dual, Dual]:
        (w, dw), (z, _), (lam, dlam) = (_DUALS.parts(x) for x in (w, z, adjoint))
        point = self._at(w, z)
        both = _linear(point.curved(lam), (), point.moved, dw, dlam)
        values = point.pull(lam)
        if both is None:
            return _DUALS.dual(values[0], None), _DUALS.dual(values[1], None)
        own = Linear(_RECORD, (self.weight_size,), (both,), lambda pair: pair[0])
        onward = Linear(_RECORD, z.shape[-2:], (both,), lambda pair: pair[1])
        return _DUALS.dual(values[0], own), _DUALS.dual(values[1], onward)


def _linear(function: Any, lengths: tuple[int, ...], *tangents: Linear | None) -> Linear | None:
    """Record a linear function of tangents, which gets None for those that are zero."""
    there = [i for i, tangent in enumerate(tangents) if tangent is not None]
    if not there:
        return None

    def forward(*given: np.ndarray) -> Any:
        arguments: list[Any] = [None] * len(tangents)
        for i, value in zip(there, given, strict=True):
            arguments[i] = value
        return function(*arguments)

    return Linear(_RECORD, lengths, tuple(tangents[i] for i in there), forward)  # type: ignore[misc]


class _Linearised:
    """A stack at one point: all states, and the derivatives of all modules at once.

    Weights are `(..., P n_a)` and become `(..., P, n_a)`; states are `(..., P, B, d)`, one for each module's input.
    """

    def __init__(self, part: Module, count: int, w: np.ndarray, z: np.ndarray) -> None:
        self.part, self.count, self.w, self.z = part, count, w, z
        self.weights = w.reshape(*w.shape[:-1], count, part.weight_size)
        step = part.steps(self.weights)
        states = [z]
        for index in range(count):
            states.append(step(index, states[-1]))
        self.states = states
        self.moved: Linear | None = None  # what tangents recorded at this point do to all states

    @cached_property
    def inputs(self) -> np.ndarray:
        return _stack(self.states[:-1])

    @cached_property
    def outputs(self) -> np.ndarray:
        return _stack(self.states[1:])

    @cached_property
    def jacobians(self) -> np.ndarray:
        """Return A_a of every sample, module first: `(P, ..., B, out, in)`."""
        d = self.part.in_size
        basis = np.eye(d).reshape(d, *[1] * (self.inputs.ndim - 1), d)
        columns = self.part.jvp(NUMPY, self.weights, self.inputs, None, basis + 0.0 * self.inputs)[1]
        return np.moveaxis(np.moveaxis(columns, 0, -1), -4, 0)

    def pull(self, adjoint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what an adjoint `(..., B, d)` of the output gives to the weights `(..., P n_a)` and to the input."""
        adjoints, onward = self.back(adjoint)
        return self._to_weights(adjoints), onward

    def curved(self, adjoint: np.ndarray) -> Any:
        """Return the function that gives the changes of `pull(adjoint)`.

        Its arguments are what `tangents` returned for a direction, the tangent of the weights in it, and that of the
        adjoint; None for what is zero.
        """
        adjoints, _ = self.back(adjoint)
        program = self._record_curvature(adjoints)

        def change(moved: Any, dw: np.ndarray | None, dadjoint: np.ndarray | None) -> Any:
            own = np.zeros_like(self.weights) if dw is None else dw.reshape(*dw.shape[:-1], *self.weights.shape[-2:])
            to_weights, to_inputs = program(own, 0.0 * self.inputs if moved is None else moved[0])
            dadjoints, onward = self.back(0.0 * adjoint if dadjoint is None else dadjoint, to_inputs)
            flat = to_weights.reshape(*to_weights.shape[:-2], -1)
            return flat + self._to_weights(dadjoints), onward

        return change

    def _record_curvature(self, adjoints: np.ndarray) -> LinearProgram:
        """Record what tangents of weights and inputs do to every module's own `vjp` at fixed adjoints."""
        dw, dz = _RECORD.variable(self.weights.shape[-1:]), _RECORD.variable(self.inputs.shape[-2:])
        w, z = _DUALS.dual(self.weights, dw), _DUALS.dual(self.inputs, dz)
        pulled = self.part.vjp(_DUALS, w, z, self.part.forward(_DUALS, w, z), _DUALS.dual(adjoints, None))
        shapes = (dw, dz)
        outputs = []
        for value, variable in zip(pulled, shapes, strict=True):
            tangent = _DUALS.parts(value)[1]
            outputs.append(variable * 0.0 if tangent is None else tangent)
        return LinearProgram([dw, dz], outputs)

    @cached_property
    def _record_weights(self) -> LinearProgram:
        """Record `B_a dw_a` of every module."""
        dw = _RECORD.variable(self.weights.shape[-1:])
        out = self.part.forward(_DUALS, _DUALS.dual(self.weights, dw), _DUALS.dual(self.inputs, None))
        tangent = _DUALS.parts(out)[1]
        return LinearProgram([dw], [] if tangent is None else [tangent])

    def tangents(self, dw: np.ndarray | None, dz: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the tangents of all inputs `(..., P, B, d)` and of the output."""
        moved: list[Any] = [0.0 * self.z if dz is None else dz]
        sources: list[Any] = [0.0] * self.count
        if dw is not None:
            pushed = self._record_weights(dw.reshape(*dw.shape[:-1], *self.weights.shape[-2:]))
            if pushed:
                sources = list(np.moveaxis(pushed[0], -3, 0))
        for jacobian, source in zip(list(self.jacobians.swapaxes(-1, -2)), sources, strict=True):
            moved.append(_row_times(moved[-1], jacobian) + source)
        return _stack(moved[:-1]), moved[-1]

    def back(self, adjoint: np.ndarray, sources: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the adjoints of all outputs `(..., P, B, d)`, and of the input, with sources at every input."""
        found = []
        at_inputs = None if sources is None else list(np.moveaxis(sources, -3, 0))
        for index, jacobian in reversed(list(enumerate(self.jacobians))):
            found.append(adjoint)
            adjoint = _row_times(adjoint, jacobian)
            if at_inputs is not None:
                adjoint = adjoint + at_inputs[index]
        return _stack(found[::-1]), adjoint

    def _to_weights(self, adjoints: np.ndarray) -> np.ndarray:
        pulled = self.part.vjp(NUMPY, self.weights, self.inputs, self.outputs, adjoints)[0]
        return pulled.reshape(*pulled.shape[:-2], -1)


def _stack(states: list[np.ndarray]) -> np.ndarray:
    """Join arrays `(..., B, d)`, one a module, to `(..., P, B, d)`; the first may lack leading axes."""
    if states[0].shape != states[-1].shape:
        states = list(np.broadcast_arrays(*states))
    if states[0].ndim == 2:
        return np.array(states)
    return np.stack(states, axis=-3)


def _row_times(row: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Return `row_b M_b` for every sample: `(..., B, d)` and `(..., B, d, e)`."""
    return np.matmul(row[..., None, :], matrices)[..., 0, :]


def same_formula(one: Any, other: Any) -> bool:
    """Whether two modules compute the same function of weights and input: same class, same attributes.

    Names and masses do not count. What cannot be compared counts as different.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Module):
        left, right = ({k: v for k, v in vars(x).items() if k not in ("name", "mass", "_last")} for x in (one, other))
        return left.keys() == right.keys() and all(same_formula(left[key], right[key]) for key in left)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same_formula, one, other))
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and bool((one == other).all())
    try:
        return bool(one == other)
    except Exception:
        return False


def _runs(network: Network) -> list[tuple[int, int]]:
    """List the runs, first and last node, both included."""
    entered = [0] * len(network.nodes)
    for place in network.nodes:
        for source in place.of:
            entered[source] += 1
    for term in network.costs:
        entered[term.node] += 1
    runs, start = [], 0
    nodes = network.nodes
    for index in range(len(network.data), len(nodes) + 1):
        if index == len(nodes) or not _links(network, index, entered) or index == start:
            if index - start >= FEWEST and _fits(network, nodes[start]) and network.reach[start]:
                runs.append((start, index - 1))
            start = index
    return runs


def _links(network: Network, index: int, entered: list[int]) -> bool:
    """Whether a node goes on with the run of the node before it."""
    place, before = network.nodes[index], network.nodes[index - 1]
    return (
        before.module is not None
        and place.of == (index - 1,)
        and entered[index - 1] == 1
        and all(len(network.groups[node.group].uses) == 1 for node in (place, before))  # type: ignore[index]
        and network.groups[place.group].slice.start == network.groups[before.group].slice.stop  # type: ignore[index]
        and same_formula(place.module, before.module)
    )


def _fits(network: Network, place: Place) -> bool:
    module = place.module
    square = module is not None and len(place.of) == 1 and 0 < module.in_size == module.out_size <= WIDEST
    return square and network.samples * place.size**2 <= JACOBIAN_NUMBERS


def _with_runs(network: Network, runs: list[tuple[int, int]]) -> Network:
    """Write the network down anew, a run as one node."""
    first = dict(runs)
    inside = {index for start, stop in runs for index in range(start + 1, stop + 1)}
    moved: dict[int, int] = {}
    nodes: list[Place] = []
    groups: list[Group] = []
    group_of: dict[int | None, int] = {}
    for place in network.nodes:
        index = place.index
        if index in inside:
            moved[index] = len(nodes) - 1
            continue
        moved[index] = len(nodes)
        place = replace(place, index=len(nodes), of=tuple(moved[source] for source in place.of))
        if place.group is not None:
            group = network.groups[place.group]
            if index in first:
                last = network.groups[network.nodes[first[index]].group]  # type: ignore[index]
                stack = Stack([node.module for node in network.nodes[index : first[index] + 1]])  # type: ignore[misc]
                group = replace(group, module=stack, slice=slice(group.slice.start, last.slice.stop))
                place = replace(place, module=stack)
            if place.group not in group_of:
                group_of[place.group] = len(groups)
                groups.append(replace(group, uses=()))
            place = replace(place, group=group_of[place.group])
        nodes.append(place)
    uses = [tuple(i for i, place in enumerate(nodes) if place.group == g) for g in range(len(groups))]
    costs = tuple(replace(term, node=moved[term.node]) for term in network.costs)
    groups = [replace(group, uses=of_group) for group, of_group in zip(groups, uses, strict=True)]
    return Network(tuple(nodes), tuple(groups), costs, network.data, network.targets)
