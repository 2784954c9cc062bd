"""The functions that CasADi's NLP plugins ask of a program, handed over instead of derived.

A plugin looks for each of its functions in its cache before it differentiates the program's graph. What a plugin that
is not listed here asks for, CasADi derives, as usual.
"""

from __future__ import annotations

import casadi as ca

_POINT, _BOTH = ["x", "p"], ["x", "p", "lam_f", "lam_g"]
_SQP = {"nlp_jac_fg": ["f", "grad_f_x", "g", "jac_g_x"], "nlp_hess_l": ["hess_gamma_x_x"]}
_COMMON = {"nlp_grad": ["f", "g", "grad_gamma_x", "grad_gamma_p"]}
PLUGINS = {
    "ipopt": {"nlp_grad_f": ["f", "grad_f_x"], "nlp_jac_g": ["g", "jac_g_x"], "nlp_hess_l": ["triu_hess_gamma_x_x"]},
    "fatrop": {
        "nlp_grad_f": ["grad_f_x"],
        "nlp_jac_g": ["g", "jac_g_x"],
        "nlp_hess_l": ["grad_gamma_x", "hess_gamma_x_x"],
    },
    "sqpmethod": _SQP,
    "qrsqp": _SQP,
    "feasiblesqpmethod": {"nlp_grad_f": ["grad_f_x"], "nlp_jac_g": ["jac_g_x"], "nlp_hess_l": ["hess_gamma_x_x"]},
    "blocksqp": {"nlp_gf_jg": ["f", "g", "grad_f_x", "jac_g_x"], "nlp_hess_l": ["triu_hess_gamma_x_x"]},
}


def oracle(program: dict[str, ca.MX], solver: str) -> dict[str, ca.Function]:
    """Return the functions of a transcribed program under the names that a plugin looks for; none if it is unknown.

    Parameters
    ----------
    program : dict
        Expressions under CasADi's names, as `casadi_transcription.transcribe` returns them.
    solver : str
    """
    functions = {}
    asked = {**PLUGINS[solver], **_COMMON} if solver in PLUGINS else {}
    for name, outputs in asked.items():
        inputs = _BOTH if name in ("nlp_hess_l", "nlp_grad") else _POINT
        functions[name] = ca.Function(
            name, [program[i] for i in inputs], [program[o] for o in outputs], inputs, outputs
        )
    return functions
