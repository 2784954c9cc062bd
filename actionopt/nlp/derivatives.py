"""The functions that CasADi's NLP plugins ask of a program, handed over instead of derived.

CasADi's own derivatives come from one graph of the whole program and take long to build where it is made of many like
parts. A plugin looks for each of its functions in its cache before it differentiates; what a plugin that is not listed
here asks for, CasADi derives, as usual.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca

# under which names a plugin looks for its functions, and what they return in CasADi's own words: `gamma` is the
# Lagrangian lam_f f + lam_g^T g, `triu` the upper triangle
_SQP = {"nlp_jac_fg": ("f", "grad_f_x", "g", "jac_g_x"), "nlp_hess_l": ("hess_gamma_x_x",)}
PLUGINS: dict[str, dict[str, tuple[str, ...]]] = {
    "ipopt": {"nlp_grad_f": ("f", "grad_f_x"), "nlp_jac_g": ("g", "jac_g_x"), "nlp_hess_l": ("triu_hess_gamma_x_x",)},
    "fatrop": {
        "nlp_grad_f": ("grad_f_x",),
        "nlp_jac_g": ("g", "jac_g_x"),
        "nlp_hess_l": ("grad_gamma_x", "hess_gamma_x_x"),
    },
    "uno": {"nlp_jac_g": ("jac_g_x",), "nlp_hess_l": ("triu_hess_gamma_x_x",)},
    "sqpmethod": _SQP,
    "qrsqp": _SQP,
    "feasiblesqpmethod": {"nlp_grad_f": ("grad_f_x",), "nlp_jac_g": ("jac_g_x",), "nlp_hess_l": ("hess_gamma_x_x",)},
    "blocksqp": {"nlp_gf_jg": ("f", "g", "grad_f_x", "jac_g_x"), "nlp_hess_l": ("triu_hess_gamma_x_x",)},
}

FALLEN = -1e20  # a scaled objective below which fatrop is told to go no further down
HUGE = 1e290  # what stands for an infinite objective where a plugin would never return from it
LARGE = 1e50  # and for derivatives that are larger, infinite or NaN: what is made of their products stays finite


def takes_gradient(solver: str) -> bool:
    """Whether a plugin takes every derivative it asks for, so that CasADi need not differentiate the program at all."""
    return any("grad_f_x" in outputs for outputs in PLUGINS.get(solver, {}).values())


@dataclass(frozen=True)
class Derivatives:
    """Derivatives whose structure is known, given to a solver instead of CasADi's own.

    Attributes
    ----------
    jacobian : expression (ng, nx)
        dg/dx, in x and p.
    hessian : expression (nx, nx)
        Hessian of `lam_f f + lam_g^T g` in x, both triangles. Where the constraints alone decide every step (as many
        equations as unknowns), any positive definite matrix serves.
    lam_f, lam_g : symbols
        Multipliers that the Hessian contains.
    gradient : expression (nx,), optional
        df/dx; CasADi's own where None.
    """

    jacobian: Any
    hessian: Any
    lam_f: Any
    lam_g: Any
    gradient: Any = None


@dataclass(frozen=True)
class Program:
    """A program whose objective is multiplied by a parameter: `sigma f(x, p)`, subject to bounds on `g(x, p)`.

    Attributes
    ----------
    x, p, sigma : symbols
    f, g : expressions
        The objective without sigma, and the constraints.
    given : Derivatives, optional
    """

    x: Any
    p: Any
    sigma: Any
    f: Any
    g: Any
    given: Derivatives | None = None

    @property
    def parameters(self) -> Any:
        return ca.vertcat(self.p, self.sigma)

    def as_casadi(self) -> dict[str, Any]:
        """Return the program as `nlpsol` takes it."""
        return {"x": self.x, "f": self.sigma * self.f, "g": self.g, "p": self.parameters}

    def residual(self) -> ca.Function:
        """Return `(x, p, lam_g) -> df/dx, J^T lam_g, g, f`, the objective without sigma."""
        given = self.given
        lam_g = type(self.x).sym("lam_g", self.g.numel())
        if given is None or given.gradient is None:
            gradient = ca.gradient(self.f, self.x)
        else:
            gradient = given.gradient
        pulled = ca.jtimes(self.g, self.x, lam_g, True) if given is None else ca.mtimes(given.jacobian.T, lam_g)
        outputs = [ca.densify(value) for value in (gradient, pulled, self.g, self.f)]
        return ca.Function("residual", [self.x, self.p, lam_g], outputs)

    def cache(self, solver: str) -> dict[str, ca.Function]:
        """Return the functions under the names that a plugin looks for; none if derivatives or plugin are unknown."""
        if self.given is None and solver != "fatrop":
            return {}
        given = self.given or self._derived()
        scaled = self._scaled_hessian(given)
        expression: dict[str, Callable[[], Any]] = {
            "f": lambda: self.sigma * self.f,
            "g": lambda: self.g,
            "grad_f_x": lambda: ca.densify(self.sigma * self._gradient(given)),
            "jac_g_x": lambda: given.jacobian,
            "grad_gamma_x": lambda: ca.densify(
                given.lam_f * self.sigma * self._gradient(given) + ca.mtimes(given.jacobian.T, given.lam_g)
            ),
            "hess_gamma_x_x": lambda: scaled,
            "triu_hess_gamma_x_x": lambda: ca.triu(scaled),
        }
        point, both = [self.x, self.parameters], [self.x, self.parameters, given.lam_f, given.lam_g]
        # not where Python evaluates, which stops fatrop by failing: what was clamped before would stand in for it
        symbolic = self.given is None or self.given.gradient is None
        wary = _finite if solver == "fatrop" and symbolic else lambda value: value
        functions = {
            name: ca.Function(
                name,
                both if name == "nlp_hess_l" else point,
                [wary(expression[output]()) for output in outputs],
                ["x", "p", "lam_f", "lam_g"] if name == "nlp_hess_l" else ["x", "p"],
                list(outputs),
            )
            for name, outputs in PLUGINS.get(solver, {}).items()
        }
        if solver == "fatrop":
            functions["nlp_f"] = ca.Function("nlp_f", point, [_guarded(self.sigma * self.f)], ["x", "p"], ["f"])
        return functions

    def _gradient(self, given: Derivatives) -> Any:
        return ca.gradient(self.f, self.x) if given.gradient is None else given.gradient

    def _scaled_hessian(self, given: Derivatives) -> Any:
        function = ca.Function("hessian", [self.x, self.p, given.lam_f, given.lam_g], [given.hessian])
        return function(self.x, self.p, given.lam_f * self.sigma, given.lam_g)

    def _derived(self) -> Derivatives:
        kind = type(self.x)
        lam_f, lam_g = kind.sym("lam_f"), kind.sym("lam_g", self.g.numel())
        lagrangian = lam_f * self.f + ca.dot(lam_g, self.g)
        return Derivatives(ca.jacobian(self.g, self.x), ca.hessian(lagrangian, self.x)[0], lam_f, lam_g)


def _guarded(f: Any) -> Any:
    """Return the objective, huge where it is not finite or has fallen without bound: fatrop's search hangs there."""
    return ca.if_else(ca.logic_and(f > FALLEN, f < HUGE), f, HUGE)


def _finite(values: Any) -> Any:
    """Replace what is not finite, or not far from it, by large numbers: fatrop never returns from NaN."""
    if not values.nnz():
        return values
    return type(values)(values.sparsity(), ca.fmin(ca.fmax(values.nz[:], -LARGE), LARGE))
