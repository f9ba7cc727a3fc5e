"""Denoise many files at once: while the network works on one, others are read and written.

Jobs enter, records leave as files are done.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

from threadpoolctl import threadpool_limits

from pellucid import io
from pellucid.batch.job import Work, fingerprint, process
from pellucid.batch.ledger import FolderLedger, Ledger, Record
from pellucid.batch.parts import StoreLedger
from pellucid.batch.plan import Job
from pellucid.batch.storage import FolderStore, ObjectStore, Store, open_store
from pellucid.errors import ParameterError
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions
from pellucid.paths import make_folder

#: Files in work at once: one has the network, the others are read and written meanwhile.
N_AT_ONCE = 3


class _StoppedError(BaseException):
    """The run is being ended; not an Exception, since nothing is wrong with the file."""


class Cluster(Protocol):
    """Machines that do the work on files."""

    def records(self, work: Work, tasks: list[tuple[Job, Record | None]]) -> Generator[Record]:
        """Do jobs, of whose results a ledger may say something already; give the record of each once it is done."""


class Batch:
    """A run over many files into one folder or store.

    Parameters
    ----------
    jobs : iterable of Job
    output : str or Path
        A folder, made if it does not exist; or a URL.
    settings : DenoiseOptions
    overwrite : bool
        Make all results anew, also those that are done.

    Attributes
    ----------
    n_done_before : int
        Jobs of which the ledger says that they are done, and whose results are there.
    jobs : list of Job
        What is left.
    report : str
        Where the ledger lies.

    Raises
    ------
    ParameterError, ModelError
        The settings cannot be used, or those of the results that are there are others.
    OutputError
        The folder cannot be written to, or another run is at work in it.
    """

    def __init__(
        self, jobs: Iterable[Job], output: str | Path, settings: DenoiseOptions, *, overwrite: bool = False
    ) -> None:
        self._overwrite = overwrite
        self._fingerprint = fingerprint(settings)
        self._denoiser = FileDenoiser(settings)
        self._denoiser.warm_up()
        self._output = open_store(str(output))
        planned = list(jobs)
        self._ledger = _open_ledger(self._output)
        with ExitStack() as on_error:
            on_error.callback(self._ledger.close)
            if not overwrite:
                self._refuse_other_settings()
            if isinstance(self._output, FolderStore):
                _remove_leftovers(self._output.folder, planned)
            self.jobs = planned if overwrite else self._left_to_do(planned)
            on_error.pop_all()
        self.n_done_before = len(planned) - len(self.jobs)
        self.report = self._ledger.location

    def run(self, cluster: Cluster | None = None) -> Generator[Record]:
        """Do what is left, here or on a cluster; yield each record once it is in the ledger.

        An interrupt, or closing the iterator, ends the work within a tile's time and leaves nothing half-written.

        Raises
        ------
        OutputError
            The disk is full.
        ClusterError
            The cluster cannot go on.
        """
        with self._ledger:
            yield from self._in_threads() if cluster is None else self._on(cluster)

    def _on(self, cluster: Cluster) -> Iterator[Record]:
        tasks = [(job, self._ledger.made.get(job.path)) for job in self.jobs]
        work = Work(self._output.location, self._denoiser.options, self._fingerprint, self._overwrite)
        # What cannot be shut is left to the cluster: its processes end with ours.
        with closing(cluster.records(work, tasks)) as records:
            for record in records:
                self._ledger.append(record)
                yield record

    def _in_threads(self) -> Iterator[Record]:
        stopping = threading.Event()

        def work(job: Job) -> Record:
            record = process(
                job,
                self._output,
                self._denoiser,
                self._fingerprint,
                known=self._ledger.made.get(job.path),
                overwrite=self._overwrite,
                progress=lambda _done, _tiles: _stop_if(stopping),
            )
            self._ledger.append(record)
            return record

        # The network has all processors. Estimates beside it are not to ask for all of them once more: threads of BLAS
        # that wait for each other, and the network for them, cost a quarter of its speed.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(N_AT_ONCE) as pool:
            try:
                yield from _as_completed(pool.submit, work, self.jobs)
            except BaseException:
                stopping.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _refuse_other_settings(self) -> None:
        for record in self._ledger.made.values():
            if record.settings != self._fingerprint and self._output.size(record.path) is not None:
                raise ParameterError(
                    f"{self._output.location}: its results were made with other settings or another model: "
                    "name another folder, or pass --overwrite to make all of them anew"
                )

    def _left_to_do(self, planned: list[Job]) -> list[Job]:
        """Leave out what the ledger knows and is there, with the bytes that it says."""
        made = self._ledger.made
        there = self._output.sizes(job.path for job in planned if job.path in made) if made else {}
        return [job for job in planned if job.path not in there or there[job.path] != made[job.path].n_bytes]


def _open_ledger(output: Store) -> Ledger:
    if isinstance(output, ObjectStore):
        return StoreLedger(output)
    folder = Path(output.location)
    make_folder(folder)
    return FolderLedger(folder)


def _remove_leftovers(output: Path, jobs: list[Job]) -> None:
    """Remove what a killed run was writing; no other run is at work, since we have the ledger."""
    for folder in {(output / job.path).parent for job in jobs}:
        io.remove_leftovers(folder)


def _stop_if(stopping: threading.Event) -> None:
    if stopping.is_set():
        raise _StoppedError


def _as_completed(
    submit: Callable[[Callable[[Job], Record], Job], Future[Record]],
    work: Callable[[Job], Record],
    jobs: Iterable[Job],
) -> Iterator[Record]:
    """Submit jobs, only a few ahead of the work; yield what they give as it comes."""
    waiting: set[Future[Record]] = set()
    for job in jobs:
        waiting.add(submit(work, job))
        if len(waiting) >= 2 * N_AT_ONCE:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)
