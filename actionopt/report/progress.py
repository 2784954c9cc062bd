"""A progress bar of stages on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stage_bar(total: int, show: bool) -> Iterator[Callable[[str, str], None]]:
    """Yield `report(title, event)`: the bar names the stage that runs and moves on at its end."""
    if not show:
        yield lambda title, event: None
        return
    from tqdm import tqdm

    with tqdm(total=total, bar_format="{n_fmt}/{total_fmt} {bar:20} {elapsed} {desc}", leave=False) as bar:

        def report(title: str, event: str) -> None:
            bar.set_description_str(title)
            if event != "start":
                bar.update()

        yield report
