"""A genetic toggle switch: two proteins that repress each other, with constant noise or the noise of their reactions.

    u' = rate / (1 + v^hill) - u,    v' = rate / (1 + u^hill) - v

`noise="constant"` has a = I; `noise="langevin"` has that of births and deaths, a = diag(rate / (1 + v^hill) + u,
rate / (1 + u^hill) + v), the chemical Langevin equation with its volume scaled into eps.

Source
------
T. S. Gardner, C. R. Cantor and J. J. Collins, Construction of a genetic toggle switch in Escherichia coli, Nature 403,
339-342 (2000). The noise: D. T. Gillespie, The chemical Langevin equation, Journal of Chemical Physics 113, 297-306
(2000).

Known answer
------------
At rate 3 and hill 2 the stable states have u v = 1 and u + v = 3. The least action from one to the other over all
horizons, by two independent codes: 0.17675882043 with constant noise, 0.09115307955 with the noise of the reactions.
"""

from __future__ import annotations

import actionopt as ao

LABELS = ("u", "v")
POINTS = {
    "u high": (2.618033988749895, 0.3819660112501051),
    "v high": (0.3819660112501051, 2.618033988749895),
}
ACTIONS = {"constant": 0.17675882043, "langevin": 0.09115307955}


def build(noise: str = "langevin", rate: float = 3.0, hill: float = 2.0) -> ao.Drift:
    """Return the drift with its noise."""
    if noise not in ACTIONS:
        raise ao.InputError(f'noise must be "constant" or "langevin", got {noise!r}')

    def births(ops, w):
        u, v = ops.columns(w)
        return ops.concatenate([rate / (1.0 + v**hill), rate / (1.0 + u**hill)])

    return ao.Drift(
        2,
        lambda ops, w: births(ops, w) - w,
        noise=(lambda ops, w: births(ops, w) + w) if noise == "langevin" else None,
        name="toggle switch",
    )


def known(noise: str, rate: float, hill: float) -> dict[str, float]:
    """Return the least action, where it is known."""
    return {"action": ACTIONS[noise]} if (rate, hill) == (3.0, 2.0) else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "path", "--start", "u high", "--end", "v high")
