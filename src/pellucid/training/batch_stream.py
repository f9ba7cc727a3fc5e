"""The batches of a run, made beside the training that uses them.

A sampler enters, an endless stream of batches leaves. It knows nothing of what is in them.
"""

import queue
import threading
from collections.abc import Iterator

import torch

from pellucid.training.datasets import Batch, Sampler


class BatchStream(torch.utils.data.IterableDataset[Batch]):
    """An endless stream of batches, the next ones made while the network works on this one.

    Step s of a run with `n_ranks` processes takes the ``n_ranks * batch_size`` samples from number
    ``s * n_ranks * batch_size`` on, the first `batch_size` of them for rank 0 and so forth: all processes together see
    the samples that one process with the whole batch sees, in its order.

    Parameters
    ----------
    sampler : Sampler
    batch_size : int
        Samples for this process at each step.
    first_step : int
        Where to start; after a stop, the number of steps already taken.
    rank, n_ranks : int
    """

    N_AHEAD = 3

    def __init__(
        self, sampler: Sampler, batch_size: int, *, first_step: int = 0, rank: int = 0, n_ranks: int = 1
    ) -> None:
        self.sampler, self.batch_size, self.first_step = sampler, batch_size, first_step
        self.rank, self.n_ranks = rank, n_ranks
        self._stops: list[threading.Event] = []

    def close(self) -> None:
        """End the threads of all iterations: Lightning leaves its own open when a run ends."""
        for stop in self._stops:
            stop.set()

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end."""
        ready: queue.Queue[Batch | BaseException] = queue.Queue(self.N_AHEAD)
        stop = threading.Event()
        self._stops.append(stop)
        thread = threading.Thread(target=self._fill, args=(ready, stop), name="batches", daemon=True)
        thread.start()
        try:
            while True:
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _fill(self, ready: "queue.Queue[Batch | BaseException]", stop: threading.Event) -> None:
        step = self.first_step
        while not stop.is_set():
            item: Batch | BaseException
            try:
                item = self.sampler.batch((step * self.n_ranks + self.rank) * self.batch_size, self.batch_size)
            except Exception as error:  # handed to the thread that trains, which raises it
                item = error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            step += 1
