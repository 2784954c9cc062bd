"""Array namespaces: one formula, evaluated on NumPy batches, differentiated, recorded, or symbolic.

A formula receives its namespace as `ops` and calls nothing else, so the namespace decides what the arrays are.
Shapes: features are the last axis, samples the one before, anything in front is a leading axis (the nodes of a
trajectory, a stack of tangents). On the CasADi side there is one sample and there are no leading axes.
"""

from actionopt.ops.array import NUMPY, ArrayOps
from actionopt.ops.base import Ops
from actionopt.ops.casadi import CASADI, CasadiOps
from actionopt.ops.dual import Dual, DualOps, duals_over
from actionopt.ops.interval import INTERVAL, IntervalOps, KinkError
from actionopt.ops.jets import JetOps, jets_over
from actionopt.ops.linear import LinearOps
from actionopt.ops.linear_program import LinearProgram
from actionopt.ops.rounded import Interval
from actionopt.ops.tape import Linear

__all__ = [
    "CASADI",
    "INTERVAL",
    "NUMPY",
    "ArrayOps",
    "CasadiOps",
    "Dual",
    "DualOps",
    "Interval",
    "IntervalOps",
    "JetOps",
    "KinkError",
    "Linear",
    "LinearOps",
    "LinearProgram",
    "Ops",
    "duals_over",
    "jets_over",
]
