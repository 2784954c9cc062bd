"""Jacobian and Hessian of the lifted problem from their blocks: a module touches one stage, a sample one column.

With the variables `w_1, z_1, w_2, z_2, ..` stage a has the neighbouring variables `(z_{a-1}, w_a)`, so that

    dc/dx  = s (diag([A_a B_a]) - identity at z_a),          A_a = df_a/dz, block diagonal over samples, B_a = df_a/dw
    d2L/dx2 = diag(d2 (lam_a^T f_a) / d(z_{a-1}, w_a)^2) + loss at z_L + terms of the weights

CasADi would find the same pattern by itself, from a graph of the whole problem, in far more time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import casadi as ca
import numpy as np

from actionopt.symbolic import symbol


def block_diagonal(blocks: ca.MX, count: int) -> ca.MX:
    """Turn `count` blocks side by side, all of one sparsity, into a block-diagonal matrix."""
    sparsity = blocks[:, : blocks.shape[1] // count].sparsity()
    return ca.MX(ca.diagcat(*[sparsity] * count), ca.vec(blocks.nz[:]))


class StageDerivatives:
    """Derivatives of one module's equations for a whole batch; modules of one formula share an object.

    Parameters
    ----------
    function : Function
        `f: (z, w) -> z_out` of one sample.
    samples : int
    """

    def __init__(self, function: ca.Function, samples: int) -> None:
        self.samples = samples
        scalar = function.is_a("SXFunction")
        z, w = (symbol(name, function.size1_in(name), scalar) for name in ("z", "w"))
        lam = symbol("lam", function.size1_out(0), scalar)
        out = function(z, w)
        first = [ca.jacobian(out, z), ca.jacobian(out, w).T]
        self._jacobian = _mapped("stage_jacobian", [z, w], first, samples, shared=[1], summed=[])
        size = z.numel()
        second = ca.hessian(ca.dot(lam, out), ca.vertcat(z, w))[0] if scalar else _hessian(ca.dot(lam, out), z, w)
        parts = [second[:size, :size], second[size:, :size], second[size:, size:]]
        self._hessian = _mapped("stage_hessian", [z, w, lam], parts, samples, shared=[1], summed=[2])

    def jacobian(self, states: ca.MX, w: ca.MX) -> tuple[ca.MX, ca.MX]:
        """Return A `(d_a B, d_{a-1} B)` and B `(d_a B, n_a)` at states `(d_{a-1}, B)`."""
        in_states, in_weights = self._jacobian(states, w)
        return block_diagonal(in_states, self.samples), in_weights.T

    def hessian(self, states: ca.MX, w: ca.MX, lam: ca.MX) -> tuple[ca.MX, ca.MX, ca.MX]:
        """Return the blocks zz, wz and ww of the Hessian of `lam^T f`, lam `(d_a, B)`."""
        zz, wz, ww = self._hessian(states, w, lam)
        return block_diagonal(zz, self.samples), wz, ww


class ChainDerivatives:
    """Jacobian and Hessian of a whole chain in the variables `w_1, z_1, w_2, z_2, ..`.

    Parameters
    ----------
    stages : sequence of StageDerivatives
        One a module.
    loss : Function
        `(z_L, target) -> value` of one sample.
    samples : int
    sign : int
        The sign s of the equations `s (f - z)`.
    """

    def __init__(self, stages: Sequence[StageDerivatives], loss: ca.Function, samples: int, sign: int) -> None:
        self.stages, self.samples, self.sign = stages, samples, sign
        y, target = ca.SX.sym("y", loss.size1_in(0)), ca.SX.sym("target", loss.size1_in(1))
        hessian = ca.hessian(loss(y, target), y)[0]
        self._loss_hessian = _mapped("loss_hessian", [y, target], [hessian], samples, shared=[], summed=[])

    def jacobian(self, weights: Sequence[ca.MX], states: Sequence[ca.MX]) -> ca.MX:
        """Return dc/dx for weights w_1 .. w_L and states z_0 .. z_L, matrices `(d_a, B)`."""
        blocks = []
        for index, (stage, w, before) in enumerate(zip(self.stages, weights, states[:-1], strict=True)):
            in_states, in_weights = stage.jacobian(before, w)
            blocks.append(self.sign * (ca.horzcat(in_states, in_weights) if index else in_weights))
        stacked = ca.diagcat(*blocks, ca.MX(0, states[-1].numel()))
        return stacked + _at_states(weights, states[1:]).T * -float(self.sign)

    def hessian(
        self,
        weights: Sequence[ca.MX],
        states: Sequence[ca.MX],
        targets: ca.DM,
        lam_f: ca.MX,
        lam_g: ca.MX,
        of_weights: ca.MX,
    ) -> ca.MX:
        """Return the Hessian of `lam_f E + lam_g^T c`; `of_weights (n, n)` is that of E's own terms in the weights."""
        blocks = []
        multipliers = ca.vertsplit(self.sign * lam_g, np.cumsum([0, *(z.numel() for z in states[1:])]).tolist())
        parts = zip(self.stages, weights, states[:-1], states[1:], multipliers, strict=True)
        for index, (stage, w, before, after, lam) in enumerate(parts):
            zz, wz, ww = stage.hessian(before, w, ca.reshape(lam, *after.shape))
            blocks.append(ca.blockcat([[zz, wz.T], [wz, ww]]) if index else ww)
        loss = block_diagonal(self._loss_hessian(states[-1], targets), self.samples)
        place = _at_weights(weights, states[1:])
        return ca.diagcat(*blocks, lam_f / self.samples * loss) + lam_f * (place @ of_weights @ place.T)


def _hessian(value: ca.MX, z: ca.MX, w: ca.MX) -> ca.MX:
    """Return the Hessian of an MX value in two symbols, `(z, w)` joined."""
    joined = ca.MX.sym("joined", z.numel() + w.numel())
    pieces = ca.vertsplit(joined, [0, z.numel(), joined.numel()])
    (value,) = ca.substitute([value], [z, w], pieces)
    (hessian,) = ca.substitute([ca.hessian(value, joined)[0]], [joined], [ca.vertcat(z, w)])
    return hessian


def _mapped(
    name: str, inputs: list[Any], outputs: list[Any], samples: int, *, shared: list[int], summed: list[int]
) -> Callable[..., Any]:
    """Map over the columns of the inputs that are not shared; outputs stand side by side unless they are summed."""
    function = ca.Function(name, inputs, outputs)
    return function.map(f"{name}_batch", "serial", samples, shared, summed) if samples > 1 else function


def _at_states(weights: Sequence[ca.MX], states: Sequence[ca.MX]) -> ca.DM:
    """Return the matrix `(nx, sum d_a B)` that puts all states where they are among the variables."""
    columns = [ca.DM(w.numel(), 0) for w in weights]
    eyes = [ca.DM.eye(z.numel()) for z in states]
    return ca.diagcat(*(part for pair in zip(columns, eyes, strict=True) for part in pair))


def _at_weights(weights: Sequence[ca.MX], states: Sequence[ca.MX]) -> ca.DM:
    """Return the matrix `(nx, n)` that puts all weights where they are among the variables."""
    eyes = [ca.DM.eye(w.numel()) for w in weights]
    columns = [ca.DM(z.numel(), 0) for z in states]
    return ca.diagcat(*(part for pair in zip(eyes, columns, strict=True) for part in pair))
