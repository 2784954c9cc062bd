"""A node of a network as it is written down: a module placed on the nodes whose states it takes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any
from weakref import WeakSet

from actionopt.errors import InputError

_clock = count()  # nodes are numbered as they are written, which is the order they are shown in


class Node:
    """What a module gives where it is placed; modules are called on nodes to place them.

    Attributes
    ----------
    module : Module or None
        None for a node that holds data.
    of : tuple of Node
        The nodes whose states it takes, joined feature after feature.
    size : int
        Features of its state.
    name : str

    Examples
    --------
    >>> x = ao.Input(np.eye(2), name="x")
    >>> h = ao.Dense(2, 3, "tanh")(x)
    >>> isinstance(h, ao.Node)
    True
    """

    def __init__(self, module: Any, of: Sequence[Node], size: int, name: str) -> None:
        self.module = module
        self.of = tuple(of)
        self.size = size
        self.name = name
        self.number = next(_clock)
        self.uses: WeakSet[Node] = WeakSet()  # nodes that take this one's state, while they exist
        self.costed = False  # whether a cost has been put on it, of whichever problem
        for node in self.of:
            node.uses.add(self)

    def __repr__(self) -> str:
        return f"Node({self.name!r}: {self.size} features)"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "uses": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, uses=WeakSet(), number=next(_clock))
        for node in self.of:
            node.uses.add(self)


def place(module: Any, nodes: Sequence[Any], name: str | None) -> Node:
    """Place a module on nodes and return its node.

    Raises
    ------
    InputError
        If something else than nodes came, or their features together are not what the module takes.
    """
    owner = name or module.label
    for node in nodes:
        if not isinstance(node, Node):
            raise InputError(
                f"{owner} is placed on nodes, ao.Input(...) or what a module gave; got {node!r} of type "
                f"{type(node).__name__}"
            )
    given = sum(node.size for node in nodes)
    if given != module.in_size:
        listed = " and ".join(f"{node.name!r} ({node.size})" for node in nodes) or "no node"
        raise InputError(
            f"{owner}, {module!r}, takes {module.in_size} features, but {listed} "
            f"{'gives' if len(nodes) < 2 else 'give'} {given}"
        )
    return Node(module, nodes, module.out_size, owner)
