"""What a CasADi solver needs of all stages at once: density, constraints, and their first and second derivatives.

A stage has the variables `xi = (w, v, e)`: position, velocity, and what the formulation adds (the flow's own velocity,
states, adjoints). Derivatives are dense or sparse *per stage*, so that a whole trajectory's Jacobian and Hessian are
block diagonal in the stages. They are formed stage by stage and mapped, never by differentiating the graph of the
whole trajectory, which costs minutes where this costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np

# operations times directions of a stage's derivative up to which it is written out as one scalar graph: that shares
# what directions have in common and evaluates ten times faster than one directional derivative mapped over them, but
# takes a second or two to build at this limit
WRITTEN_OUT = 3_000_000


@dataclass(frozen=True)
class StageFunctions:
    """CasADi functions over M stages; column q of every argument belongs to stage q.

    Attributes
    ----------
    variables : int
        Length of xi.
    equalities, inequalities : int
        How many entries of the constraint c are zero, and how many, after these, are not positive.
    value : Function
        `xi (variables, M) -> l (1, M), c (equalities + inequalities, M)`.
    slopes : Function
        `xi -> dl/dxi (variables, M)`.
    jacobian : Function
        `xi -> dc/dxi`, the nonzeros of `jacobian_pattern`, one column a stage.
    hessian : Function
        `xi, s (1, M), mu (c, M) -> d^2 (s l + mu . c)/dxi^2`, the nonzeros of `hessian_pattern`, which is symmetric.
    keeps : object
        What must live as long as the functions do: Python's callbacks, which CasADi does not keep.
    """

    variables: int
    equalities: int
    inequalities: int
    value: ca.Function
    slopes: ca.Function
    jacobian: ca.Function
    jacobian_pattern: ca.Sparsity
    hessian: ca.Function
    hessian_pattern: ca.Sparsity
    keeps: object = None


def symbolic_stages(
    variables: ca.SX,
    value: ca.SX,
    equalities: Sequence[ca.SX],
    inequalities: Sequence[ca.SX],
    stages: int,
    time: tuple[ca.SX, np.ndarray] | None = None,
) -> StageFunctions:
    """Differentiate the expressions of one stage and map them over `stages`; time is a symbol and its values `(M,)`."""
    xi, scale = variables, ca.SX.sym("s")
    t, times = (ca.SX.sym("t"), np.zeros(stages)) if time is None else time
    zero, bounded = ca.vertcat(ca.SX(0, 1), *equalities), ca.vertcat(ca.SX(0, 1), *inequalities)
    c = ca.densify(ca.vertcat(zero, bounded))
    multiplier = ca.SX.sym("mu", c.numel())
    lagrangian = scale * value + ca.dot(multiplier, c)
    jacobian, jacobian_pattern = _derivative(c, xi, [t])
    hessian, hessian_pattern = _derivative(ca.gradient(lagrangian, xi), xi, [t, scale, multiplier])
    evaluate = ca.Function("value", [xi, t], [ca.densify(value), c])
    slopes = ca.Function("slopes", [xi, t], [ca.densify(ca.gradient(value, xi))])
    return StageFunctions(
        variables=xi.numel(),
        equalities=zero.numel(),
        inequalities=bounded.numel(),
        value=_at_times(evaluate, times),
        slopes=_at_times(slopes, times),
        jacobian=_at_times(jacobian, times),
        jacobian_pattern=jacobian_pattern,
        hessian=_at_times(hessian, times),
        hessian_pattern=hessian_pattern,
    )


def _at_times(function: ca.Function, times: np.ndarray) -> ca.Function:
    """Map a function of (xi, t, ..) over stages at given times: what is left is a function of (xi, ..)."""
    mapped = function.map(len(times))
    xi, *others = [ca.MX.sym(f"i{i}", *mapped.size_in(i)) for i in range(mapped.n_in()) if i != 1]
    return ca.Function(function.name(), [xi, *others], mapped.call([xi, ca.DM(times).T, *others]))


def _derivative(y: ca.SX, x: ca.SX, parameters: list[ca.SX]) -> tuple[ca.Function, ca.Sparsity]:
    """Return a function of x and parameters that gives the nonzeros of dy/dx, and the pattern they belong to."""
    function = ca.Function("y", [x, *parameters], [y])
    pattern = function.jac_sparsity(0, 0)
    seeds = pattern.uni_coloring(pattern.T) if pattern.nnz() else ca.Sparsity(x.numel(), 0)
    if function.n_instructions() * seeds.size2() <= WRITTEN_OUT:
        nonzeros = ca.vec(ca.project(ca.jacobian(y, x), pattern).nz[:])
        return ca.Function("derivative", [x, *parameters], [ca.densify(nonzeros)]), pattern
    return _directional(y, x, parameters, seeds, pattern), pattern


def _directional(y: ca.SX, x: ca.SX, parameters: list[ca.SX], seeds: ca.Sparsity, pattern: ca.Sparsity) -> ca.Function:
    """Map one directional derivative over the columns of `seeds`, no two of which meet in a row of the pattern."""
    direction = ca.SX.sym("d", x.numel())
    product = ca.Function("product", [x, *parameters, direction], [ca.densify(ca.jtimes(y, x, direction))])
    shared = list(range(1 + len(parameters)))
    products = product.map("products", "serial", seeds.size2(), shared, [])
    color = np.empty(x.numel(), dtype=int)
    color[seeds.row()] = seeds.get_col()
    rows, columns = (np.array(index, dtype=int) for index in pattern.get_triplet())
    inputs = [ca.MX.sym(f"i{i}", product.size1_in(i)) for i in shared]
    compressed = products(*inputs, ca.densify(ca.DM(seeds, 1.0)))
    nonzeros = ca.vec(compressed)[(color[columns] * y.numel() + rows).tolist()]
    return ca.Function("derivative", inputs, [nonzeros])
