"""Progress of action solvers."""

from actionopt.progress import progress_bar

__all__ = ["progress_bar"]
