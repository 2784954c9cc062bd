"""Riemannian optimization in modular systems: training as a constrained problem, gradient flow as minimum action."""

from actionopt.action.flow import flow
from actionopt.action.lagrangian import Drift, Lagrangian
from actionopt.action.minimize import minimize_action
from actionopt.action.trajectory import Trajectory
from actionopt.backprop import Adjoints, adjoints
from actionopt.errors import InputError, SolverError
from actionopt.loading import load_problem
from actionopt.losses import CustomLoss, Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from actionopt.modules import Activation, Chain, Dense, Module, Parallel, Parameter, Residual
from actionopt.problem import Problem

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Adjoints",
    "Chain",
    "CustomLoss",
    "Dense",
    "Drift",
    "InputError",
    "Lagrangian",
    "Logistic",
    "Loss",
    "Module",
    "Parallel",
    "Parameter",
    "Problem",
    "Residual",
    "SoftmaxCrossEntropy",
    "SolverError",
    "SquaredError",
    "Trajectory",
    "adjoints",
    "flow",
    "load_problem",
    "minimize_action",
]
