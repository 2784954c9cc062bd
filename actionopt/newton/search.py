"""What minimisers that go from point to point share: how a run begins, and what ends it whatever the step."""

from __future__ import annotations

from abc import ABC, abstractmethod

from actionopt.newton.point import Minimum, Point, Watch, size_of

UNBOUNDED = 1e15  # the value fell by this times its size at the start


class Search(ABC):
    """A minimiser; its `_run` moves the point of a result until it sets a status or is converged."""

    watch: Watch | None

    def minimize(self, start: Point) -> Minimum:
        """Minimise from a point whose value is finite, within bounds if there are any; Ctrl-C keeps the best point."""
        result = Minimum(start, "iteration limit")
        try:
            self._run(result)
        except KeyboardInterrupt:
            result.status = "interrupted"
        return result

    @abstractmethod
    def _run(self, result: Minimum) -> None:
        """Go on from the point of the result."""

    def _ended(self, result: Minimum, floor: float) -> bool:
        """Whether the watch wants an end, or the value fell below the floor; the status then says so."""
        stop = self.watch(result.iterations, result.point) if self.watch else None
        if stop is None and result.point.value < floor:
            stop = "unbounded"
        if stop is not None:
            result.status = stop
        return stop is not None


def floor_of(start: Point) -> float:
    """Return the value below which a function counts as unbounded, relative to its size at the start."""
    return -UNBOUNDED * size_of(start)
