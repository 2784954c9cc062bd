"""Problems drawn at random by hypothesis: chains of modules of every kind, sizes, batches, losses and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import actionopt as ao

SMOOTH = ("tanh", "sigmoid", "softplus", "sin", "silu")


class Gain(ao.Module):
    """`a tanh(b z)`: a user's module for any width, with a forward alone."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size, 2 * size)

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b = ops.unpack(w, (self.in_size,), (self.in_size,))
        return a * ops.tanh(b * z)


class Mixing(ao.Module):
    """Products of neighbouring features, weighed by a softmax of the weights: no elementwise structure."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size, size)

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        columns = ops.columns(z)
        turned = ops.concatenate([*columns[1:], columns[0]])
        return z * turned * ops.softmax(ops.unpack(w, (self.in_size,)))


class Padded(ao.Module):
    """A weighted feature beside a constant one, and one that only the weights set."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size + 2, size + 1)

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        gains, own = ops.unpack(w, (self.in_size,), (1,))
        return ops.concatenate([gains * z, ops.row([0.5]), ops.repeat_samples(own, z)])


def rows(ops: Any, y: Any, target: Any) -> list[Any]:
    """A user's output metric of rank two that depends on the outputs."""
    return [ops.tanh(y), 0.5 * ops.cos(y)]


def square_modules(size: int, activation: str) -> st.SearchStrategy[ao.Module]:
    """Modules that keep the number of features."""
    dense = ao.Dense(size, size, activation)
    options = [
        st.just(ao.Activation(size, activation)),
        st.just(Gain(size)),
        st.just(Mixing(size)),
        st.just(ao.Residual(dense)),
        st.just(ao.Residual(ao.Chain(ao.Dense(size, 2, activation), Gain(2), ao.Dense(2, size, bias=False)))),
        st.just(ao.Chain(ao.Dense(size, size), Gain(size), mass=0.7)),
    ]
    if size > 1:
        options.append(st.just(ao.Parallel(Gain(1), ao.Dense(size - 1, size - 1, activation))))
        options.append(st.just(ao.Parallel(ao.Activation(1, "sin"), ao.Parameter(1), ao.Dense(size - 1, size - 2))))
    return st.one_of(options)


@st.composite
def chains(draw: st.DrawFn, smooth: bool) -> list[ao.Module]:
    """One to four modules; the first may have no input."""
    activations = st.sampled_from(SMOOTH if smooth else (*SMOOTH, "relu", "square"))
    size = draw(st.integers(1, 4))
    modules: list[ao.Module] = [ao.Parameter(size)] if draw(st.integers(0, 5)) == 0 else []
    for _ in range(draw(st.integers(0 if modules else 1, 3))):
        if size <= 2 and draw(st.integers(0, 3)) == 0:
            modules.append(Padded(size))
            size += 2
        elif draw(st.booleans()):
            out, bias = draw(st.integers(1, 4)), draw(st.booleans())
            modules.append(ao.Dense(size, out, draw(st.one_of(st.none(), activations)), bias=bias))
            size = out
        else:
            modules.append(draw(square_modules(size, draw(activations))))
    if not sum(module.weight_size for module in modules):
        modules.append(ao.Dense(size, draw(st.integers(1, 3))))
    return modules


def targets_for(loss: ao.Loss, rng: np.random.Generator, samples: int, outputs: int) -> np.ndarray:
    """Targets that the loss takes."""
    if isinstance(loss, ao.SoftmaxCrossEntropy):
        return rng.integers(0, outputs, samples)
    values = rng.standard_normal((samples, outputs))
    return (values > 0).astype(float) if isinstance(loss, ao.Logistic) else values


@st.composite
def problems(draw: st.DrawFn, *, smooth: bool = False) -> tuple[ao.Problem, np.ndarray]:
    """A problem and weights.

    Batches of one sample, and of as many as a layer is wide, come often: that is where shapes are confused. Without
    kinks where `smooth`.
    """
    modules = draw(chains(smooth))
    widths = sorted({module.out_size for module in modules} | {max(modules[0].in_size, 1)})
    samples = draw(st.one_of(st.sampled_from([1, *widths]), st.integers(1, 7)))
    loss = draw(st.sampled_from([ao.SquaredError(), ao.SoftmaxCrossEntropy(), ao.Logistic()]))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    size = sum(module.weight_size for module in modules)
    mass = 10.0 ** draw(st.floats(-2.0, 1.0))
    problem = ao.Problem(
        modules,
        rng.standard_normal((samples, modules[0].in_size)),
        targets_for(loss, rng, samples, modules[-1].out_size),
        loss,
        mass=mass * rng.uniform(0.5, 2.0, size) if draw(st.booleans()) else mass,
        output_metric=draw(st.sampled_from(["fisher", "euclidean", None, rows])),
        weight_decay=draw(st.sampled_from([0.0, 0.1])),
        name=", ".join(map(repr, modules)),
    )
    return problem, 0.8 * rng.standard_normal(size)
