"""Backpropagation in NumPy: all states and adjoints of a batch, at one point or at all nodes of a trajectory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from actionopt import repeated
from actionopt.errors import InputError
from actionopt.network import Network
from actionopt.ops import NUMPY
from actionopt.stacking import unrolled
from actionopt.tables import html_table


class Trained(Protocol):
    """What backpropagation asks of a `Problem`."""

    network: Network
    weight_decay: float

    @property
    def stacked(self) -> Network: ...

    def check_weights(self, w: Any) -> np.ndarray: ...


@dataclass(frozen=True)
class Adjoints:
    """States, adjoints and gradient at one point.

    Attributes
    ----------
    states : list of arrays (..., B, d_k)
        States of the nodes that run a module, in order: of a chain the outputs z_1 .. z_L.
    adjoints : list of arrays (..., B, d_k)
        `lam_k = dE/dz_k`, what its costs and the nodes that take it give: the multipliers of
        `f_k(z_of(k), w_group(k)) - z_k = 0` in the Lagrangian `E + sum lam^T (f - z)`.
    gradient : array (..., n)
        `dE/dw_group = sum over its uses of sum_b B_k^T lam_k + weight_decay w_group`.
    network : Network

    Examples
    --------
    >>> found = ao.adjoints(problem, w)
    >>> [lam.shape for lam in found.adjoints]
    [(4, 4), (4, 1)]
    """

    states: list[np.ndarray]
    adjoints: list[np.ndarray]
    gradient: np.ndarray
    network: Network = field(repr=False)

    def __repr__(self) -> str:
        sizes = " ".join(str(state.shape[-1]) for state in self.states)
        samples = self.states[0].shape[-2] if self.states else 0
        size = float(np.abs(self.gradient).max(initial=0.0))
        return f"Adjoints(states of sizes {sizes}, {samples} samples, largest gradient entry {size:.3g})"

    def _repr_html_(self) -> str:
        labels = [place.label for place in self.network.nodes[len(self.network.data) :]]
        rows = [
            (label, state.shape[-1], *(float(abs(array).max(initial=0.0)) for array in (state, adjoint)))
            for label, state, adjoint in zip(labels, self.states, self.adjoints, strict=True)
        ]
        return html_table(("node", "size", "largest |state|", "largest |adjoint|"), rows, repr(self))

    def state(self, node: Any) -> np.ndarray:
        """Return the state of a node, given as it was written down or by name."""
        index = self.network.index(node)
        inputs = len(self.network.data)
        return self.network.data[index] if index < inputs else self.states[index - inputs]

    def adjoint(self, node: Any) -> np.ndarray:
        """Return the adjoint of a node that runs a module, given as it was written down or by name."""
        place = self.network.index(node)
        index = place - len(self.network.data)
        if index < 0:
            raise InputError(f"{self.network.nodes[place].name!r} holds data, which have no constraint and no adjoint")
        return self.adjoints[index]


def adjoints(problem: Trained, w: Any) -> Adjoints:
    """Backpropagate through the whole network.

    Parameters
    ----------
    problem : Problem
    w : array (..., n)
        Weights; leading axes are the nodes of a trajectory.

    Returns
    -------
    Adjoints

    Raises
    ------
    InputError
        If the weights have the wrong length or are not finite.

    Examples
    --------
    >>> found = ao.adjoints(problem, w)
    >>> bool(np.allclose(found.gradient, problem.gradient(w)))
    True
    """
    if isinstance(problem, type) or not callable(getattr(problem, "check_weights", None)):
        raise InputError(f"adjoints takes a Problem, got {type(problem).__name__}")
    w = problem.check_weights(w)
    if problem.stacked is problem.network:
        return adjoints_of(problem, forward_pass(problem, w))
    network, pieces, states = walked(problem, w)
    arrived, pulled = pulled_back(network, pieces, states)
    states, arrived = unrolled(network, pieces, states, arrived)
    return _adjoints(problem, w, states, arrived, pulled)


def gradient_of(problem: Trained, w: np.ndarray) -> np.ndarray:
    """Return dE/dw at checked weights `(..., n)`, equal modules stacked; states and adjoints are not kept."""
    _, pulled = pulled_back(*walked(problem, w))
    return NUMPY.concatenate(pulled) + problem.weight_decay * w


def walked(problem: Trained, w: np.ndarray) -> tuple[Network, list[np.ndarray], list[np.ndarray]]:
    """Return the problem's network with equal modules stacked, its weights and its states at checked weights."""
    network = problem.stacked
    pieces = network.split(NUMPY, w)
    return network, pieces, network.forward(NUMPY, pieces)


def pulled_back(
    network: Network, pieces: list[np.ndarray], states: list[np.ndarray]
) -> tuple[list[np.ndarray | None], list[np.ndarray]]:
    """Return the derivatives of the mean loss in all states and weights, a piece a group."""
    sources = {node: slope / network.samples for node, slope in network.slopes(NUMPY, states).items()}
    return repeated.backward(network, pieces, states, sources)


@dataclass(frozen=True)
class ForwardPass:
    """Weights `(..., n)`, their pieces, one a group, and the states of all nodes that they lead to."""

    w: np.ndarray
    pieces: list[np.ndarray]
    states: list[np.ndarray]


def forward_pass(problem: Trained, w: np.ndarray) -> ForwardPass:
    """Evaluate the network in NumPy at checked weights `(..., n)`."""
    pieces = problem.network.split(NUMPY, w)
    return ForwardPass(w, pieces, problem.network.forward(NUMPY, pieces))


def adjoints_of(problem: Trained, passed: ForwardPass) -> Adjoints:
    """Backpropagate from a forward pass."""
    arrived, pulled = pulled_back(problem.network, passed.pieces, passed.states)
    return _adjoints(problem, passed.w, passed.states, arrived, pulled)


def _adjoints(problem: Trained, w: np.ndarray, states: list[Any], arrived: list[Any], pulled: list[Any]) -> Adjoints:
    gradient = NUMPY.concatenate(pulled) + problem.weight_decay * w
    inputs = len(problem.network.data)
    return Adjoints(states[inputs:], arrived[inputs:], gradient, problem.network)
