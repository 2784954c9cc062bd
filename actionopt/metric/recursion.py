"""The factor recursion of the layerwise metric, from the costs back through every node.

    S_k = L_k / sqrt(B) where a cost sits + sum over children S_child A_child,    K_group = sum over its uses S_k B_k

Rows of all costs are stacked. A product with A_k from the right is the module's `vjp` of each row, so every module
takes part; dense layers and modules made of modules keep their structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from actionopt.backprop import ForwardPass
from actionopt.errors import InputError
from actionopt.metric.dense_rows import DenseRows
from actionopt.metric.output_factor import output_factor
from actionopt.metric.parts import sum_over_parts, sum_over_uses
from actionopt.metric.rows import PlainRows, Rows
from actionopt.metric.stack import Stack
from actionopt.modules import Attention, Chain, Conv2d, Dense, Each, Module, Parallel, Residual
from actionopt.network import Place
from actionopt.ops import NUMPY
from actionopt.problem import Problem

Pull = Callable[..., tuple[list[Rows], np.ndarray]]


def pulled_rows(
    problem: Problem,
    passed: ForwardPass,
    check: bool = True,
    *,
    together: bool = False,
    factors: Sequence[np.ndarray] | None = None,
) -> list[list[Rows]]:
    """Return the rows of K for every group of weights of a problem.

    Parameters
    ----------
    problem : Problem
    passed : ForwardPass
        At finite weights; leading axes are nodes of a trajectory.
    check : bool
        Whether states that are not finite are an error; if not, rows are NaN at the nodes where outputs are not.
    together : bool
        Whether each group gets the rows of all costs, zeros where its weights do not enter, so that groups can stand
        side by side; if not, those of the costs that its weights enter.
    factors : sequence of arrays (..., m, B, d), optional
        L_o of every cost; those of the problem's output metric where None.

    Returns
    -------
    list with a list of Rows a group
        Their columns, one after the other, are the group's weights; empty for a group without weights, and where the
        output metric has no rows.

    Raises
    ------
    InputError
        Naming the module whose output is not finite, or what is wrong with the output metric.
    """
    network, states = problem.network, passed.states
    if check:
        check_finite(problem, states[len(network.data) :])
    if factors is None:
        factor = output_factor if check else _factor_where_finite
        factors = [factor(problem, states[term.node], j) for j, term in enumerate(network.costs)]
    root = float(np.sqrt(problem.samples))  # a number of Python leaves single precision as it is
    factors = [factor / root for factor in factors]
    stack = Stack(network, [factor.shape[-3] for factor in factors])
    if not stack.count(stack.all):
        return [[] for _ in network.groups]

    def visit(place: Place, piece: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray) -> Any:
        if network.fixed[place.index]:
            own, pulled = own_rows(place.module, piece, z, out, rows), None
        else:
            own, pulled = pull_rows(place.module, piece, z, out, rows)
        wanted = stack.all if together else network.entered[place.group]  # type: ignore[index]
        return [stack.spread_rows(own, network.reach[place.index], wanted)], pulled

    def arrive(source: int, node: int, before: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
        rows = stack.spread(rows, network.reach[node], network.reach[source])
        return rows if before is None else before + rows

    uses = network.backward(NUMPY, passed.pieces, states, stack.sources(factors), visit, arrive)[1]
    return [[] if of_group is None else sum_over_uses(of_group) for of_group in uses]


def check_finite(problem: Problem, states: Sequence[np.ndarray]) -> None:
    """Raise InputError where the state of a node that runs a module is not finite, naming the module."""
    for label, state in zip(problem.labels, states, strict=True):
        if not np.isfinite(state).all():
            raise InputError(f"module {label}: its output is not finite at these weights; take a smaller step")


def _factor_where_finite(problem: Problem, y: np.ndarray, cost: int) -> np.ndarray:
    finite = np.isfinite(y).all(axis=(-1, -2), keepdims=True)
    if finite.all():
        return output_factor(problem, y, cost)
    return np.where(finite[..., None], output_factor(problem, np.where(finite, y, 0.0), cost), np.nan)


def pull_rows(
    module: Any, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    """Pull rows back through one module.

    Parameters
    ----------
    w, z, out : arrays (..., n_a), (..., B, in_size), (..., B, out_size)
        The point, `out = forward(w, z)`.
    rows : array (..., m, B, out_size)
        `S_a`, a row of covectors for each sample.

    Returns
    -------
    (list of Rows, array (..., m, B, in_size))
        `K_a = S_a B_a`, sample by sample and in pieces that lie side by side, and `S_{a-1} = S_a A_a`.
    """
    # a subclass with a vjp of its own is no longer what the closed forms below describe
    method: Pull = _STRUCTURED.get(type(module).vjp, _pull_any)
    return method(module, w, z, out, rows)


def own_rows(module: Any, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray) -> list[Rows]:
    """Return `K_a = S_a B_a` alone, all that a module on data is asked for; arguments as above."""
    if type(module).vjp is Dense.vjp:
        return [_dense_rows(module, w, z, out, rows)]
    if type(module).vjp is Conv2d.vjp:
        dense = _dense_rows(module.dense, w, *_conv_parts(module, z, out, rows))
        return [sum_over_parts(dense, module.positions)]
    return pull_rows(module, w, z, out, rows)[0]


def _pull_any(
    module: Module, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    """Pull back through a module that has nothing but its `vjp`: samples stand as nodes, so that none are summed."""
    if not module.weight_size:
        return [], module.vjp(NUMPY, w[..., None, :], z[..., None, :, :], out[..., None, :, :], rows)[1]
    samples = z.shape[-2]
    own_weights = np.broadcast_to(w[..., None, None, :], (*w.shape[:-1], 1, samples, w.shape[-1]))
    one_each = [x[..., None, :, None, :] for x in (z, out)]
    values, pulled = module.vjp(NUMPY, own_weights, one_each[0], one_each[1], rows[..., None, :])
    lead = (*np.broadcast_shapes(rows.shape[:-3], w.shape[:-1], z.shape[:-2]), *rows.shape[-3:-1])
    values = np.broadcast_to(values, (*lead, module.weight_size))
    return [PlainRows(values)], np.broadcast_to(pulled[..., 0, :], (*lead, module.in_size))


def _pull_dense(
    module: Dense, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    own = _dense_rows(module, w, z, out, rows)
    return [own], own.delta @ module.parameters(NUMPY, w)[0][..., None, :, :]


def _dense_rows(module: Any, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray) -> DenseRows:
    slope = module.slope(NUMPY, w, z, out)
    return DenseRows(rows if slope is None else rows * slope[..., None, :, :], z, 1.0 if module.bias else None)


def _pull_chain(
    module: Chain, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    pieces = module.split_weights(NUMPY, w)
    states = [z]
    for part, piece in zip(module.parts[:-1], pieces[:-1], strict=True):
        states.append(part.forward(NUMPY, piece, states[-1]))
    outs = [*states[1:], out]
    found: list[list[Rows]] = []
    for part, piece, state, part_out in reversed(list(zip(module.parts, pieces, states, outs, strict=True))):
        own, rows = pull_rows(part, piece, state, part_out, rows)
        found.append(own)
    return [leaf for own in found[::-1] for leaf in own], rows


def _pull_residual(
    module: Residual, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    own, pulled = pull_rows(module.parts[0], w, z, out - z, rows)
    return own, pulled + rows


def _pull_parallel(
    module: Parallel, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    in_sizes = [part.in_size for part in module.parts]
    out_sizes = [part.out_size for part in module.parts]
    arguments = zip(
        module.parts,
        module.split_weights(NUMPY, w),
        NUMPY.split(z, in_sizes),
        NUMPY.split(out, out_sizes),
        NUMPY.split(rows, out_sizes),
        strict=True,
    )
    pulled = [pull_rows(*argument) for argument in arguments]
    return [leaf for own, _ in pulled for leaf in own], np.concatenate([p for _, p in pulled], axis=-1)


def _pull_each(
    module: Each, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    arguments = [NUMPY.parts_as_samples(x, module.count) for x in (z, out, rows)]
    own, pulled = pull_rows(module.parts[0], w, *arguments)
    return [sum_over_parts(piece, module.count) for piece in own], NUMPY.samples_as_parts(pulled, module.count)


def _pull_conv(
    module: Conv2d, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    own, pulled = _pull_dense(module.dense, w, *_conv_parts(module, z, out, rows))
    return [sum_over_parts(piece, module.positions) for piece in own], module.onto_image(NUMPY, pulled)


def _conv_parts(
    module: Conv2d, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return windows, outputs and rows of every position as samples."""
    return (
        module.patches(NUMPY, z),
        module.positions_as_samples(NUMPY, out),
        module.positions_as_samples(NUMPY, rows),
    )


def _pull_attention(
    module: Attention, w: np.ndarray, z: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> tuple[list[Rows], np.ndarray]:
    return _pull_chain(module.chain, w, z, out, rows)


_STRUCTURED: dict[Any, Pull] = {
    Attention.vjp: _pull_attention,
    Conv2d.vjp: _pull_conv,
    Each.vjp: _pull_each,
    Dense.vjp: _pull_dense,
    Chain.vjp: _pull_chain,
    Residual.vjp: _pull_residual,
    Parallel.vjp: _pull_parallel,
}
