"""Training as a constrained problem."""

from actionopt.constrained.check import AdjointCheck, ModuleCheck, check_adjoints
from actionopt.constrained.constraint import Constraint
from actionopt.constrained.control import control
from actionopt.constrained.manifolds import Ball, Positive, Simplex, Stiefel
from actionopt.constrained.plot_adjoints import plot_adjoints
from actionopt.constrained.proximal import proximal_step
from actionopt.constrained.solution import Solution
from actionopt.constrained.train import train

__all__ = [
    "AdjointCheck",
    "Ball",
    "Constraint",
    "ModuleCheck",
    "Positive",
    "Simplex",
    "Solution",
    "Stiefel",
    "check_adjoints",
    "control",
    "plot_adjoints",
    "proximal_step",
    "train",
]
