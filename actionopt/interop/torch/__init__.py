"""The layerwise step as an optimiser for PyTorch (`pip install 'actionopt[torch]'`)."""

from actionopt.interop.torch.optimiser import Layerwise

__all__ = ["Layerwise"]
