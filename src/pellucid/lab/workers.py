"""Processes that run arms of studies at the same time, one thread each.

A number enters, an executor leaves. It knows nothing of studies. The networks of studies are so small that a second
thread brings them little; two of them side by side are done in half the time.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from loky import ProcessPoolExecutor

_LOOK_EVERY_S = 1.0


@contextmanager
def start_workers(n_workers: int) -> Iterator[Executor]:
    """Start processes, each afresh; end them on leaving, in the middle of their work if that is not done.

    Should this process be killed, they end by themselves.

    Parameters
    ----------
    n_workers : int

    Yields
    ------
    Executor
        A job whose process dies raises ``concurrent.futures.BrokenExecutor``.
    """
    executor = ProcessPoolExecutor(n_workers, initializer=_settle, initargs=(os.getpid(),))
    try:
        yield executor
    finally:
        executor.shutdown(kill_workers=True)


def _settle(parent: int) -> None:
    # A terminal's Ctrl-C comes to every process; the one that started these ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    import torch  # noqa: PLC0415 (in the worker: this process has its own)

    torch.set_num_threads(1)


def _end_with(parent: int) -> None:
    """End this process once that which started it has ended."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)
