"""Progress bars on standard error, so that standard output holds results only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def counting(what: str) -> Iterator[Callable[..., None]]:
    """A bar over ``what``; call ``advance(done, total)``, with the number of failures as a third."""
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None, note="", visible=False)

        def advance(done: int, total: int, failed: int = 0) -> None:
            progress.update(
                task, visible=True, completed=done, total=total, note=f"{failed} failed" if failed else ""
            )

        yield advance
