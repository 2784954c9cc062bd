"""Small problems of every kind, for tests that hold over all of them; batches as large as a layer is wide included."""

from __future__ import annotations

from typing import Any

import numpy as np

import actionopt as ao


class Gain(ao.Module):
    """`a tanh(b z)` over three features: a user's module with a forward alone."""

    in_size, out_size, weight_size = 3, 3, 6

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b = ops.unpack(w, (3,), (3,))
        return a * ops.tanh(b * z)


def quartic(ops: Any, y: Any, target: Any) -> Any:
    """A loss with a formula alone."""
    difference = y - target
    return ops.sum(0.25 * difference**4 + 0.1 * ops.cos(y))


def _modules(kind: str) -> list[ao.Module]:
    return {
        "dense": [ao.Dense(3, 4, "tanh"), ao.Dense(4, 2)],
        "square": [ao.Dense(3, 3, "sigmoid"), ao.Dense(3, 3, "softplus"), ao.Dense(3, 3, "sin")],
        "user": [ao.Dense(3, 3, "silu"), Gain(), ao.Activation(3, "tanh"), ao.Dense(3, 2, bias=False)],
        "residual": [ao.Residual(ao.Chain(ao.Dense(3, 5, "tanh"), ao.Dense(5, 3))), Gain(), ao.Dense(3, 2)],
        "parallel": [ao.Parallel(ao.Dense(1, 2, "tanh"), ao.Activation(1, "sin"), Gain1()), ao.Dense(4, 2)],
    }[kind]


class Gain1(ao.Module):
    """The same over one feature."""

    in_size, out_size, weight_size = 1, 1, 2

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b = ops.unpack(w, (1,), (1,))
        return a * ops.tanh(b * z)


LOSSES = {
    "squared": ao.SquaredError(),
    "softmax": ao.SoftmaxCrossEntropy(),
    "logistic": ao.Logistic(),
    "custom": ao.CustomLoss(quartic),
}
KINDS = ("dense", "square", "user", "residual", "parallel")


def system(kind: str, loss: str = "squared", samples: int = 5, weight_decay: float = 0.01) -> ao.Problem:
    """Return a seeded problem of a kind of chain and a loss."""
    rng = np.random.default_rng([samples, len(kind)])
    modules = _modules(kind)
    outputs = modules[-1].out_size
    targets: Any = rng.standard_normal((samples, outputs))
    if loss == "softmax":
        targets = rng.integers(0, outputs, samples)
    elif loss == "logistic":
        targets = rng.uniform(0, 1, (samples, outputs))
    inputs = rng.standard_normal((samples, 3))
    return ao.Problem(modules, inputs, targets, LOSSES[loss], weight_decay=weight_decay, name=f"{kind} {loss}")


def landscape() -> ao.Problem:
    """Return an energy over two coordinates: a Parameter and a loss without targets."""
    return ao.Problem(ao.Parameter(2), None, None, ao.CustomLoss(lambda ops, y, target: ops.sum(ops.cos(y) + y * y)))


# batch sizes 2, 3, 4 and 5 meet layers of these widths
SYSTEMS = {
    **{f"{kind}, B = {samples}": system(kind, samples=samples) for kind in KINDS for samples in (1, 3)},
    **{f"{kind} {loss}": system(kind, loss, samples=4) for kind in ("dense", "user") for loss in LOSSES},
    "residual, B = 5": system("residual", samples=5),
    "parallel, B = 2": system("parallel", samples=2, weight_decay=0.0),
    "landscape": landscape(),
}
