"""A progress bar on stderr that costs nothing when nobody watches."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(total: int | None, what: str, show: bool) -> Iterator[Callable[..., None]]:
    """Yield a function to call after each step, with an optional note to show beside the bar."""
    if not show:
        yield lambda note=None: None
        return
    tqdm = _bar()

    with tqdm(total=total, desc=what, leave=False) as bar:

        def tick(note: str | None = None) -> None:
            bar.update()
            if note is not None:
                bar.set_postfix_str(note)

        yield tick


def _bar() -> Any:
    """Return the bar that fits: in a notebook that has widgets one of them, else one of characters."""
    if "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm

        return tqdm
    from tqdm import tqdm

    return tqdm
