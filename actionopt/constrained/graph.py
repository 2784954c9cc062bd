"""The network on CasADi's symbols: the twin of `actionopt/network.py`, which alone walks the nodes on them.

A batch of states `(B, d)` is a CasADi matrix `(d, B)`, one sample a column; as a vector it is sample after sample. The
functions of nodes and costs are made once, for one sample, and handed on to every program.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from actionopt.network import Place
from actionopt.problem import Problem
from actionopt.symbolic import loss_function, module_function, over_samples


class SymbolicNetwork:
    """CasADi functions of a problem's nodes and costs.

    Parameters
    ----------
    problem : Problem

    Attributes
    ----------
    functions : tuple of Function
        `f_k: (z (in,), w (n_g,)) -> z_k (d_k,)` of one sample for every node that runs a module, in order. Nodes of one
        formula share one function, so that CasADi differentiates it once.
    losses : tuple of Function
        `(y, target) -> value` of one sample, one a cost.
    inputs, targets : tuple of DM (d, B)
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.network = problem, problem.network
        self.samples = problem.samples
        self.inputs = tuple(ca.DM(array.T) for array in self.network.data)
        self.targets = tuple(ca.DM(array.T) for array in self.network.targets)
        made: dict[int, ca.Function] = {}
        same: dict[str, ca.Function] = {}
        for place in self.network.placed:
            if id(place.module) not in made:  # several modules may run on one group of weights
                function = module_function(place.module)  # type: ignore[arg-type]
                made[id(place.module)] = same.setdefault(function.serialize(), function)
        self.functions = tuple(made[id(place.module)] for place in self.network.placed)
        self.losses = tuple(
            loss_function(term.loss, self.network.nodes[term.node].size, targets.shape[1])
            for term, targets in zip(self.network.costs, self.network.targets, strict=True)
        )

    @cached_property
    def batched(self) -> tuple[ca.Function, ...]:
        """The functions of all samples with shared weights."""
        made = {id(function): function for function in self.functions}
        batched = {key: over_samples(function, self.samples, [1]) for key, function in made.items()}
        return tuple(batched[id(function)] for function in self.functions)

    @property
    def state_sizes(self) -> list[int]:
        """Features d_k of every node that runs a module."""
        return [place.size for place in self.network.placed]

    def pieces(self, w: ca.MX) -> list[ca.MX]:
        """Split weights `(n,)` into one piece a group."""
        return ca.vertsplit(w, offsets([group.size for group in self.network.groups]))

    def joined(self, place: Place, states: Sequence[Any]) -> Any:
        """Return what a node takes: `(in, B)`."""
        return ca.vertcat(ca.DM(0, self.samples), *(states[source] for source in place.of))

    def outputs(self, pieces: Sequence[Any], states: Sequence[Any]) -> list[Any]:
        """Evaluate every node at given states: `states` of all nodes, data first; the result of those with a module."""
        return [
            function(self.joined(place, states), pieces[place.group])  # type: ignore[index]
            for place, function in zip(self.network.placed, self.batched, strict=True)
        ]

    def forward(self, pieces: Sequence[Any]) -> list[Any]:
        """Walk forward: the states `(d_k, B)` of all nodes, data first."""
        states: list[Any] = list(self.inputs)
        for place, function in zip(self.network.placed, self.batched, strict=True):
            states.append(function(self.joined(place, states), pieces[place.group]))  # type: ignore[index]
        return states

    def mean_loss(self, states: Sequence[Any]) -> ca.MX:
        """Return the energy at the states of all nodes, without the terms of the weights."""
        total = ca.MX(0)
        for term, function, targets in zip(self.network.costs, self.losses, self.targets, strict=True):
            values = over_samples(function, self.samples, [])(states[term.node], targets)
            total = total + term.weight / self.samples * ca.sum2(values)
        return total


def offsets(sizes: Sequence[int]) -> list[int]:
    """Return where pieces of these sizes begin in a vector, and its length."""
    return [0, *np.cumsum(sizes, dtype=int).tolist()]


def multiplier_sign(solver: str) -> int:
    """Return the sign s with which the layer equations `s (f_k(z, w) - z_k) = 0` are written for a solver.

    Adjoints are the multipliers of `f - z = 0`. fatrop wants the next state with +1, so its equations, and with them
    its multipliers, are the negative.
    """
    return -1 if solver == "fatrop" else 1
