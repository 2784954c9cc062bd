"""What a network is written down with, beside its modules: nodes that hold data, and costs on nodes."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import numpy as np

from actionopt.errors import InputError
from actionopt.losses import Loss, as_samples
from actionopt.modules import Node
from actionopt.weighted import weigh

_inputs: WeakSet[Input] = WeakSet()  # those that exist, so that one which a network forgot can be named


class Input(Node):
    """A node that holds data.

    Parameters
    ----------
    values : array (B, d) or (B,)
        Samples first; a vector is one column.
    name : str, optional
        The name in tables and messages.

    Attributes
    ----------
    values : array (B, d)

    Raises
    ------
    InputError
        If the values are not numbers, not finite, not a matrix, or hold no sample.

    Examples
    --------
    >>> import actionopt as ao
    >>> x = ao.Input([[0.0], [1.0]], name="x")
    >>> h = ao.Dense(1, 8, "tanh")(x)
    >>> y = ao.Dense(8, 1)(h)
    >>> ao.Problem([ao.Cost(y, ao.SquaredError(), [[1.0], [2.0]])])
    Problem('problem': 2 modules, 25 weights, 2 samples, squared error)
    """

    def __init__(self, values: Any, name: str | None = None) -> None:
        name = name or "input"
        self.values = as_samples(f"values of {name!r}", values)
        if len(self.values) == 0:
            raise InputError(f"values of {name!r} must hold at least one sample, got none")
        super().__init__(None, (), self.values.shape[1], name)

        _inputs.add(self)

    @staticmethod
    def idle(first: int, last: int) -> list[Input]:
        """Return the inputs that were made between two nodes, by number, and that no module has been placed on."""
        return [node for node in _inputs if not node.uses and first < node.number < last]

    def __repr__(self) -> str:
        return f"Input({self.name!r}: {len(self.values)} samples, {self.size} features)"


@dataclass(frozen=True, eq=False)
class Cost:
    """A loss on a node: `weight * mean_b loss(z_b, target_b)` of the energy.

    Parameters
    ----------
    node : Node
        What the loss is of.
    loss : Loss
        Energy of one sample.
    targets : array (B, ...) or None
        What the loss compares with, as `Problem` takes them.
    sample_weight : array (B,), optional
        How much each sample counts, scaled to mean one. Masked entries of targets count nothing.
    weight : float
        Coefficient >= 0. A cost of weight zero changes nothing: it keeps a node whose state one wants to see.

    Raises
    ------
    InputError
        If the node is none, the loss is none, or the weight is negative or not finite.

    Notes
    -----
    In the metric the rows of a cost are scaled by the square root of its weight.

    Examples
    --------
    >>> x = ao.Input(np.eye(3))
    >>> y = ao.Dense(3, 2)(x)
    >>> small = ao.CustomLoss(lambda ops, y, target: ops.sum(y * y))
    >>> two = ao.Problem([ao.Cost(y, ao.SquaredError(), np.ones((3, 2))), ao.Cost(y, small, weight=0.1)])
    >>> two.size
    8
    """

    node: Node
    loss: Loss
    targets: Any = None
    weight: float = 1.0

    def __init__(
        self, node: Node, loss: Loss, targets: Any = None, *, weight: float = 1.0, sample_weight: Any = None
    ) -> None:
        if not isinstance(node, Node):
            raise InputError(
                f"Cost takes a node, what a module gave where it was placed; got {node!r} of type {type(node).__name__}"
            )
        if not isinstance(loss, Loss):
            raise InputError(f"the loss of a Cost must be a Loss such as ao.SquaredError(), got {loss!r}")
        if isinstance(weight, bool) or not (isinstance(weight, numbers.Real) and 0 <= float(weight) < np.inf):
            raise InputError(f"the weight of a Cost must be a finite number >= 0, got {weight!r}")
        loss, targets = weigh(loss, targets, sample_weight)
        for name, value in {"node": node, "loss": loss, "targets": targets, "weight": float(weight)}.items():
            object.__setattr__(self, name, value)
        node.costed = True

    def __repr__(self) -> str:
        scale = "" if self.weight == 1.0 else f", weight={self.weight:g}"
        return f"Cost({self.loss.name} on {self.node.name!r}{scale})"
