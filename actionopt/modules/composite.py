"""Modules made of modules: chains, residual connections, independent modules side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.modules.base import Module, check_declared_sizes
from actionopt.modules.node import Node
from actionopt.ops import NUMPY, Ops
from actionopt.ops.base import Array


class Composite(Module):
    """Modules whose weights are joined in order; `parts` are the modules."""

    parts: tuple[Module, ...]

    def __init__(self, parts: tuple[Module, ...], in_size: int, out_size: int, mass: Any, name: str | None) -> None:
        self.parts = parts
        self.scalar_graph = self.scalar_graph and all(part.scalar_graph for part in parts)
        super().__init__(in_size, out_size, sum(part.weight_size for part in parts), mass=mass, name=name)

    def split_weights(self, ops: Ops, w: Array) -> list[Array]:
        """Take `w (..., weight_size)` apart, one piece a part."""
        return ops.split(w, [part.weight_size for part in self.parts])

    def mass_vector(self, default: np.ndarray) -> np.ndarray:
        if self.mass is not None:
            return super().mass_vector(default)
        pieces = NUMPY.split(default, [part.weight_size for part in self.parts])
        return np.concatenate([part.mass_vector(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return np.concatenate([part.initial_weights(rng) for part in self.parts])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"


def check_modules(owner: str, modules: Any) -> tuple[Module, ...]:
    """Return the modules as a tuple.

    Raises
    ------
    InputError
        If there is none, or one is not a Module with whole numbers as sizes.
    """
    if not isinstance(modules, Iterable):
        raise InputError(f"{owner} takes modules, got {modules!r} of type {type(modules).__name__}")
    modules = (modules,) if getattr(modules, "ndim", 1) == 0 else tuple(modules)
    if not modules:
        raise InputError(f"{owner} needs at least one module, got none")
    for module in modules:
        if not isinstance(module, Module):
            raise InputError(f"{owner} takes modules, got {module!r} of type {type(module).__name__}")
        check_declared_sizes(module)
    return modules


def flatten(modules: Iterable[Module]) -> tuple[Module, ...]:
    """Resolve nested chains into one sequence of modules."""
    flat: list[Module] = []
    for module in modules:
        flat.extend(flatten(module.parts) if isinstance(module, Chain) and module.mass is None else [module])
    return tuple(flat)


def check_sizes(modules: tuple[Module, ...]) -> None:
    """Check that every module takes what the one before gives.

    Raises
    ------
    InputError
        Naming both modules and their sizes.
    """
    for index, (first, second) in enumerate(pairwise(modules), start=1):
        if first.out_size != second.in_size:
            raise InputError(
                f"sizes do not chain: module {index} {first!r} gives {first.out_size} outputs, "
                f"module {index + 1} {second!r} takes {second.in_size}"
            )


class Chain(Composite):
    """Modules one after the other; chains inside chains flatten.

    Examples
    --------
    >>> block = ao.Chain(ao.Dense(2, 5, "tanh"), ao.Dense(5, 2))
    >>> ao.Residual(block).weight_size
    27
    """

    def __init__(self, *modules: Module, mass: Any = None, name: str | None = None) -> None:
        parts = flatten(check_modules("Chain", modules))
        check_sizes(parts)
        super().__init__(parts, parts[0].in_size, parts[-1].out_size, mass, name)

    def __call__(self, *nodes: Node, name: str | None = None) -> Node:
        if self.mass is not None:  # one module with a metric of its own
            return super().__call__(*nodes, name=name)
        for part in self.parts[:-1]:
            nodes = (part(*nodes),)
        return self.parts[-1](*nodes, name=name or self.name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        for part, part_weights in zip(self.parts, self.split_weights(ops, w), strict=True):
            z = part.forward(ops, part_weights, z)
        return z

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        pieces = self.split_weights(ops, w)
        states = [z]
        for part, piece in zip(self.parts[:-1], pieces[:-1], strict=True):
            states.append(part.forward(ops, piece, states[-1]))
        outs = [*states[1:], out]
        pulled: list[Array] = []
        for part, piece, state, part_out in zip(
            reversed(self.parts), reversed(pieces), reversed(states), reversed(outs), strict=True
        ):
            dw, adjoint = part.vjp(ops, piece, state, part_out, adjoint)
            pulled.append(dw)
        return ops.concatenate(pulled[::-1]), adjoint


class Residual(Composite):
    """A module with a skip connection: `z_out = z_in + f(z_in, w)`.

    Examples
    --------
    >>> ao.Residual(ao.Dense(3, 3, "tanh")).out_size
    3
    """

    def __init__(self, module: Module, *, mass: Any = None, name: str | None = None) -> None:
        (module,) = check_modules("Residual", [module])
        if module.in_size != module.out_size:
            raise InputError(
                f"Residual needs a module with as many outputs as inputs, got {module!r} "
                f"with {module.in_size} inputs and {module.out_size} outputs"
            )
        super().__init__((module,), module.in_size, module.out_size, mass, name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return z + self.parts[0].forward(ops, w, z)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        dw, dz = self.parts[0].vjp(ops, w, z, out - z, adjoint)
        return dw, dz + adjoint

    def steps(self, w: np.ndarray) -> Callable[[int, np.ndarray], np.ndarray]:
        inner = self.parts[0].steps(w)
        return lambda index, z: z + inner(index, z)


class Parallel(Composite):
    """Independent modules side by side: features are split among them and their outputs joined, in order.

    Examples
    --------
    >>> pair = ao.Parallel(ao.Dense(2, 3), ao.Dense(1, 1))
    >>> pair.in_size, pair.out_size
    (3, 4)
    """

    def __init__(self, *modules: Module, mass: Any = None, name: str | None = None) -> None:
        parts = check_modules("Parallel", modules)
        super().__init__(parts, sum(p.in_size for p in parts), sum(p.out_size for p in parts), mass, name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        inputs = ops.split(z, [part.in_size for part in self.parts])
        weights = self.split_weights(ops, w)
        return ops.concatenate(
            [part.forward(ops, pw, pz) for part, pw, pz in zip(self.parts, weights, inputs, strict=True)]
        )

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        in_sizes = [part.in_size for part in self.parts]
        out_sizes = [part.out_size for part in self.parts]
        pulled = [
            part.vjp(ops, pw, pz, po, pa)
            for part, pw, pz, po, pa in zip(
                self.parts,
                self.split_weights(ops, w),
                ops.split(z, in_sizes),
                ops.split(out, out_sizes),
                ops.split(adjoint, out_sizes),
                strict=True,
            )
        ]
        return ops.concatenate([dw for dw, _ in pulled]), ops.concatenate([dz for _, dz in pulled])
