"""A progress bar of stages on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stage_bar(total: int, show: bool) -> Iterator[Callable[[str], None]]:
    """Yield `begin(title)`, which names the stage that begins and counts those before it as done."""
    if not show:
        yield lambda title: None
        return
    from tqdm import tqdm

    with tqdm(total=total, bar_format="{n_fmt}/{total_fmt} {bar:20} {elapsed} {desc}", leave=False) as bar:
        begun = 0

        def begin(title: str) -> None:
            nonlocal begun
            bar.update(1 if begun else 0)
            begun += 1
            bar.set_description_str(title)

        yield begin
