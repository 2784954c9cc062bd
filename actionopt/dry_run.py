"""Trying every formula of a network once, on two samples and two weights, before anything is computed with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.losses import Loss
from actionopt.modules.base import Module
from actionopt.network import Network, Place
from actionopt.ops import NUMPY


def dry_run(network: Network, nodes: np.ndarray) -> None:
    """Evaluate every formula on NumPy, so that a wrong one is named before anything is solved.

    Parameters
    ----------
    network : Network
    nodes : array (2, n)
        Two different weights.

    Raises
    ------
    InputError
        Naming the module or loss whose formula fails, mixes samples or nodes, or cannot be differentiated.
    """
    network = network.take(slice(2))
    tried: set[int] = set()

    def visit(place: Place, pieces: np.ndarray, z: np.ndarray) -> np.ndarray:
        assert place.module is not None
        if id(place.module) in tried:
            return place.module.forward(NUMPY, pieces[0], z)
        tried.add(id(place.module))
        out = _try_module(f"module {place.label}", place.module, pieces, z)
        _try_derivative(f"module {place.label}: forward", place.module.vjp, pieces[0], z, out, np.ones_like(out))
        return out

    with np.errstate(all="ignore"):
        states = network.forward(NUMPY, network.split(NUMPY, nodes), visit)
    for term, targets in zip(network.costs, network.targets, strict=True):
        _try_loss(term.loss, states[term.node], targets)


def _try_loss(loss: Loss, z: np.ndarray, targets: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        value = np.asarray(loss.value(NUMPY, np.stack([z, z]), targets))
    if value.shape != (2, len(z)):
        raise InputError(
            f"{loss.name}: value returned shape {value.shape} for outputs {(2, *z.shape)}, "
            f"expected one number a sample, {(2, len(z))}"
        )
    with np.errstate(all="ignore"):
        _try_derivative(f"{loss.name}: value", loss.gradient, z, targets)


def _try_derivative(what: str, derivative: Callable[..., Any], *point: np.ndarray) -> None:
    """Evaluate a reverse derivative, where a formula that leaves the namespace fails."""
    try:
        derivative(NUMPY, *point)
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        raise InputError(
            f"{what} cannot be differentiated, {type(error).__name__}: {error}; write it with the functions of ops: "
            "ops.tanh in place of np.tanh, ops.columns(z) in place of z[...]"
        ) from error


def _try_module(what: str, module: Module, nodes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the module's output at the first of two nodes.

    The two nodes and the samples at once must give what they give one by one, which is also what CasADi evaluates:
    a formula that takes weights or samples apart by hand would mix them silently.
    """
    single = [[np.asarray(module.forward(NUMPY, w, row[None])) for row in z] for w in nodes]
    for out in (out for outs in single for out in outs):
        if out.shape == () and out.item() is None:
            raise InputError(f"{what}: forward returned None; is its `return` missing?")
        if out.shape != (1, module.out_size):
            raise InputError(
                f"{what}: forward returned shape {out.shape} for one sample, expected (1, {module.out_size})"
            )
    expected = np.stack([np.concatenate(outs) for outs in single])
    advice = "take weights apart with ops.unpack and features with ops.columns, both keep leading axes"
    try:
        together = np.asarray(module.forward(NUMPY, nodes, z))
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(f"{what}: forward fails on weights {nodes.shape} of two nodes, {error}; {advice}") from error
    if together.shape not in (expected.shape, expected.shape[1:]):
        raise InputError(
            f"{what}: forward returned shape {together.shape} for weights {nodes.shape} and inputs {z.shape}, "
            f"expected {expected.shape}; {advice}, and ops.repeat_samples(row, z) gives a constant to every sample"
        )
    if not np.allclose(together, expected, equal_nan=True):
        raise InputError(f"{what}: forward mixes the nodes or samples it gets at once; {advice}")
    return expected[0]
