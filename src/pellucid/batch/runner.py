"""Run a batch: while the network denoises one file, others are read and written."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

from threadpoolctl import threadpool_limits

from pellucid import io
from pellucid.batch.job import JobSpec, fingerprint, process_job
from pellucid.batch.ledger import FolderLedger, Ledger, LedgerEntry, StoreLedger
from pellucid.batch.plan import BatchJob
from pellucid.batch.storage import FolderStore, ObjectStore, open_store
from pellucid.errors import ParameterError, TooManyFailedError
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions
from pellucid.paths import make_folder

#: One file has the network while others are read and written.
N_THREADS = 3
#: The error rate of fewer files is not significant.
MIN_DONE = 20


class _StoppedError(BaseException):
    """The run is being stopped; not an Exception, since nothing is wrong with the file."""


class Cluster(Protocol):
    """Machines that process jobs."""

    def process(self, spec: JobSpec, tasks: list[tuple[BatchJob, LedgerEntry | None]]) -> Generator[LedgerEntry]:
        """Process jobs, each with the ledger's entry of an earlier result; yield entries as they are done."""


class Batch:
    """A run over many files into one folder, created if missing, or a URL.

    With `overwrite` all files are processed again, also those that are done. Otherwise existing results must have been
    made with the same options and model. Only one run at a time can write to an output.
    """

    def __init__(
        self, jobs: Iterable[BatchJob], output: str | Path, options: DenoiseOptions, *, overwrite: bool = False
    ) -> None:
        self._overwrite = overwrite
        self._fingerprint = fingerprint(options)
        self._denoiser = FileDenoiser(options)
        self._denoiser.warm_up()
        self._output = open_store(str(output))
        planned = list(jobs)
        self._ledger = self._open_ledger()
        with ExitStack() as on_error:
            on_error.callback(self._ledger.close)
            if not overwrite:
                self._check_fingerprints()
            if isinstance(self._output, FolderStore):
                # Of a killed run: no other one is active, since the ledger is locked.
                for folder in {(self._output.folder / job.path).parent for job in planned}:
                    io.remove_leftovers(folder)
            #: What is left to do.
            self.jobs = planned if overwrite else self._not_done(planned)
            on_error.pop_all()
        #: Jobs that are done according to the ledger, and whose results exist.
        self.n_done_before = len(planned) - len(self.jobs)
        #: Path or URL of the ledger.
        self.report = self._ledger.location

    def run(self, cluster: Cluster | None = None) -> Generator[LedgerEntry]:
        """Process what is left, here or on a cluster; yield each entry once it is in the ledger.

        An interrupt, or closing the generator, stops the run within a tile's time and leaves no partial file.
        """
        with self._ledger:
            yield from self._run_in_threads() if cluster is None else self._run_on(cluster)

    def _run_on(self, cluster: Cluster) -> Iterator[LedgerEntry]:
        tasks = [(job, self._ledger.done.get(job.path)) for job in self.jobs]
        spec = JobSpec(self._output.location, self._denoiser.options, self._fingerprint, self._overwrite)
        with closing(cluster.process(spec, tasks)) as entries:
            for entry in entries:
                self._ledger.append(entry)
                yield entry

    def _run_in_threads(self) -> Iterator[LedgerEntry]:
        stopping = threading.Event()

        def stop_if_asked(_done: int, _tiles: int) -> None:
            if stopping.is_set():
                raise _StoppedError

        def work(job: BatchJob) -> LedgerEntry:
            entry = process_job(
                job,
                self._output,
                self._denoiser,
                self._fingerprint,
                known=self._ledger.done.get(job.path),
                overwrite=self._overwrite,
                progress=stop_if_asked,
            )
            self._ledger.append(entry)
            return entry

        # The network uses all processors. If noise estimates beside it used as many BLAS threads, waiting for each
        # other would cost a quarter of its speed.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(N_THREADS) as pool:
            try:
                yield from _as_completed(pool, work, self.jobs)
            except BaseException:
                stopping.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _open_ledger(self) -> Ledger:
        if isinstance(self._output, ObjectStore):
            return StoreLedger(self._output)
        make_folder(self._output.folder)
        return FolderLedger(self._output.folder)

    def _check_fingerprints(self) -> None:
        for entry in self._ledger.done.values():
            if entry.settings != self._fingerprint and self._output.size(entry.path) is not None:
                raise ParameterError(
                    f"{self._output.location}: its results were made with other options or another model: "
                    "choose another folder, or pass --overwrite to make all of them again"
                )

    def _not_done(self, planned: list[BatchJob]) -> list[BatchJob]:
        """Drop jobs whose result exists with the size that the ledger has."""
        done = self._ledger.done
        sizes = self._output.sizes(job.path for job in planned if job.path in done) if done else {}
        return [job for job in planned if job.path not in sizes or sizes[job.path] != done[job.path].n_bytes]


def limit_error_rate(max_error_rate: float | None, entries: Generator[LedgerEntry]) -> Generator[LedgerEntry]:
    """Pass entries on; raise TooManyFailedError once more than a share, from 0 to 1, of `MIN_DONE` or more failed."""
    if max_error_rate is not None and not 0 <= max_error_rate <= 1:
        raise ParameterError(f"max-error-rate {max_error_rate}: must be from 0 to 1")
    return _limited(1.0 if max_error_rate is None else max_error_rate, entries)


def _limited(max_error_rate: float, entries: Generator[LedgerEntry]) -> Generator[LedgerEntry]:
    n_failed = 0
    with closing(entries):
        for n_done, entry in enumerate(entries, 1):
            yield entry
            n_failed += entry.status == "failed"
            if n_done >= MIN_DONE and n_failed > max_error_rate * n_done:
                raise TooManyFailedError(
                    f"{n_failed} of {n_done} files failed, more than --max-error-rate {max_error_rate:g} allows: "
                    "fix what is wrong with them, and start the same command again"
                )


def _as_completed(
    pool: ThreadPoolExecutor, work: Callable[[BatchJob], LedgerEntry], jobs: Iterable[BatchJob]
) -> Iterator[LedgerEntry]:
    """Submit jobs, only a few ahead of the work; yield entries as they complete."""
    waiting: set[Future[LedgerEntry]] = set()
    for job in jobs:
        waiting.add(pool.submit(work, job))
        if len(waiting) >= 2 * N_THREADS:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)
