"""Mini-batch descent in the layerwise metric."""

from actionopt.descent.descend import descend
from actionopt.descent.result import Descent

__all__ = ["Descent", "descend"]
