"""Jacobian and Hessian of the lifted program from their blocks: a node touches what it takes, a sample its own column.

    d(f_k - z_k)/dx = [A_k at the states it takes, B_k at its weights, -1 at z_k]
    d2L/dx2         = sum_k d2 (lam_k^T f_k) / d(z, w)^2 + costs at their nodes + terms of the weights

Uses of one group of weights add up. CasADi would find the same pattern by itself, from a graph of the whole program, in
far more time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from actionopt.constrained.assembly import Assembly
from actionopt.symbolic import symbol


class NodeDerivatives:
    """Derivatives of one formula's values for a whole batch; nodes of one formula share an object.

    Parameters
    ----------
    function : Function
        `f: (z, w) -> out` of one sample.
    samples : int

    Each function is built when it is first asked for: fixed weights ask for few of them.
    """

    def __init__(self, function: ca.Function, samples: int) -> None:
        self.samples = samples
        self.scalar = function.is_a("SXFunction")
        self.z, self.w = (symbol(name, function.size1_in(index), self.scalar) for index, name in enumerate(("z", "w")))
        self.out = function(self.z, self.w)

    @cached_property
    def in_states(self) -> tuple[Callable[..., Any], ca.Sparsity]:
        """`(z (in, B), w) -> df/dz`, the blocks of the samples side by side, and the pattern of a block."""
        slopes = ca.jacobian(self.out, self.z)
        return self._mapped("in_states", [self.z, self.w], [slopes]), slopes.sparsity()

    @cached_property
    def in_both(self) -> tuple[Callable[..., Any], list[ca.Sparsity]]:
        """`(z, w) -> df/dz, df/dw`, alike."""
        slopes = [ca.jacobian(self.out, self.z), ca.jacobian(self.out, self.w)]
        return self._mapped("in_both", [self.z, self.w], slopes), [part.sparsity() for part in slopes]

    @cached_property
    def second(self) -> tuple[Callable[..., Any], list[ca.Sparsity]]:
        """`(z, w, lam (out, B)) -> zz, wz, ww` of the Hessian of `lam^T f`, the last summed over samples."""
        z, w, size = self.z, self.w, self.z.numel()
        lam = symbol("lam", self.out.numel(), self.scalar)
        value = ca.dot(lam, self.out)
        second = ca.hessian(value, ca.vertcat(z, w))[0] if self.scalar else _hessian(value, z, w)
        parts = [second[:size, :size], second[size:, :size], second[size:, size:]]
        return self._mapped("second", [z, w, lam], parts, [2]), [part.sparsity() for part in parts]

    def _mapped(
        self, name: str, inputs: list[Any], outputs: list[Any], summed: Sequence[int] = ()
    ) -> Callable[..., Any]:
        return mapped(name, inputs, outputs, self.samples, shared=[1], summed=list(summed))


def derivatives_of(functions: Sequence[ca.Function], samples: int) -> list[NodeDerivatives]:
    """Return the derivatives of every function; one object for those that are the same."""
    made = {id(function): function for function in functions}
    derived = {key: NodeDerivatives(function, samples) for key, function in made.items()}
    return [derived[id(function)] for function in functions]


def add_jacobian(
    into: Assembly,
    node: NodeDerivatives,
    z: Any,
    w: Any,
    rows: np.ndarray,
    at_z: np.ndarray,
    at_w: np.ndarray,
    sign: int,
) -> None:
    """Add `sign df/d(z, w)`: equations at `rows (B, out)`, inputs at `at_z (B, in)`, -1 where constant, weights at
    `at_w (n_g,)`, or empty where they are fixed."""
    if not at_w.size:
        function, pattern = node.in_states
        _add_where_variable(into, pattern, rows, at_z, sign * function(z, w))
        return
    function, patterns = node.in_both
    in_states, in_weights = function(z, w)
    _add_where_variable(into, patterns[0], rows, at_z, sign * in_states)
    shared = np.broadcast_to(at_w, (len(rows), at_w.size))
    into.add_blocks(patterns[1], rows, shared, sign * nonzeros(in_weights))


def add_hessian(
    into: Assembly, node: NodeDerivatives, z: Any, w: Any, lam: Any, at_z: np.ndarray, at_w: np.ndarray
) -> None:
    """Add the Hessian of `lam^T f`, with `lam (out, B)`."""
    function, patterns = node.second
    zz, wz, ww = function(z, w, lam)
    variable = at_z[0] >= 0 if at_z.size else np.zeros(0, dtype=bool)
    _add_square(into, patterns[0], at_z, variable, zz)
    if at_w.size:
        rows, columns = (np.array(index, dtype=int) for index in patterns[1].get_triplet())
        kept = np.flatnonzero(variable[columns]) if len(columns) else np.zeros(0, dtype=int)
        values = _kept(wz, patterns[1], kept, len(at_z))
        at_row = np.broadcast_to(at_w[rows[kept]], (len(at_z), len(kept)))
        into.add(at_row, at_z[:, columns[kept]], values)
        into.add(at_z[:, columns[kept]], at_row, values)
        into.add_blocks(patterns[2], at_w[None], at_w[None], nonzeros(ww))


def _add_where_variable(into: Assembly, pattern: ca.Sparsity, rows: np.ndarray, at_z: np.ndarray, values: Any) -> None:
    at_row, at_column = (np.array(index, dtype=int) for index in pattern.get_triplet())
    variable = at_z[0] >= 0 if at_z.size else np.zeros(0, dtype=bool)
    kept = np.flatnonzero(variable[at_column]) if len(at_column) else np.zeros(0, dtype=int)
    into.add(rows[:, at_row[kept]], at_z[:, at_column[kept]], _kept(values, pattern, kept, len(rows)))


def _add_square(into: Assembly, pattern: ca.Sparsity, at_z: np.ndarray, variable: np.ndarray, values: Any) -> None:
    rows, columns = (np.array(index, dtype=int) for index in pattern.get_triplet())
    kept = np.flatnonzero(variable[rows] & variable[columns]) if len(rows) else np.zeros(0, dtype=int)
    into.add(at_z[:, rows[kept]], at_z[:, columns[kept]], _kept(values, pattern, kept, len(at_z)))


def _kept(blocks: Any, pattern: ca.Sparsity, kept: np.ndarray, samples: int) -> Any:
    """Return the nonzeros numbered `kept` of each block, block after block."""
    count = pattern.nnz()
    if len(kept) == count:
        return nonzeros(blocks)
    return nonzeros(blocks)[(np.arange(samples)[:, None] * count + kept).ravel().tolist()]


def nonzeros(matrix: Any) -> Any:
    """Return the nonzeros as a column, whatever the shape."""
    return ca.vec(matrix.nz[:])


def _hessian(value: ca.MX, z: ca.MX, w: ca.MX) -> ca.MX:
    """Return the Hessian of an MX value in two symbols, `(z, w)` joined."""
    joined = ca.MX.sym("joined", z.numel() + w.numel())
    pieces = ca.vertsplit(joined, [0, z.numel(), joined.numel()])
    (value,) = ca.substitute([value], [z, w], pieces)
    (hessian,) = ca.substitute([ca.hessian(value, joined)[0]], [joined], [ca.vertcat(z, w)])
    return hessian


def mapped(
    name: str, inputs: list[Any], outputs: list[Any], samples: int, *, shared: list[int], summed: list[int]
) -> Callable[..., Any]:
    """Map over the columns of the inputs that are not shared; outputs stand side by side unless they are summed."""
    function = ca.Function(name, inputs, outputs)
    return function.map(f"{name}_batch", "serial", samples, shared, summed) if samples > 1 else function
