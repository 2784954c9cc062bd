"""A chain of continuous stirred tanks: A -> B -> C, first order; sizes and temperatures adapt. No network.

Each module is one tank at steady state. Its state is the pair of concentrations (A, B); with the residence time tau and
the two rate constants, the balances of A and B give

    A_out = A / (1 + k1 tau),        B_out = (B + k1 tau A_out) / (1 + k2 tau),

and C is what remains. The rate constants follow Arrhenius, `k_i = exp(e_i theta)` in units of their value at the
reference temperature, with `theta = 1 - T_ref / T` and e_i the activation energy over R T_ref. The weights of a tank
are `(log tau, theta)`: no weights mean a negative volume. A **sample** is a feed.

Source
------
Stirred tanks in series and series reactions: H. S. Fogler, Elements of Chemical Reaction Engineering, 5th ed.,
Prentice Hall 2016, chapters 5 and 8.

Known answer
------------
"target": the effluents of a chain with known tanks (`solution`) are the targets, so the least energy is 0.
"yield": the energy is minus the B in the effluent of the feed A = 1. One tank at the reference temperature yields the
most B, `k1 / (sqrt k1 + sqrt k2)^2`, at `tau = 1 / sqrt(k1 k2)` (`best_single_tank`). A chain of n equal tanks leaves
`A / (1 + k1 tau)^n`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import actionopt as ao

OBJECTIVES = ("target", "yield")
PARAMETERS = ((-0.5, 0.1), (0.2, -0.1), (0.5, 0.05))  # (log tau, theta) of the tanks that give the targets


class Tank(ao.Module):
    """A continuous stirred tank at steady state with the reactions A -> B -> C."""

    in_size, out_size, weight_size = 2, 2, 2

    def __init__(
        self, rates: tuple[float, float], energies: tuple[float, float], heated: bool = True, name: str = "tank"
    ) -> None:
        super().__init__(weight_size=2 if heated else 1, name=name)
        self.rates, self.energies, self.heated = rates, energies, heated

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        log_tau, theta = ops.unpack(w, (1,), (1,)) if self.heated else (ops.unpack(w, (1,)), 0.0)
        first, second = (
            k * ops.exp(log_tau + e * theta) for k, e in zip(self.rates, self.energies, strict=True)
        )  # Damkoehler numbers k tau
        a, b = ops.columns(z)
        a_out = a / (1.0 + first)
        return ops.concatenate([a_out, (b + first * a_out) / (1.0 + second)])

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return np.array([0.3, 0.05])[: self.weight_size] * rng.standard_normal(self.weight_size)


def lost_yield(ops: Any, y: Any, target: Any) -> Any:
    """Return minus the concentration of B, `(..., B)`."""
    return -1.0 * ops.columns(y)[1]


def build(
    tanks: int = 3,
    objective: str = "target",
    k1: float = 1.0,
    k2: float = 0.3,
    e1: float = 6.0,
    e2: float = 9.0,
    heated: bool = True,
    feeds: int = 5,
    mass: float = 0.1,
    weight_decay: float = 0.0,
) -> ao.Problem:
    """Return the problem with two weights a tank, or one where the tanks are not heated.

    Parameters
    ----------
    tanks : int
        Length of the chain.
    objective : "target" or "yield"
        Reach given effluents, or make the most B.
    k1, k2 : float
        Rate constants at the reference temperature, per unit of time.
    e1, e2 : float
        Activation energies over R T_ref.
    heated : bool
        Whether temperatures adapt too.
    feeds : int
        Number of samples: feeds of A from 0.5 to 2, with some B in all but the first. The yield is asked of the one
        feed A = 1.
    """
    if objective not in OBJECTIVES:
        raise ao.InputError(f"objective must be target or yield, got {objective!r}")
    modules = [Tank((k1, k2), (e1, e2), heated) for _ in range(tanks)]
    if objective == "yield":
        return ao.Problem(
            modules, [[1.0, 0.0]], None, ao.CustomLoss(lost_yield, "lost yield"), mass=mass, output_metric="euclidean",
            weight_decay=weight_decay, name="yield of a reaction chain",
        )  # fmt: skip
    inputs = np.stack([np.linspace(0.5, 2.0, feeds), np.linspace(0.0, 0.6, feeds)], axis=1)
    source = ao.Problem(modules, inputs, np.zeros((feeds, 2)), ao.SquaredError())
    targets = source.outputs(solution(tanks, heated))
    return ao.Problem(
        modules, inputs, targets, ao.SquaredError(), mass=mass, weight_decay=weight_decay, name="reaction chain"
    )


def solution(tanks: int = 3, heated: bool = True) -> np.ndarray:
    """Return the weights that give the targets."""
    return np.concatenate([PARAMETERS[i % len(PARAMETERS)][: 2 if heated else 1] for i in range(tanks)])


def best_single_tank(k1: float = 1.0, k2: float = 0.3) -> tuple[float, float]:
    """Return the residence time of one tank that makes the most B from A, and the part of A that becomes B."""
    return 1.0 / np.sqrt(k1 * k2), k1 / (np.sqrt(k1) + np.sqrt(k2)) ** 2


def known(objective: str, weight_decay: float, **options: object) -> dict[str, float]:
    """Return the least energy, where it is known."""
    return {"energy": 0.0} if objective == "target" and weight_decay == 0.0 else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
