"""Training as a constrained problem."""

from actionopt.constrained.check import AdjointCheck, ModuleCheck, check_adjoints

__all__ = ["AdjointCheck", "ModuleCheck", "check_adjoints"]
