"""A progress bar on stderr that costs nothing when nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int | None, what: str, show: bool) -> Iterator[Callable[..., None]]:
    """Yield a function to call after each step, with an optional note to show beside the bar."""
    if not show:
        yield lambda note=None: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, leave=False) as bar:

        def tick(note: str | None = None) -> None:
            bar.update()
            if note is not None:
                bar.set_postfix_str(note)

        yield tick
