"""A chain at weights and states that need not fit together: values and derivatives, each kind of module in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from actionopt.constrained.expansion import Expansion, expanded, expanded_loss
from actionopt.constrained.spots import WEIGHTS, Blocks, Places, Spots
from actionopt.losses import Loss
from actionopt.modules import Module
from actionopt.newton.riccati import Stacked, Stage
from actionopt.ops import NUMPY
from actionopt.problem import Problem


@dataclass(frozen=True)
class Kind:
    """Modules of one formula, and the stages, counted from 0, at which they stand.

    Attributes
    ----------
    at_w, at_z, at_out : arrays of int
        `(P, n)` into the weights, `(P, B, d)` into data and states, `(P, B, e)` into the states.
    """

    module: Module
    stages: tuple[int, ...]
    at_w: np.ndarray
    at_z: np.ndarray
    at_out: np.ndarray


@dataclass(frozen=True)
class Costs:
    """Terms of E of one loss: `factor * loss(y, targets)`, summed over spots and samples.

    The factor is the weight over the number of samples and the energy's scale.
    """

    spots: Spots
    loss: Loss
    weight: float
    factor: float
    targets: np.ndarray


@dataclass(frozen=True)
class Conditions:
    """Constraints of one formula; their values are the entries `rows (P, B, m)` of c."""

    spots: Spots
    value: Callable[..., Any]
    rows: np.ndarray

    def expand(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return values `(P, B, m)`, Jacobians `(P, B, m, k)` and Hessians `(P, B, m, k, k)`."""
        k, shape = y.shape[-1], self.rows.shape
        found = expanded(self.value, (y[0, 0] if self.spots.what == WEIGHTS else y,))
        return found[0].reshape(shape), found[1].reshape(*shape, k), found[2].reshape(*shape, k, k)

    def values(self, y: np.ndarray) -> np.ndarray:
        return np.reshape(self.value(NUMPY, y[0, 0] if self.spots.what == WEIGHTS else y), self.rows.shape)


class Structure(Places, Protocol):
    """What a point asks of its chain."""

    problem: Problem
    samples: int
    size: int
    data_size: int
    decay: float
    costs: list[Costs]
    conditions: list[Conditions]
    low: np.ndarray
    high: np.ndarray

    def joined(self, z: np.ndarray) -> np.ndarray: ...
    def at(self, w: np.ndarray, z: np.ndarray) -> ChainPoint: ...
    def simulate(self, w: np.ndarray) -> np.ndarray: ...
    def by_stage(self, z: np.ndarray) -> list[np.ndarray]: ...
    def over(self, scale: float) -> Structure: ...


class ChainPoint:
    """A chain at weights and states; derivatives are computed when first asked for."""

    def __init__(self, chain: Structure, w: np.ndarray, z: np.ndarray) -> None:
        self.chain, self.w, self.z = chain, w, z
        self.x = chain.joined(z)
        self.stacks = [(kind, w[kind.at_w], self.x[kind.at_z]) for kind in chain.kinds]

    @cached_property
    def gaps(self) -> np.ndarray:
        """`f - z`, `(N,)`."""
        outputs = np.empty(self.chain.size)
        for kind, w, z in self.stacks:
            outputs[kind.at_out] = kind.module.forward(NUMPY, w, z)
        return outputs - self.z

    @cached_property
    def energy(self) -> float:
        """E over the scale."""
        total = 0.5 * self.chain.decay * float(self.w @ self.w)
        for costs in self.chain.costs:
            y = costs.spots.look(self.w, self.x)
            total += costs.factor * float(np.sum(costs.loss.value(NUMPY, y, costs.targets)))
        return total

    @cached_property
    def conditions(self) -> np.ndarray:
        """c, `(m,)`."""
        found = np.empty(len(self.chain.low))
        for conditions in self.chain.conditions:
            found[conditions.rows] = conditions.values(conditions.spots.look(self.w, self.x))
        return found

    @cached_property
    def _costs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Slopes and Hessians of every group of costs."""
        found = []
        for costs in self.chain.costs:
            slope, hessian = expanded_loss(costs.loss, costs.spots.look(self.w, self.x), costs.targets)
            found.append((costs.factor * slope, costs.factor * hessian))
        return found

    @cached_property
    def _conditions(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        return [c.expand(c.spots.look(self.w, self.x)) for c in self.chain.conditions]

    @cached_property
    def expansions(self) -> list[Expansion]:
        return [Expansion(kind.module, w, z) for kind, w, z in self.stacks]

    @cached_property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """dE/dw `(n,)` and dE/dz `(N,)`, one without the other."""
        to_w, to_x = self.chain.decay * self.w, np.zeros(len(self.x))
        for costs, (slope, _) in zip(self.chain.costs, self._costs, strict=True):
            costs.spots.pull(slope, to_w, to_x)
        return to_w, to_x[self.chain.data_size :]

    def pull(self, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `B^T lam (n,)` and `A^T lam (N,)`."""
        to_w, to_x = np.zeros(len(self.w)), np.zeros(len(self.x))
        for kind, expansion in zip(self.chain.kinds, self.expansions, strict=True):
            a, b = expansion.jacobians
            adjoint = lam[kind.at_out]
            to_w[kind.at_w] = np.einsum("pbe,pben->pn", adjoint, b)
            to_x[kind.at_z] = np.einsum("pbe,pbed->pbd", adjoint, a)
        return to_w, to_x[self.chain.data_size :]

    def pull_conditions(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `(dc/dw)^T mu (n,)` and `(dc/dz)^T mu (N,)`."""
        to_w, to_x = np.zeros(len(self.w)), np.zeros(len(self.x))
        for conditions, (_, slopes, _) in zip(self.chain.conditions, self._conditions, strict=True):
            conditions.spots.pull(np.einsum("pbm,pbmk->pbk", mu[conditions.rows], slopes), to_w, to_x)
        return to_w, to_x[self.chain.data_size :]

    def push_conditions(self, dw: np.ndarray, dz: np.ndarray) -> np.ndarray:
        """Return the change of c `(m,)` along dw `(n,)` and dz `(N,)`."""
        found, dx = np.empty(len(self.chain.low)), np.concatenate([np.zeros(self.chain.data_size), dz])
        for conditions, (_, slopes, _) in zip(self.chain.conditions, self._conditions, strict=True):
            found[conditions.rows] = np.einsum("pbmk,pbk->pbm", slopes, conditions.spots.look(dw, dx))
        return found

    def adjoints(self, mu: np.ndarray) -> np.ndarray:
        """Return the adjoints `(N,)`: lam_a = dE/dz_a + (dc/dz_a)^T mu + A_{a+1}^T lam_{a+1}."""
        sources = self.slopes[1]
        if len(mu):
            sources = sources + self.pull_conditions(mu)[1]
        return self.backward(sources)

    def backward(self, sources: np.ndarray) -> np.ndarray:
        """Return `lam_a = sources_a + A_{a+1}^T lam_{a+1}`, `(N,)`."""
        lam, chain = sources.copy(), self.chain
        for a in range(chain.depth - 1, 0, -1):
            kind, place = chain.place[a]
            jacobian = self.expansions[kind].jacobians[0][place]
            here, after = chain.states_at[a] - chain.data_size, chain.states_at[a + 1] - chain.data_size
            lam[here] += np.matmul(lam[after][:, None, :], jacobian)[:, 0, :]
        return lam

    def stages(
        self, lam: np.ndarray | None, mu: np.ndarray, sigma: np.ndarray, diagonal: np.ndarray
    ) -> tuple[Sequence[Stage], np.ndarray]:
        """Return Jacobians and a Hessian, stage by stage, and that in the last state.

        It is that of `E + lam . f + mu . c`, or nothing where lam is None; plus `(dc)^T diag(sigma) dc` and a diagonal
        `(n,)` on the weights.
        """
        chain = self.chain
        last = chain.states_at[-1].shape[1]
        blocks = Blocks(
            [self._curvature(k, lam, diagonal) for k in range(len(chain.kinds))], np.zeros((chain.samples, last, last))
        )
        if lam is not None:
            for costs, (_, hessian) in zip(chain.costs, self._costs, strict=True):
                costs.spots.add_curvature(hessian, blocks)
        for conditions, (_, slopes, bent) in zip(chain.conditions, self._conditions, strict=True):
            own = np.einsum("pbm,pbmi,pbmj->pbij", sigma[conditions.rows], slopes, slopes)
            if lam is not None:
                own += np.einsum("pbm,pbmij->pbij", mu[conditions.rows], bent)
            conditions.spots.add_curvature(own, blocks)
        if len(chain.kinds) == 1:
            a, b = self.expansions[0].jacobians
            return Stacked(a, b, blocks.zz[0], blocks.zw[0], blocks.ww[0]), blocks.end
        found: list[Any] = [None] * chain.depth
        for number, kind in enumerate(chain.kinds):
            a, b = self.expansions[number].jacobians
            parts = zip(a, b, blocks.zz[number], blocks.zw[number], blocks.ww[number], strict=True)
            for stage, arrays in zip(kind.stages, parts, strict=True):
                found[stage] = Stage(*arrays)
        return found, blocks.end

    def _curvature(
        self, number: int, lam: np.ndarray | None, diagonal: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return second derivatives of `lam . f` of one kind of module, with decay and diagonal."""
        kind, w, z = self.stacks[number]
        count, n, d = len(w), w.shape[-1], z.shape[-1]
        if lam is None:
            shape = (count, z.shape[1], d)
            zz, zw, ww = np.zeros((*shape, d)), np.zeros((*shape, n)), np.zeros((count, n, n))
        else:
            zz, zw, ww = (np.array(x) for x in self.expansions[number].curvature(lam[kind.at_out]))
            ww = ww + self.chain.decay * np.eye(n)
        each = np.arange(n)
        ww[:, each, each] += diagonal[kind.at_w]
        return zz, zw, ww

    def rows(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the slopes of some conditions, `(n, K)` in the weights and `(N, K)` in the states."""
        columns = []
        for row in which:
            one = np.zeros(len(self.chain.low))
            one[row] = 1.0
            columns.append(self.pull_conditions(one))
        to_w, to_z = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
        return to_w, to_z
