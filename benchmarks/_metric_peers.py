"""The metric step without actionopt: dense NumPy, torch.func with Woodbury, and two K-FACs.

Every contestant gets a `Case` and returns a function that gives `G^{-1} g`, gradient included, for a tanh network
with softmax cross-entropy and the layerwise Fisher metric over a mass. K-FAC approximates that metric.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

# one thread for XLA too, before jax is imported
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

Direction = Callable[[], np.ndarray]
LARGEST_DENSE = 20_000  # weights of a layer up to which an n_a x n_a matrix is worth waiting for


@dataclass(frozen=True)
class Case:
    """A tanh network, its data, the point and the mass."""

    sizes: tuple[int, ...]
    inputs: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    mass: float

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, B = {len(self.inputs)}"

    def layers(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Give each layer's slice of the weights, matrix (out, in) and offset."""
        start = 0
        for before, after in pairwise(self.sizes):
            stop = start + after * (before + 1)
            yield (
                slice(start, stop),
                self.weights[start : start + after * before].reshape(after, before),
                self.weights[start + after * before : stop],
            )
            start = stop


def peers(case: Case) -> dict[str, tuple[Direction, bool]]:
    """Return the contestants that are installed, by name, and whether each claims the exact metric."""
    found: dict[str, tuple[Direction, bool]] = {}
    if max((b + 1) * a for b, a in pairwise(case.sizes)) <= LARGEST_DENSE:
        found["dense NumPy"] = dense(case), True
    if find_spec("torch"):
        found["torch.func + Woodbury"] = torch_woodbury(case), True
    if find_spec("torch") and find_spec("curvlinops"):
        found["curvlinops K-FAC"] = curvlinops_kfac(case), False
    if find_spec("kfac_jax"):
        found["kfac-jax, jitted"] = kfac_jax_step(case), False
    return found


def dense(case: Case) -> Direction:
    """Per-sample Jacobians by hand, `D + K^T K` multiplied out and solved, layer by layer."""

    def direction() -> np.ndarray:
        layers, samples = list(case.layers()), len(case.inputs)
        states = [case.inputs]
        for k, (_, matrix, offset) in enumerate(layers):
            pre = states[-1] @ matrix.T + offset
            states.append(np.tanh(pre) if k < len(layers) - 1 else pre)
        p = np.exp(states[-1] - states[-1].max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        root = np.sqrt(p)
        rows = root[:, :, None] * (np.eye(p.shape[1]) - root[:, :, None] * root[:, None, :])  # (B, d, d): L_o^T
        rows = rows.transpose(0, 2, 1) / np.sqrt(samples)
        adjoint = (p - np.eye(p.shape[1])[case.labels]) / samples
        x = np.empty_like(case.weights)
        for k in reversed(range(len(layers))):
            cut, matrix, _ = layers[k]
            if k < len(layers) - 1:
                slope = 1.0 - states[k + 1] ** 2
                rows, adjoint = rows * slope[:, None, :], adjoint * slope
            jacobian = np.concatenate(
                [(rows[..., None] * states[k][:, None, None, :]).reshape(*rows.shape[:2], -1), rows], axis=-1
            ).reshape(-1, cut.stop - cut.start)
            metric = jacobian.T @ jacobian
            metric.flat[:: len(metric) + 1] += case.mass
            gradient = np.concatenate([(adjoint.T @ states[k]).ravel(), adjoint.sum(axis=0)])
            x[cut] = cho_solve(cho_factor(metric, overwrite_a=True, check_finite=False), gradient, check_finite=False)
            rows, adjoint = rows @ matrix, adjoint @ matrix
        return x

    return direction


def _torch_network(case: Case) -> Any:
    import torch

    torch.set_num_threads(1)
    modules: list[Any] = []
    for (before, after), (_, matrix, offset) in zip(pairwise(case.sizes), case.layers(), strict=True):
        linear = torch.nn.Linear(before, after, dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(matrix), torch.tensor(offset)
        modules += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*modules[:-1])


def torch_woodbury(case: Case) -> Direction:
    """Per-sample Jacobians by torch.func, the Woodbury identity layer by layer."""
    import torch
    from torch.func import functional_call, grad, jacrev, vmap

    network = _torch_network(case)
    parameters = dict(network.named_parameters())
    inputs, labels = torch.tensor(case.inputs), torch.tensor(case.labels)

    def output(values: dict[str, Any], x: Any) -> Any:
        return functional_call(network, values, (x,))

    def loss(values: dict[str, Any]) -> Any:
        return torch.nn.functional.cross_entropy(output(values, inputs), labels)

    jacobians_of, gradient_of = vmap(jacrev(output), (None, 0)), grad(loss)

    def direction() -> np.ndarray:
        with torch.no_grad():
            p = torch.softmax(network(inputs), dim=1)
            root = p.sqrt()
            factor = root[:, None, :] * (torch.eye(p.shape[1], dtype=p.dtype) - root[:, :, None] * root[:, None, :])
            factor = factor / len(inputs) ** 0.5
            jacobians, gradient = jacobians_of(parameters, inputs), gradient_of(parameters)
            pieces = []
            for name in [n.removesuffix(".weight") for n in parameters if n.endswith("weight")]:
                rows = torch.cat([jacobians[f"{name}.{kind}"].flatten(2) for kind in ("weight", "bias")], dim=2)
                k = (factor @ rows).flatten(0, 1)
                g = torch.cat([gradient[f"{name}.{kind}"].flatten() for kind in ("weight", "bias")])
                inner = k @ k.T / case.mass
                inner.diagonal().add_(1.0)
                y = torch.cholesky_solve((k @ g / case.mass)[:, None], torch.linalg.cholesky(inner))[:, 0]
                pieces.append((g - k.T @ y) / case.mass)
            return torch.cat(pieces).numpy()

    return direction


def curvlinops_kfac(case: Case) -> Direction:
    """K-FAC of curvlinops with exact output curvature (type 2) and the mass as damping."""
    import torch
    from curvlinops import FisherType, KFACInverseLinearOperator, KFACLinearOperator

    network, loss = _torch_network(case), torch.nn.CrossEntropyLoss()
    parameters = list(network.parameters())
    data = [(torch.tensor(case.inputs), torch.tensor(case.labels))]

    def direction() -> np.ndarray:
        gradient = torch.autograd.grad(loss(network(data[0][0]), data[0][1]), parameters)
        metric = KFACLinearOperator(
            network,
            loss,
            parameters,
            data,
            check_deterministic=False,
            fisher_type=FisherType.TYPE2,
            separate_weight_and_bias=False,
        )
        solved = KFACInverseLinearOperator(metric, damping=case.mass, cache=True) @ list(gradient)
        return torch.cat([part.flatten() for part in solved]).detach().numpy()

    return direction


def kfac_jax_step(case: Case) -> Direction:
    """A jitted K-FAC step of kfac-jax, factors and inverses made anew in each; every call is the next step."""
    import jax
    import jax.numpy as jnp
    import kfac_jax

    jax.config.update("jax_enable_x64", True)

    def loss(parameters: Any, batch: Any) -> Any:
        x, labels = batch
        for matrix, offset in parameters[:-1]:
            x = jnp.tanh(x @ matrix + offset)
        logits = x @ parameters[-1][0] + parameters[-1][1]
        kfac_jax.register_softmax_cross_entropy_loss(logits, labels)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))

    optimizer = kfac_jax.Optimizer(
        jax.value_and_grad(loss),
        l2_reg=0.0,
        estimation_mode="ggn_curvature_prop",
        inverse_update_period=1,
        num_burnin_steps=0,
        min_damping=1e-12,
    )
    batch = (jnp.array(case.inputs), jnp.array(case.labels))
    key = jax.random.PRNGKey(0)
    parameters = [(jnp.array(matrix.T), jnp.array(offset)) for _, matrix, offset in case.layers()]
    run = {"parameters": parameters, "state": optimizer.init(parameters, key, batch), "step": 0}
    rate = 0.05

    def direction() -> np.ndarray:
        new, state, _ = optimizer.step(
            # the optimiser takes over the memory of what it is given
            jax.tree_util.tree_map(jnp.copy, run["parameters"]),
            run["state"],
            key,
            batch=batch,
            global_step_int=run["step"],
            learning_rate=rate,
            momentum=0.0,
            damping=case.mass,
        )
        moved = [
            np.concatenate([np.asarray(a[0] - b[0]).T.ravel(), np.asarray(a[1] - b[1])])
            for a, b in zip(run["parameters"], new, strict=True)
        ]
        run.update(parameters=new, state=state, step=run["step"] + 1)
        return np.concatenate(moved) / rate

    return direction
