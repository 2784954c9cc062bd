"""CasADi's NLP solvers behind one door."""

from actionopt.nlp.conic import installed_qp_solvers, solve_qp
from actionopt.nlp.derivatives import Derivatives
from actionopt.nlp.plugins import check_solver, installed_solvers, is_nlp_solver
from actionopt.nlp.solver import NlpSolution, NlpSolver, Stages

__all__ = [
    "Derivatives",
    "NlpSolution",
    "NlpSolver",
    "Stages",
    "check_solver",
    "installed_qp_solvers",
    "installed_solvers",
    "is_nlp_solver",
    "solve_qp",
]
