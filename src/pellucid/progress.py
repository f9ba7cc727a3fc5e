"""Progress bar on stderr, shown only on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class ProgressBar:
    """A bar with a title, the count, a note and the time left; shown on a terminal unless `show` is False."""

    def __init__(self, title: str = "", *, total: int | None = None, show: bool = True) -> None:
        self.is_shown = show and sys.stderr.isatty()
        if not self.is_shown:
            return
        from rich.console import Console  # noqa: PLC0415 (slow to import)
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        note = TextColumn("{task.fields[note]}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), note, TimeRemainingColumn())
        # The time left follows the last minutes: the speed changes from folder to folder.
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=120)
        self._task = self._bar.add_task(title, total=total, note="")
        self._bar.start()

    def update(self, n_done: int, n_total: int, note: str = "") -> None:
        """Show how many are done of how many."""
        if self.is_shown:
            self._bar.update(self._task, completed=n_done, total=n_total, note=note)

    def print(self, line: str) -> None:
        """Print a line on stderr, above the bar."""
        if self.is_shown:
            self._bar.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self.is_shown:
            self._bar.stop()
            self.is_shown = False


@contextmanager
def progress_bar(title: str = "", *, total: int | None = None, show: bool = True) -> Iterator[ProgressBar]:
    """Show a progress bar while the block runs; see :class:`ProgressBar`."""
    bar = ProgressBar(title, total=total, show=show)
    try:
        yield bar
    finally:
        bar.close()
