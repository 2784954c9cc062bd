"""The network: nodes in order, the weights they share, the costs on them; one walk forward and one walk back.

    z_k = f_k(z_of(k), w_group(k)),    lam_k = dE/dz_k + sum_children A^T lam_child,
    dE/dw_group = sum over its uses of sum_b B_k^T lam_k                              (docs/networks.md)

The states that a node takes are joined feature after feature. Everything that goes through the modules one by one asks
this file for the order; `constrained/` holds the same walk on CasADi's symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.errors import InputError, unknown_name
from actionopt.losses import Loss
from actionopt.modules import Module, Node
from actionopt.ops import Ops
from actionopt.ops.base import Array

Visit = Callable[..., Any]


@dataclass(frozen=True)
class Place:
    """One node of a network, in its order.

    Attributes
    ----------
    index : int
        Its place among the nodes.
    name : str
        Unique in the network.
    label : str
        The name with its number among the modules, as tables show it.
    module : Module or None
        None for a node that holds data.
    of : tuple of int
        Indices of the nodes whose states it takes, all of them earlier ones.
    group : int or None
        Index of the group of weights that the module runs on, an empty one for a module without weights; None for data.
    size : int
        Features of its state.
    """

    index: int
    name: str
    label: str
    module: Module | None
    of: tuple[int, ...]
    group: int | None
    size: int


@dataclass(frozen=True)
class Group:
    """The weights of one module, wherever it is placed.

    Attributes
    ----------
    name : str
        Unique in the network.
    label : str
        As tables show it.
    module : Module
    slice : slice
        Where they lie in the flat vector.
    uses : tuple of int
        Indices of the nodes that run on them.
    """

    name: str
    label: str
    module: Module
    slice: slice
    uses: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.module.weight_size


@dataclass(frozen=True)
class Term:
    """A cost: `weight * mean_b loss(z_node,b, target_b)`; its targets are in `Network.targets`."""

    node: int
    loss: Loss
    weight: float


@dataclass(frozen=True)
class Network:
    """Nodes in topological order, those that hold data first.

    Attributes
    ----------
    nodes : tuple of Place
    groups : tuple of Group
        In the order of their first use, which is the order of the weights in the flat vector.
    costs : tuple of Term
    data : tuple of arrays (B, d)
        One for each of the first nodes; columns of CasADi's where the network is walked on its symbols.
    targets : tuple of arrays (B, t)
        One a cost, as its loss takes them.
    handles : tuple of Node
        What the nodes were written down as; empty for a list of modules.
    """

    nodes: tuple[Place, ...]
    groups: tuple[Group, ...]
    costs: tuple[Term, ...]
    data: tuple[Array, ...]
    targets: tuple[Array, ...]
    handles: tuple[Node, ...] = ()

    @property
    def samples(self) -> int:
        """Number of samples B."""
        return len(self.data[0]) if self.data else len(self.targets[0])

    @cached_property
    def size(self) -> int:
        """Number of weights n."""
        return sum(group.size for group in self.groups)

    @cached_property
    def sizes(self) -> list[int]:
        """Number of weights of each group."""
        return [group.size for group in self.groups]

    @cached_property
    def placed(self) -> tuple[Place, ...]:
        """The nodes that run a module, in order."""
        return self.nodes[len(self.data) :]

    @cached_property
    def is_chain(self) -> bool:
        """Whether every module takes the state of the one before, on weights of its own, and one cost ends it."""
        links = all(place.of == (index,) for index, place in enumerate(self.placed))
        unshared = len(self.groups) == len(self.placed)
        return len(self.data) == 1 and links and unshared and [t.node for t in self.costs] == [len(self.placed)]

    @cached_property
    def reach(self) -> tuple[frozenset[int], ...]:
        """For every node the costs that its state enters, by index."""
        found: list[set[int]] = [
            {j for j, term in enumerate(self.costs) if term.node == k} for k in range(len(self.nodes))
        ]
        for index in reversed(range(len(self.nodes))):
            for source in self.nodes[index].of:
                found[source] |= found[index]
        return tuple(frozenset(costs) for costs in found)

    @cached_property
    def entered(self) -> tuple[frozenset[int], ...]:
        """For every group the costs that its weights enter, by index."""
        return tuple(frozenset().union(*(self.reach[node] for node in group.uses)) for group in self.groups)

    @cached_property
    def fixed(self) -> tuple[bool, ...]:
        """For every node whether no weights enter what it takes."""
        moving: list[bool] = []
        for place in self.nodes:
            own = place.module is not None and place.module.weight_size > 0
            moving.append(own or any(moving[source] for source in place.of))
        return tuple(not any(moving[source] for source in place.of) for place in self.nodes)

    def split(self, ops: Ops, w: Array) -> list[Array]:
        """Split weights `(..., n)` of any namespace into one piece a group."""
        return ops.split(w, self.sizes)

    def joined(self, ops: Ops, place: Place, states: Sequence[Array]) -> Array:
        """Return what a node takes: the states of its sources, feature after feature."""
        if len(place.of) == 1:
            return states[place.of[0]]
        if not place.of:
            return self._nothing
        return ops.concatenate([states[source] for source in place.of])

    @property
    def _nothing(self) -> Array:
        """Samples of no features: rows in NumPy, columns in CasADi."""
        like = (self.data or self.targets)[0]
        return np.zeros((*like.shape[:-1], 0)) if isinstance(like, np.ndarray) else type(like)(0, like.shape[1])

    def forward(self, ops: Ops, pieces: Sequence[Array], visit: Visit | None = None) -> list[Array]:
        """Walk forward: return the state of every node, `(..., B, d_k)`, in the namespace `ops`.

        Parameters
        ----------
        pieces : sequence of arrays (..., n_a)
            Weights, a piece a group.
        visit : callable, optional
            `visit(place, piece, z)` returns the state of a node in place of its module's `forward`.
        """
        states: list[Array] = list(self.data)
        for place in self.placed:
            of, piece = place.of, pieces[place.group]  # type: ignore[index]
            z = states[of[0]] if len(of) == 1 else self.joined(ops, place, states)
            states.append(place.module.forward(ops, piece, z) if visit is None else visit(place, piece, z))  # type: ignore[union-attr]
        return states

    def backward(
        self,
        ops: Ops,
        pieces: Sequence[Array],
        states: Sequence[Array],
        sources: Mapping[int, Array],
        visit: Visit | None = None,
        arrive: Callable[[int, int, Any, Any], Any] | None = None,
        taken: Mapping[int, Array] | None = None,
    ) -> tuple[list[Array | None], list[Any]]:
        """Walk back: pull what enters at some nodes back to all nodes and weights.

        Parameters
        ----------
        pieces, states
            Weights, a piece a group, and the states that `forward` returned.
        sources : mapping
            What enters at a node, by index: `(..., B, d_k)`, or with more axes in front.
        visit : callable, optional
            `visit(place, piece, z, state, adjoint)` returns what goes to the weights and to `z`, in place of the
            module's `vjp`; None for `z` where nothing goes there. What the uses of a group give is added.
        arrive : callable, optional
            `arrive(source, node, before, more)` returns what is at a source when `more` arrives from a node that takes
            its state, `before` is None where that is the first; the sum where there is no such function.
        taken : mapping, optional
            What nodes take of several sources, by index, where it is at hand.

        Returns
        -------
        (list, list)
            What arrived at every node, and at every group of weights; None where nothing did.
        """
        arrived: list[Array | None] = [sources.get(index) for index in range(len(self.nodes))]
        pulled: list[Any] = [None] * len(self.groups)
        for place in reversed(self.placed):
            index, of, group = place.index, place.of, place.group
            if (adjoint := arrived[index]) is None:
                continue
            piece = pieces[group]  # type: ignore[index]
            if taken is not None and index in taken:
                z = taken[index]
            else:
                z = states[of[0]] if len(of) == 1 else self.joined(ops, place, states)
            if visit is None:
                own, dz = place.module.vjp(ops, piece, z, states[index], adjoint)  # type: ignore[union-attr]
            else:
                own, dz = visit(place, piece, z, states[index], adjoint)
            before = pulled[group]  # type: ignore[index]
            pulled[group] = own if before is None else before + own  # type: ignore[index]
            if dz is None or not of:
                continue
            for source, part in zip(of, [dz] if len(of) == 1 else ops.split(dz, self._cuts[index]), strict=True):
                before = arrived[source]
                if arrive is None:
                    arrived[source] = part if before is None else before + part
                else:
                    arrived[source] = arrive(source, index, before, part)
        return arrived, pulled

    @cached_property
    def _cuts(self) -> list[list[int]]:
        """For every node the features that it takes from each of its sources."""
        return [[self.nodes[source].size for source in place.of] for place in self.nodes]

    def values(self, ops: Ops, states: Sequence[Array]) -> Array:
        """Return the energy of every sample `(..., B)` at these states, without weight decay: its mean is E."""
        terms = [
            _times(term.weight, term.loss.value(ops, states[term.node], target))
            for term, target in zip(self.costs, self.targets, strict=True)
        ]
        return sum(terms[1:], start=terms[0])

    def slopes(self, ops: Ops, states: Sequence[Array]) -> dict[int, Array]:
        """Return the gradients of `values` in the states that carry costs, by node: `(..., B, d_k)`."""
        found: dict[int, Array] = {}
        for term, target in zip(self.costs, self.targets, strict=True):
            slope = _times(term.weight, term.loss.gradient(ops, states[term.node], target))
            found[term.node] = found[term.node] + slope if term.node in found else slope
        return found

    def take(self, samples: Any) -> Network:
        """Return the same network on some of its samples."""
        taken = object.__new__(Network)
        vars(taken).update(
            vars(self),
            data=tuple([array[samples] for array in self.data]),
            targets=tuple([array[samples] for array in self.targets]),
        )
        return taken

    def with_samples(self, data: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> Network:
        """Return the same network on other samples."""
        other = object.__new__(Network)
        vars(other).update(vars(self), data=tuple(data), targets=tuple(targets))
        return other

    def one_by_one(self) -> Network:
        """Return the network with its samples as a leading axis, each a batch of one: nothing is summed over them."""
        return replace(
            self,
            data=tuple(array[:, None, :] for array in self.data),
            targets=tuple(array[:, None, :] for array in self.targets),
        )

    def index(self, node: Any) -> int:
        """Return the index of a node, given as it was written down, by name or label, or as a module placed once.

        Raises
        ------
        InputError
            If the node belongs to another network, or there is none of that name.
        """
        if isinstance(node, Node):
            for index, handle in enumerate(self.handles):
                if handle is node:
                    return index
            raise InputError(f"node {node.name!r} belongs to another network; this one has {self._listed()}")
        if isinstance(node, Module):
            places = [index for index, place in enumerate(self.nodes) if place.module is node]
            if len(places) != 1:
                where = ", ".join(self.nodes[index].name for index in places) or "nowhere"
                raise InputError(f"{node!r} names no single node: it is placed {where}; name one of {self._listed()}")
            return places[0]
        for index, place in enumerate(self.nodes):
            if node in (place.name, place.label):
                return index
        raise unknown_name("node", node, [place.name for place in self.nodes])

    def _listed(self) -> str:
        return ", ".join(place.name for place in self.nodes)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "handles": ()}  # a long chain of handles would not fit the pickler's stack


def _times(weight: float, value: Array) -> Array:
    return value if weight == 1.0 else weight * value
