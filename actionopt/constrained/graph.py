"""What every transcription starts from: CasADi functions of a problem's modules and loss, and how arrays are laid out.

A batch of states `(B, d)` is a CasADi matrix `(d, B)`, one sample a column; as a vector it is sample after sample.
"""

from __future__ import annotations

import casadi as ca
import numpy as np

from actionopt.problem import Problem
from actionopt.symbolic import loss_function, module_function, over_samples


def module_functions(problem: Problem, *, batched: bool = False) -> list[ca.Function]:
    """Return `f_a: (z, w_a) -> z_out` for every module, of one sample or, `batched`, of all with shared weights.

    Modules of the same formula share one function, so that CasADi differentiates it once.
    """
    problem.network.check_chain("the constrained problem")
    shared: dict[str, ca.Function] = {}
    functions = []
    for module in problem.modules:
        function = module_function(module)
        key = function.serialize()
        if key not in shared:
            shared[key] = over_samples(function, problem.samples, [1]) if batched else function
        functions.append(shared[key])
    return functions


def sample_loss(problem: Problem) -> ca.Function:
    """Return `loss: (y, target) -> value` of one sample."""
    return loss_function(problem.loss, problem.modules[-1].out_size, problem.target_array.shape[1])


def state_sizes(problem: Problem) -> list[int]:
    """Return d_1 .. d_L."""
    problem.network.check_chain("the constrained problem")
    return [module.out_size for module in problem.modules]


def weight_sizes(problem: Problem) -> list[int]:
    """Return n_1 .. n_L."""
    problem.network.check_chain("the constrained problem")
    return [module.weight_size for module in problem.modules]


def offsets(sizes: list[int]) -> list[int]:
    """Return where pieces of these sizes begin in a vector, and its length."""
    return [0, *np.cumsum(sizes, dtype=int).tolist()]


def multiplier_sign(solver: str) -> int:
    """Return the sign s with which the layer equations `s (f_a(z_{a-1}, w_a) - z_a) = 0` are written for a solver.

    Adjoints are the multipliers of `f - z = 0`. fatrop wants the next state with +1, so its equations, and with them
    its multipliers, are the negative.
    """
    return -1 if solver == "fatrop" else 1


def condensed_loss(problem: Problem, w: ca.MX) -> ca.MX:
    """Return the mean loss as one expression of the weights `(n,)`: the states are eliminated."""
    weights = ca.vertsplit(w, offsets(weight_sizes(problem)))
    states = ca.MX(ca.DM(problem.inputs.T))
    for function, piece in zip(module_functions(problem, batched=True), weights, strict=True):
        states = function(states, piece)
    return mean_loss(problem, states)


def mean_loss(problem: Problem, outputs: ca.MX) -> ca.MX:
    """Return the mean loss of outputs `(d_L, B)`."""
    losses = over_samples(sample_loss(problem), problem.samples, [])(outputs, ca.DM(problem.target_array.T))
    return ca.sum2(losses) / problem.samples
