"""Progress of stages on stderr: a bar on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stage_bar(total: int, show: bool) -> Iterator[Callable[[str], None]]:
    """Yield `begin(title)`, which names the stage that begins and counts those before it as done."""
    if not show:
        yield lambda title: None
    elif sys.stderr.isatty():
        with _bar(total) as begin:
            yield begin
    else:
        yield _lines(total)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    from tqdm import tqdm

    with tqdm(total=total, bar_format="{n_fmt}/{total_fmt} {bar:20} {elapsed} {desc}", leave=False) as bar:
        begun = 0

        def begin(title: str) -> None:
            nonlocal begun
            bar.update(1 if begun else 0)
            begun += 1
            bar.set_description_str(title)

        yield begin


def _lines(total: int) -> Callable[[str], None]:
    """Write a line as each stage begins: logs of batch systems and CI keep them."""
    began, count = time.perf_counter(), 0

    def begin(title: str) -> None:
        nonlocal count
        count += 1
        print(f"{count}/{total}  {time.perf_counter() - began:5.1f} s  {title}", file=sys.stderr, flush=True)

    return begin
