"""What commands print: errors and remarks on stderr, JSON lines on stdout, progress bars on a terminal."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer


def print_error(error: Exception) -> None:
    """Print an error in one line on stderr."""
    typer.echo(f"pellucid: {error}", err=True)


def print_remark(text: str) -> None:
    """Print a line on stderr."""
    typer.echo(text, err=True)


def print_json(fields: Any) -> None:
    """Print one JSON object as a line on stdout."""
    typer.echo(json.dumps(fields))


@contextmanager
def progress_bar(
    title: str = "", *, unit: str = "", total: int | None = None, show: bool = True
) -> Iterator[Callable[..., None] | None]:
    """Show a progress bar on stderr while the block runs; yield None where stderr is no terminal or `show` is false.

    Parameters
    ----------
    title : str
        Before the bar.
    unit : str
        What is counted, after "3/12"; without it no count is shown.
    total : int, optional
        How many there are, where that is known from the start.

    Yields
    ------
    callable or None
        Called as ``update(n_done, n_total)``, with ``note=`` for a text behind the bar.
    """
    if not show or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    count = (MofNCompleteColumn(), TextColumn(f"{unit}{{task.fields[note]}}")) if unit else ()
    columns = (TextColumn("{task.description}"), BarColumn(), *count, TimeRemainingColumn())
    # The time left follows the last minutes: files come in folders, and those of one folder are alike.
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=120) as bar:
        task = bar.add_task(title, total=total, note="")

        def update(n_done: int, n_total: int, note: str = "") -> None:
            bar.update(task, completed=n_done, total=n_total, note=note)

        yield update
