"""Ways in: fitted networks of other libraries as modules that start at their weights.

Every reader gives the plain parts of a `Problem` (modules, and what else the library knows), so that it stands below
the problem and needs the other library only while it reads.
"""

from actionopt.interop.onnx import read_onnx
from actionopt.interop.onnx_costs import onnx_parts
from actionopt.interop.pretrained import Pretrained
from actionopt.interop.sklearn import SklearnParts, read_sklearn

__all__ = ["Pretrained", "SklearnParts", "onnx_parts", "read_onnx", "read_sklearn"]
