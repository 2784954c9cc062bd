"""A chain as stages: values, Jacobians and second derivatives of all modules, each kind of module in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actionopt.modules import Module
from actionopt.newton.riccati import Stage
from actionopt.ops import NUMPY, LinearProgram
from actionopt.ops.linear import recording
from actionopt.problem import Problem
from actionopt.stacking import same_formula

RECORD, DUALS = recording(NUMPY)


@dataclass(frozen=True)
class Kind:
    """Modules of one formula and the stages, counted from 0, at which they stand."""

    module: Module
    stages: tuple[int, ...]


class Chain:
    """The energy `E / scale` of a chain as a function of weights and states that need not fit together.

    Parameters
    ----------
    problem : Problem
        Its network is a chain; costs may sit on any of its nodes.
    scale : float
    """

    def __init__(self, problem: Problem, scale: float) -> None:
        network = problem.network
        self.problem, self.scale = problem, scale
        self.inputs = network.data[0]
        self.modules: list[Module] = [place.module for place in network.placed]  # type: ignore[misc]
        self.depth, self.samples = len(self.modules), network.samples
        self.kinds = _kinds(self.modules)
        self.decay = problem.weight_decay / scale

    @staticmethod
    def fits(problem: Problem) -> bool:
        """Whether every module takes the state before it alone, on weights of its own."""
        network = problem.network
        links = all(place.of == (index,) for index, place in enumerate(network.placed))
        return len(network.data) == 1 and links and len(network.groups) == len(network.placed)

    def split(self, w: np.ndarray) -> list[np.ndarray]:
        return self.problem.network.split(NUMPY, w)

    def simulate(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the states that the weights lead to."""
        return self.problem.network.forward(NUMPY, weights)[1:]

    def adjoints(self, weights: Sequence[np.ndarray], states: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the adjoints at simulated states."""
        network, all_states = self.problem.network, [self.inputs, *states]
        part = 1.0 / (self.samples * self.scale)
        sources = {node: slope * part for node, slope in network.slopes(NUMPY, all_states).items()}
        arrived = network.backward(NUMPY, weights, all_states, sources)[0][1:]
        return [np.zeros_like(z) if lam is None else lam for lam, z in zip(arrived, states, strict=True)]

    def outputs(self, weights: Sequence[np.ndarray], states: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return `f_a(z_{a-1}, w_a)` of every module."""
        found: list[np.ndarray] = [self.inputs] * self.depth
        for kind, w, z in self._stacks(weights, states):
            for index, out in zip(kind.stages, kind.module.forward(NUMPY, w, z), strict=True):
                found[index] = np.broadcast_to(out, (self.samples, out.shape[-1]))
        return found

    def energy(self, weights: Sequence[np.ndarray], states: Sequence[np.ndarray]) -> float:
        losses = self.problem.network.values(NUMPY, [self.inputs, *states])
        return float(losses.mean()) / self.scale + 0.5 * self.decay * sum(float(w @ w) for w in weights)

    def weight_slopes(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return `dE/dw_a` at fixed states: the decay's."""
        return [self.decay * w for w in weights]

    def slopes(self, states: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return `dE/dz_a (B, d_a)`, states taken for independent."""
        found = self.problem.network.slopes(NUMPY, [self.inputs, *states])
        part = 1.0 / (self.samples * self.scale)
        return [found[k] * part if k in found else np.zeros_like(z) for k, z in enumerate(states, start=1)]

    def pull(
        self, weights: Sequence[np.ndarray], states: Sequence[np.ndarray], multipliers: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return `sum_b B_a^T lam_a (n_a,)` and `A_a^T lam_a (B, d_{a-1})` of every module."""
        to_weights: list[np.ndarray] = [self.inputs] * self.depth
        to_states: list[np.ndarray] = [self.inputs] * self.depth
        for kind, w, z in self._stacks(weights, states):
            lam = np.stack([multipliers[index] for index in kind.stages])
            own, onward = kind.module.vjp(NUMPY, w, z, kind.module.forward(NUMPY, w, z), lam)
            for place, index in enumerate(kind.stages):
                to_weights[index], to_states[index] = own[place], onward[place]
        return to_weights, to_states

    def stages(
        self, weights: Sequence[np.ndarray], states: Sequence[np.ndarray], multipliers: Sequence[np.ndarray]
    ) -> tuple[list[Stage], np.ndarray]:
        """Return Jacobians and the Hessian of the Lagrangian, stage by stage, and the Hessian in the last state."""
        ends = self._loss_hessians(states)
        found: list[Stage | None] = [None] * self.depth
        for kind, w, z in self._stacks(weights, states):
            lam = np.stack([multipliers[index] for index in kind.stages])
            a, b = _jacobians(kind.module, w, z)
            zz, zw = _in_states(kind.module, w, z, lam)
            ww = _in_weights(kind.module, w, z, lam)
            for place, index in enumerate(kind.stages):
                bent = zz[place] + ends[index] if index and index in ends else zz[place]
                decay = self.decay * np.eye(ww.shape[-1])
                found[index] = Stage(a[place], b[place], bent, zw[place], ww[place] + decay)
        last = ends.get(self.depth)
        size = states[-1].shape[-1]
        return found, np.zeros((self.samples, size, size)) if last is None else last  # type: ignore[return-value]

    def _loss_hessians(self, states: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Return the Hessians of the costs, `(B, d, d)`, by node."""
        network = self.problem.network
        found: dict[int, np.ndarray] = {}
        for term, targets in zip(network.costs, network.targets, strict=True):
            y = states[term.node - 1]
            columns = [term.loss.curvature(NUMPY, y, targets, one + 0.0 * y) for one in np.eye(y.shape[-1])]
            hessian = np.stack(columns, axis=-1) * (term.weight / (self.samples * self.scale))
            found[term.node] = found[term.node] + hessian if term.node in found else hessian
        return found

    def _stacks(
        self, weights: Sequence[np.ndarray], states: Sequence[np.ndarray]
    ) -> list[tuple[Kind, np.ndarray, np.ndarray]]:
        """Return every kind of module with its weights `(P, n)` and its inputs `(P, B, d)`."""
        inputs = [self.inputs, *states]
        return [
            (kind, np.stack([weights[i] for i in kind.stages]), np.stack([inputs[i] for i in kind.stages]))
            for kind in self.kinds
        ]


def _kinds(modules: Sequence[Module]) -> list[Kind]:
    found: list[tuple[Module, list[int]]] = []
    for index, module in enumerate(modules):
        for known, stages in found:
            if same_formula(known, module):
                stages.append(index)
                break
        else:
            found.append((module, [index]))
    return [Kind(module, tuple(stages)) for module, stages in found]


def _jacobians(module: Module, w: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `A (P, B, e, d)` and `B (P, B, e, n)` at weights `(P, n)` and inputs `(P, B, d)`: one vjp an output."""
    w1, z1 = w[:, None, :], z[:, :, None, :]  # samples as a leading axis: nothing is summed over them
    rows = np.eye(module.out_size)[:, None, None, None, :]
    out = module.forward(NUMPY, w1, z1)
    to_weights, to_inputs = module.vjp(NUMPY, w1, z1, out, rows + 0.0 * out)
    shape = (module.out_size, *z.shape[:-1])
    a = np.broadcast_to(to_inputs, (*shape, 1, module.in_size))[..., 0, :]
    b = np.broadcast_to(to_weights, (*shape, module.weight_size))
    return np.moveaxis(a, 0, -2), np.moveaxis(b, 0, -2)


def _in_states(module: Module, w: np.ndarray, z: np.ndarray, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of `A^T lam` and `B^T lam` in the inputs: `(P, B, d, d)` and `(P, B, d, n)`."""
    d, n = module.in_size, module.weight_size
    z1 = z[:, :, None, :]
    program = _change(module, w[:, None, :], z1, lam[:, :, None, :])
    own, onward = program(np.zeros((d, 1, 1, n)), np.eye(d)[:, None, None, None, :] + 0.0 * z1)
    zz = np.broadcast_to(onward, (d, *z.shape[:-1], 1, d))[..., 0, :]
    zw = np.broadcast_to(own, (d, *z.shape[:-1], n))
    return np.moveaxis(zz, 0, -2), np.moveaxis(zw, 0, -2)


def _in_weights(module: Module, w: np.ndarray, z: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Return the derivative of `sum_b B_b^T lam_b` in the weights, `(P, n, n)`."""
    n = module.weight_size
    if not n:
        return np.zeros((len(w), 0, 0))
    own = _change(module, w, z, lam)(np.eye(n)[:, None, :] + 0.0 * w, 0.0 * z)[0]
    return np.moveaxis(np.broadcast_to(own, (n, len(w), n)), 0, -2)


def _change(module: Module, w: np.ndarray, z: np.ndarray, lam: np.ndarray) -> LinearProgram:
    """Record what tangents of weights and inputs do to what `vjp` gives for the adjoint lam."""
    dw, dz = RECORD.variable(w.shape[-1:]), RECORD.variable(z.shape[-2:])
    wd, zd = DUALS.dual(w, dw), DUALS.dual(z, dz)
    pulled = module.vjp(DUALS, wd, zd, module.forward(DUALS, wd, zd), DUALS.dual(lam, None))
    tangents = [DUALS.parts(x)[1] for x in pulled]
    return LinearProgram([dw, dz], [own * 0.0 if t is None else t for own, t in zip((dw, dz), tangents, strict=True)])
