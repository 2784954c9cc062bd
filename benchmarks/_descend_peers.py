"""First-order peers of `benchmarks.descend`: in NumPy always, in PyTorch where it is installed.

All of them get the same gradients from actionopt, so that iterations and seconds compare optimisers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import actionopt as ao

Step = Callable[[ao.Problem, np.ndarray], np.ndarray]


def ours(momentum: float = 0.5, trust: float | None = None, tol: float = 1e-2) -> Step:
    """Layerwise steps as `ao.descend` takes them: the size of the joint model, a mass that follows the steps."""
    memory = ao.Momentum(momentum, adapt=True)
    return lambda batch, w: ao.step(batch, w, "model", momentum=memory, trust=trust, tol=tol)


def sgd(rate: float, momentum: float = 0.9) -> Step:
    """Stochastic gradients with heavy-ball momentum."""
    state: dict[str, Any] = {"v": 0.0}

    def step(batch: ao.Problem, w: np.ndarray) -> np.ndarray:
        state["v"] = momentum * state["v"] + batch.gradient(w)
        return w - rate * state["v"]

    return step


def adamw(rate: float, first: float = 0.9, second: float = 0.999) -> Step:
    """AdamW (Loshchilov, Hutter 2019) without decay."""
    state: dict[str, Any] = {"m": 0.0, "v": 0.0, "t": 0}

    def step(batch: ao.Problem, w: np.ndarray) -> np.ndarray:
        g = batch.gradient(w)
        state["t"] += 1
        state["m"] = first * state["m"] + (1.0 - first) * g
        state["v"] = second * state["v"] + (1.0 - second) * g * g
        m, v = state["m"] / (1.0 - first ** state["t"]), state["v"] / (1.0 - second ** state["t"])
        return w - rate * m / (np.sqrt(v) + 1e-8)

    return step


def in_torch(make: Callable[[list[Any], list[Any]], list[Any]]) -> Step:
    """Run optimisers of PyTorch, made for the matrices and the offsets, on actionopt's gradients."""
    import torch

    state: dict[str, Any] = {}

    def step(batch: ao.Problem, w: np.ndarray) -> np.ndarray:
        if not state:
            shapes = [shape for module in batch.modules for shape in _shapes(module)]
            ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
            values = [part.reshape(shape) for part, shape in zip(np.split(w, ends), shapes, strict=True)]
            state["parameters"] = [torch.nn.Parameter(torch.from_numpy(value.copy())) for value in values]
            state["ends"] = ends
            matrices = [p for p in state["parameters"] if p.ndim == 2]
            state["optimisers"] = make(matrices, [p for p in state["parameters"] if p.ndim != 2])
        pieces = zip(np.split(w, state["ends"]), np.split(batch.gradient(w), state["ends"]), strict=True)
        for parameter, (value, slope) in zip(state["parameters"], pieces, strict=True):
            parameter.data.copy_(torch.from_numpy(value.reshape(parameter.shape)))
            parameter.grad = torch.from_numpy(slope.reshape(parameter.shape))
        for optimiser in state["optimisers"]:
            optimiser.step()
        return np.concatenate([p.detach().numpy().ravel() for p in state["parameters"]])

    return step


def _shapes(module: Any) -> list[tuple[int, ...]]:
    return [(module.out_size, module.in_size), (module.out_size,)] if module.weight_size else []


def muon(rate: float) -> Step:
    """Muon on matrices (PyTorch's own), AdamW at a tenth of the rate on offsets."""
    import torch

    return in_torch(
        lambda matrices, others: [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.0),
            torch.optim.AdamW(others, lr=0.1 * rate, weight_decay=0.0),
        ]
    )


def soap(rate: float) -> Step:
    """SOAP (Vyas et al. 2024), the implementation of the package pytorch_optimizer."""
    from pytorch_optimizer.optimizer.soap import SOAP

    return in_torch(lambda matrices, others: [SOAP([*matrices, *others], lr=rate, weight_decay=0.0)])


def kfac(rate: float, damping: float = 0.1, momentum: float = 0.5) -> Step:
    """K-FAC of curvlinops with exact output curvature, factors made anew for every batch; dense layers with tanh."""
    import torch
    from curvlinops import FisherType, KFACInverseLinearOperator, KFACLinearOperator

    state: dict[str, Any] = {"v": 0.0}

    def step(batch: ao.Problem, w: np.ndarray) -> np.ndarray:
        if "network" not in state:
            layers = [torch.nn.Linear(module.in_size, module.out_size).double() for module in batch.modules]
            between = [part for layer in layers for part in (layer, torch.nn.Tanh())][:-1]
            state["network"] = torch.nn.Sequential(*between)
        network, parameters = state["network"], list(state["network"].parameters())
        pieces = np.split(w, np.cumsum([p.numel() for p in parameters])[:-1])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.data.copy_(torch.from_numpy(piece.reshape(parameter.shape)))
        inputs, targets = (torch.tensor(np.asarray(part)) for part in (batch.network.data[0], batch.targets))
        loss = torch.nn.MSELoss() if targets.is_floating_point() else torch.nn.CrossEntropyLoss()
        gradient = torch.autograd.grad(loss(network(inputs), targets), parameters)
        metric = KFACLinearOperator(
            network, loss, parameters, [(inputs, targets)], check_deterministic=False,
            fisher_type=FisherType.TYPE2, separate_weight_and_bias=False,
        )  # fmt: skip
        solved = KFACInverseLinearOperator(metric, damping=damping, cache=True) @ list(gradient)
        direction = torch.cat([part.flatten() for part in solved]).detach().numpy()
        state["v"] = momentum * state["v"] + direction
        return w - rate * state["v"]

    return step


def known() -> dict[str, tuple[Callable[[float], Step], tuple[float, ...]]]:
    """Return the peers that are installed, with six rates each."""
    found: dict[str, tuple[Callable[[float], Step], tuple[float, ...]]] = {
        "SGD": (sgd, (0.01, 0.03, 0.1, 0.2, 0.4, 0.8)),
        "AdamW": (adamw, (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)),
    }
    try:
        import torch

        torch.set_num_threads(1)
        torch.optim.Muon  # noqa: B018
        found["Muon"] = (muon, (0.002, 0.005, 0.01, 0.02, 0.05, 0.1))
    except (ImportError, AttributeError):
        return found
    try:
        import curvlinops  # noqa: F401

        found["K-FAC"] = (kfac, (0.03, 0.05, 0.1, 0.2, 0.3, 0.5))
    except ImportError:
        pass
    try:
        import pytorch_optimizer  # noqa: F401

        found["SOAP"] = (soap, (0.001, 0.003, 0.01, 0.02, 0.04, 0.08))
    except ImportError:
        pass
    return found
