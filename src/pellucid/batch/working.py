"""Denoise many files at once: while the network works on one, others are read and written.

Jobs enter, records leave as files are done.
"""

import errno
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from pellucid import images
from pellucid.batch.ledger import Ledger, Record
from pellucid.batch.planning import Job
from pellucid.catalog import DEFAULT_NAMES, find_model
from pellucid.errors import OutputError, ParameterError, PellucidError
from pellucid.files import FileDenoiser, FileResult, Settings
from pellucid.targets import make_folder
from pellucid.tiling import Progress

#: Files in work at once: one has the network, the others are read and written meanwhile.
N_AT_ONCE = 3
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Of the settings, those that say nothing of what the results are.
_WITHOUT_EFFECT = ("n_threads", "max_pixels", "max_held_bytes")


def fingerprint(settings: Settings) -> str:
    """Name what results depend on, apart from their source: the settings and the models' weights.

    Raises
    ------
    ModelError
        The model cannot be found.
    """
    values = {name: value for name, value in asdict(settings).items() if name not in _WITHOUT_EFFECT}
    names = sorted(DEFAULT_NAMES.values()) if settings.model is None else [settings.model]
    cards = [find_model(name) for name in names]
    values["model"] = [(card.sha256, card.estimator and card.estimator.sha256) for card in cards]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def process(
    job: Job,
    output: Path,
    denoiser: FileDenoiser,
    settings: str,
    *,
    known: Record | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Record:
    """Denoise one file; whatever is wrong with it becomes part of its record.

    Parameters
    ----------
    job : Job
    output : Path
        The folder of all results.
    denoiser : FileDenoiser
        Can be shared between threads.
    settings : str
        Its `fingerprint`.
    known : Record, optional
        What a ledger says of the result.
    overwrite : bool
        Make the result anew if there is one. Otherwise it is left, and checked.
    progress : callable, optional
        Told of the tiles; what it raises ends the work on the file and leaves nothing of it.

    Returns
    -------
    Record

    Raises
    ------
    OutputError
        The disk is full: then all files after it would fail.
    """
    start, target = time.perf_counter(), output / job.path
    record = Record(job.path, str(job.source), "failed", settings)
    try:
        if target.exists() and not overwrite:
            return _left(record, target, known)
        make_folder(target.parent)
        result = denoiser.denoise_file(job.source, target, overwrite=overwrite, progress=progress)
        record = _described(record, result, target)
    except PellucidError as error:
        if isinstance(error, OutputError) and isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
            raise
        record = replace(record, error=str(error))
    except Exception as error:
        # One odd file must not end the work on a million.
        record = replace(record, error=f"{job.source}: {type(error).__name__}: {' '.join(str(error).split())}")
    return replace(record, seconds=round(time.perf_counter() - start, 3))


def _described(record: Record, result: FileResult, target: Path) -> Record:
    return replace(
        record,
        status="ok",
        sigma=round(math.sqrt(sum(sigma**2 for sigma in result.sigmas) / len(result.sigmas)), 2),
        megapixels=result.width_px * result.height_px * result.n_pages / 1e6,
        n_bytes=target.stat().st_size,
        sha256=_sha256(target),
    )


def _left(record: Record, target: Path, known: Record | None) -> Record:
    """Say what a file is that lies where the result belongs."""
    n_bytes = target.stat().st_size
    if known is not None:
        if known.n_bytes == n_bytes:
            return known
        raise OutputError(f"{target}: has changed since it was written; pass --overwrite, or move it away")
    before, after = images.read_header(Path(record.source)), images.read_header(target)
    size = (before.width_px, before.height_px, before.n_pages)
    if size != (after.width_px, after.height_px, after.n_pages):
        raise OutputError(f"{target}: is there already, and of another size; pass --overwrite, or move it away")
    megapixels = math.prod(size) / 1e6
    return replace(record, status="found", megapixels=megapixels, n_bytes=n_bytes, sha256=_sha256(target))


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class _StoppedError(BaseException):
    """The run is being ended; not an Exception, since nothing is wrong with the file."""


class Batch:
    """A run over many files into one folder.

    Parameters
    ----------
    jobs : iterable of Job
    output : Path
        Made if it does not exist.
    settings : Settings
    overwrite : bool
        Make all results anew, also those that are done.

    Attributes
    ----------
    n_done_before : int
        Jobs of which the ledger says that they are done, and whose results are there.
    jobs : list of Job
        What is left.

    Raises
    ------
    ParameterError, ModelError
        The settings cannot be used, or those of the results that are there are others.
    OutputError
        The folder cannot be written to, or another run is at work in it.
    """

    def __init__(self, jobs: Iterable[Job], output: Path, settings: Settings, *, overwrite: bool = False) -> None:
        self._output, self._overwrite = output, overwrite
        self._settings = fingerprint(settings)
        self._denoiser = FileDenoiser(settings)
        self._denoiser.warm_up()
        make_folder(output)
        self._ledger = Ledger(output)
        planned = list(jobs)
        with ExitStack() as on_error:
            on_error.callback(self._ledger.close)
            if not overwrite:
                self._refuse_other_settings()
            self._remove_leftovers(planned)
            self.jobs = planned if overwrite else [job for job in planned if not self._is_done(job)]
            on_error.pop_all()
        self.n_done_before = len(planned) - len(self.jobs)

    def run(self) -> Iterator[Record]:
        """Do what is left; yield each record once it is in the ledger.

        An interrupt, or closing the iterator, ends the work within a tile's time and leaves nothing half-written.

        Raises
        ------
        OutputError
            The disk is full.
        """
        stopping = threading.Event()

        def work(job: Job) -> Record:
            record = process(
                job,
                self._output,
                self._denoiser,
                self._settings,
                known=self._ledger.made.get(job.path),
                overwrite=self._overwrite,
                progress=lambda _done, _tiles: _stop_if(stopping),
            )
            self._ledger.append(record)
            return record

        # The network has all processors. Estimates beside it are not to ask for all of them once more: threads of BLAS
        # that wait for each other, and the network for them, cost a quarter of its speed.
        with self._ledger, threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(N_AT_ONCE) as pool:
            try:
                yield from _as_completed(pool.submit, work, self.jobs)
            except BaseException:
                stopping.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _refuse_other_settings(self) -> None:
        for record in self._ledger.made.values():
            if record.settings != self._settings and (self._output / record.path).exists():
                raise ParameterError(
                    f"{self._output}: its results were made with other settings or another model: "
                    "name another folder, or pass --overwrite to make all of them anew"
                )

    def _remove_leftovers(self, jobs: list[Job]) -> None:
        """Remove what a killed run was writing; no other run is at work, since we have the ledger."""
        for folder in {(self._output / job.path).parent for job in jobs}:
            images.remove_leftovers(folder)

    def _is_done(self, job: Job) -> bool:
        known = self._ledger.made.get(job.path)
        try:
            return known is not None and known.n_bytes == (self._output / job.path).stat().st_size
        except OSError:
            return False


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
