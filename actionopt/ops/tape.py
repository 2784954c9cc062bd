"""What `LinearOps` records: a graph of linear functions of variables, and how adjoints are pulled back through it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from operator import add
from typing import Any, Protocol

import numpy as np

from actionopt.ops.base import Array, Incomparable
from actionopt.ops.dual import Dual

_clock = count()  # nodes are numbered as they are recorded: sources come before what is made of them

Lengths = tuple[int, ...]


class Recorder(Protocol):
    """The namespace that a node belongs to, as its operators need it."""

    level: int

    def add(self, x: Linear, y: Linear) -> Linear: ...
    def subtract(self, x: Linear, y: Linear) -> Linear: ...
    def scale(self, x: Linear, factor: Any) -> Linear: ...
    def apply(self, function: Callable[..., np.ndarray], *sources: Linear) -> Linear: ...


class Linear(Incomparable):
    """A linear function of variables: a node of the graph.

    `lengths` are those of its own axes, `(n,)` or `(rows, columns)`; axes in front of them are leading. `forward` takes
    the sources, `pull` an adjoint and, where the node has one, its `constant`: the array that makes it linear.
    """

    __slots__ = ("constant", "factor", "forward", "lengths", "number", "ops", "pull", "sources")
    __array_ufunc__ = None  # NumPy leaves the operators to this class

    def __init__(
        self,
        ops: Recorder,
        lengths: Lengths,
        sources: tuple[Linear, ...] = (),
        forward: Callable[..., Any] | None = None,
        pull: Callable[..., Any] | None = None,
        factor: Array | None = None,
        constant: Array | None = None,
    ) -> None:
        self.ops = ops
        self.lengths = lengths
        self.sources = sources
        self.forward = forward
        self.pull = pull
        self.factor = factor
        self.constant = constant
        self.number = next(_clock)

    @property
    def level(self) -> int:
        return self.ops.level

    def __add__(self, other: Linear) -> Linear:
        return self.ops.add(self, other)

    def __neg__(self) -> Linear:
        return self * -1.0

    def __sub__(self, other: Linear) -> Linear:
        return self.ops.subtract(self, other)

    def __mul__(self, other: Any) -> Any:
        return other * self if getattr(other, "level", 0) > self.level else self.ops.scale(self, other)

    __rmul__ = __mul__


class Piece(Linear):
    """One of the pieces that a node was taken apart into."""

    __slots__ = ()

    def __init__(self, ops: Recorder, lengths: Lengths, parent: Linear, index: int) -> None:
        super().__init__(ops, lengths, (parent,), lambda parts: parts[index], lambda a: {index: a})


def transposed(output: Linear, adjoint: Array, variables: Sequence[Linear]) -> list[Array | None]:
    """Pull the adjoint of an output back to the variables; None where none arrives."""
    adjoints: dict[Linear, Any] = {output: adjoint}
    queue, wanted = [(-output.number, output)], set(variables)
    while queue:
        _, node = heapq.heappop(queue)
        if node in wanted:
            continue
        pulled = _pulled(node, adjoints.pop(node))
        for source, piece in zip(node.sources, pulled if len(node.sources) > 1 else (pulled,), strict=True):
            if source not in adjoints:
                adjoints[source] = piece
                heapq.heappush(queue, (-source.number, source))
            elif isinstance(piece, dict):
                _merge(adjoints[source], piece)
            else:
                adjoints[source] = adjoints[source] + piece
    return [adjoints.get(variable) for variable in variables]


class Replay:
    """A record over NumPy arrays whose first axis counts uses, pulled back to one variable use by use, or for all.

    Parameters
    ----------
    order : list of Linear
        The nodes from the output to the variable, as `between` lists them.
    uses : int
        Length of the first axis of what belongs to a use; other constants are the same in all of them.
    """

    def __init__(self, order: list[Linear], uses: int) -> None:
        slots = {node: slot for slot, node in enumerate(order)}
        # one step a node: what pulls, its constant use by use and for all, and which parts go to which slots
        self.steps: list[tuple[Callable[..., Any] | None, list[Any] | None, list[tuple[int, int]], bool]] = []
        for node in order[:-1]:
            whole = node.constant
            own = whole is not None and np.ndim(whole) > 2 and len(whole) == uses
            constants = None if whole is None else [*(whole if own else [whole] * uses), whole]
            targets = [(place, slots[source]) for place, source in enumerate(node.sources) if source in slots]
            passed = node.forward is add and all(node.sources[i].lengths == node.lengths for i, _ in targets)
            self.steps.append((None if passed else node.pull, constants, targets, len(node.sources) > 1))

    def __call__(self, adjoint: np.ndarray, use: int = -1) -> np.ndarray:
        """Return what arrives at the variable when the output of a use has this adjoint; of all uses where -1."""
        values: list[Any] = [None] * (len(self.steps) + 1)
        values[0] = adjoint
        for slot, (pull, constants, targets, several) in enumerate(self.steps):
            if pull is None:  # a sum: what arrives goes on to both
                pulled, parted = values[slot], False
            else:
                pulled = pull(values[slot]) if constants is None else pull(values[slot], constants[use])
                parted = several
            for place, target in targets:
                piece, before = pulled[place] if parted else pulled, values[target]
                if before is None:
                    values[target] = piece
                elif isinstance(piece, dict):
                    _merge(before, piece)
                else:
                    values[target] = before + piece
        found: np.ndarray = values[-1]
        return found


def between(output: Linear, variable: Linear) -> list[Linear]:
    """List the nodes on ways from an output to a variable, both included, in the order in which adjoints are complete.

    Empty where the output does not depend on it.
    """
    seen: set[Linear] = set()
    stack = [output]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.sources)
    leading = {variable}
    for node in sorted(seen, key=lambda node: node.number):
        if any(source in leading for source in node.sources):
            leading.add(node)
    return sorted(leading, key=lambda node: -node.number) if output in leading else []


def _pulled(node: Linear, adjoint: Any) -> Any:
    return node.pull(adjoint) if node.constant is None else node.pull(adjoint, node.constant)  # type: ignore[misc]


def _merge(pieces: dict[int, Array], more: dict[int, Array]) -> None:
    for index, piece in more.items():
        pieces[index] = pieces[index] + piece if index in pieces else piece


def bottom(x: Any) -> Any:
    """Return the value at the bottom of a (nested) dual."""
    while isinstance(x, Dual):
        x = x.value
    return x


def lengths_of(x: Any) -> Lengths:
    """Lengths of the last two axes, one where they are missing."""
    while type(x) is Dual:
        x = x.value
    if isinstance(x, Linear):
        return x.lengths
    shape = np.shape(x)
    return shape[-2:] if len(shape) > 1 else (1, 1, *shape)[-2:]


def broadcast(own: Lengths, other: Lengths) -> Lengths:
    """Lengths of an elementwise result with as many own axes as the first."""
    if own == other:
        return own
    other = other[-len(own) :]
    return tuple(b if a == 1 else a for a, b in zip(own, other, strict=True))
