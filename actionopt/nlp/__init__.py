"""CasADi's NLP solvers behind one door."""

from actionopt.nlp.plugins import Derivatives, check_solver, installed_solvers
from actionopt.nlp.solver import NlpSolution, NlpSolver, Stages

__all__ = ["Derivatives", "NlpSolution", "NlpSolver", "Stages", "check_solver", "installed_solvers"]
