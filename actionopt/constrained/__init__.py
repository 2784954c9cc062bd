"""Training as a constrained problem."""

from actionopt.constrained.check import AdjointCheck, ModuleCheck, check_adjoints
from actionopt.constrained.constraint import Constraint
from actionopt.constrained.proximal import proximal_step
from actionopt.constrained.solution import Solution
from actionopt.constrained.train import train

__all__ = ["AdjointCheck", "Constraint", "ModuleCheck", "Solution", "check_adjoints", "proximal_step", "train"]
