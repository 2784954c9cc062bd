"""A gene cascade: each gene's product regulates the next one; the parameters adapt to a target response. No network.

A **sample** is a dose of the signal, its input the concentration, its target the concentration the last gene should
reach. Each module is one gene at steady state, production by a Hill function balanced by first-order decay:

    z_out = beta z^h / (K^h + z^h)       for an activator,        z_out = beta K^h / (K^h + z^h)       for a repressor,

with beta the largest steady-state level (production over decay), K the half-saturation level and h the Hill
coefficient. The weights of a gene are `(log beta, log K, log h)`: any weights mean positive parameters, and the mass
measures relative changes.

Source
------
Hill functions of gene regulation and cascades: U. Alon, An Introduction to Systems Biology, 2nd ed., CRC Press 2019,
chapters 1 and 2.

Known answer
------------
The targets are the response of a cascade with known parameters (`solution`), so the least energy is 0. The
logarithmic gain `d log z_out / d log z` of a gene is `h (1 - theta)` for an activator and `-h theta` for a repressor,
with `theta = z^h / (K^h + z^h)` the part of its promoters that is occupied; the gain of the cascade is their product
(`gain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import actionopt as ao

KINDS = ("activator", "repressor")
# (log beta, log K, log h) of the cascade that gives the targets, gene after gene, repeated where it is longer
PARAMETERS = ((0.7, 0.0, 0.7), (0.3, 0.2, 0.4), (0.0, -0.3, 0.9))


class Gene(ao.Module):
    """A gene regulated by one transcription factor, at steady state."""

    in_size, out_size, weight_size = 1, 1, 3

    def __init__(self, kind: str = "activator", name: str | None = None) -> None:
        if kind not in KINDS:
            raise ao.InputError(f"a gene's kind must be activator or repressor, got {kind!r}")
        super().__init__(name=name or kind)
        self.kind = kind

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        log_beta, log_k, log_h = ops.unpack(w, (1,), (1,), (1,))
        # log(z^h / (K^h + z^h)) = -softplus(-h log(z / K)): the tiny levels of a silent gene keep their digits
        drive = ops.exp(log_h) * (ops.log(z) - log_k)
        return ops.exp(log_beta - ops.softplus(-drive if self.kind == "activator" else drive))

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return 0.3 * rng.standard_normal(3)


def build(
    genes: int | Sequence[str] = 3,
    doses: int = 12,
    noise: float = 0.0,
    mass: float = 0.1,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> ao.Problem:
    """Return the problem with `3 * genes` weights.

    Parameters
    ----------
    genes : int or sequence of "activator" and "repressor"
        The cascade from the signal on; a number stands for so many activators.
    doses : int
        Number of samples, concentrations of the signal from 0.1 to 10, evenly spaced in the logarithm.
    noise : float
        Relative noise on the targets, log-normal.
    """
    kinds = ["activator"] * genes if isinstance(genes, int) else list(genes)
    modules = [Gene(kind) for kind in kinds]
    signal = np.geomspace(0.1, 10.0, doses)[:, None]
    source = ao.Problem(modules, signal, np.zeros(doses), ao.SquaredError())
    targets = source.outputs(solution(len(kinds)))
    targets = targets * np.exp(noise * np.random.default_rng(seed).standard_normal(targets.shape))
    return ao.Problem(
        modules, signal, targets, ao.SquaredError(), mass=mass, weight_decay=weight_decay, name="gene cascade"
    )


def solution(genes: int = 3) -> np.ndarray:
    """Return the weights `(3 * genes,)` that give the targets: energy 0 without noise and weight decay."""
    return np.concatenate([PARAMETERS[i % len(PARAMETERS)] for i in range(genes)])


def gain(problem: ao.Problem, w: np.ndarray) -> np.ndarray:
    """Return the logarithmic gain `d log z_L / d log z_0` at each dose `(B,)`, as the product over the genes."""
    total, z = np.ones(problem.samples), problem.inputs[:, 0]
    for gene, (log_beta, log_k, log_h) in zip(problem.modules, problem.unflatten(w), strict=True):
        h, occupied = np.exp(log_h), 1.0 / (1.0 + (z / np.exp(log_k)) ** -np.exp(log_h))
        activates = gene.kind == "activator"
        total = total * (h * (1.0 - occupied) if activates else -h * occupied)
        z = np.exp(log_beta) * (occupied if activates else 1.0 - occupied)
    return total


def known(noise: float, weight_decay: float, **options: object) -> dict[str, float]:
    """Return the least energy, where it is known."""
    return {"energy": 0.0} if noise == weight_decay == 0.0 else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
