"""The work on many machines, by Ray Data. The only file that imports ray.

Jobs enter, records leave as files are done. Only rows of text travel: every process reads from the sources and writes
to the output itself.
"""

import json
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, redirect_stdout
from dataclasses import asdict
from itertools import islice
from types import TracebackType
from typing import Any, Self

from pellucid.batch.job import Work, fingerprint, process
from pellucid.batch.ledger import Record, as_line, parsed
from pellucid.batch.plan import Job
from pellucid.batch.storage import open_store
from pellucid.errors import ClusterError, MissingExtraError, ParameterError
from pellucid.files import FileDenoiser

LOCAL = "local"
#: Jobs that Ray is given at once: it keeps an account of each block of them, in the memory of this process.
WINDOW = 100_000
#: Files of a block at most: so many rows come back together, and are done again if their machine is lost.
MAX_BLOCK = 16
_BLOCKS_PER_ACTOR = 8
#: Of a block whose process died at work.
_N_RETRIES = 3
_CONNECT_S = 5.0
#: Rows of text need little; Ray's own default is a third of the memory.
_OBJECT_STORE_BYTES = 128 << 20

Task = tuple[Job, Record | None]


class Worker:
    """What each of Ray's processes holds: the networks, and where results go.

    Parameters
    ----------
    work : Work
    """

    def __init__(self, work: Work) -> None:
        if fingerprint(work.settings) != work.fingerprint:
            raise RuntimeError(
                f"{socket.gethostname()}: has another version of pellucid or of the model; install the same"
            )
        self._work, self._output = work, open_store(work.output)
        self._denoiser = FileDenoiser(work.settings)

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """Do one job."""
        job = Job(row["source"], row["path"])
        known = parsed(row["known"].encode())
        # A machine that was lost may have written the result, but not told.
        record = process(
            job, self._output, self._denoiser, self._work.fingerprint, known=known, overwrite=self._work.overwrite
        )
        return {"record": as_line(record).decode()}


class RayCluster:
    """A connection to Ray: to processes on this machine, or to machines that have been started.

    Until it is closed, `sys.stdout` is stderr: there Ray prints what befalls its machines.

    Parameters
    ----------
    address : str
        'local' starts processes here; 'auto' or HOST:PORT joins what ``ray start`` has started.
    n_threads : int, optional
        Processors of each process, which does one file at a time; by default one, with which all together do the most.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    ClusterError
        There is no cluster at the address.
    """

    def __init__(self, address: str, n_threads: int | None) -> None:
        self._n_threads = n_threads or 1
        # Before ray is imported: it reads them then. Workers are told not to report, too.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        self._ray = _import_ray()
        self._stdout = redirect_stdout(sys.stderr)
        _connect(self._ray, address, self._n_threads)

    def __enter__(self) -> Self:
        self._stdout.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()
        self._stdout.__exit__(kind, error, trace)

    def records(self, work: Work, tasks: list[Task]) -> Generator[Record]:
        """Do jobs, of whose results a ledger may say something already; give the record of each once it is done.

        A job that kills every process at work on it becomes a failure; those in one block with it are done.

        Raises
        ------
        ParameterError
            Other processes cannot see the sources or the output.
        ClusterError
            No process can be started, or the cluster is gone.
        """
        _refuse_own_memory([work.output, *(job.source for job, _ in tasks)])
        rest = iter(tasks)
        while window := dict(_keyed(islice(rest, WINDOW))):
            n_actors = max(1, int(self._ray.cluster_resources().get("CPU", 1)) // self._n_threads)
            n_rows = max(1, min(MAX_BLOCK, len(window) // (_BLOCKS_PER_ACTOR * n_actors)))
            # Then what was lost with its process, file by file.
            for block in (n_rows, 1) if n_rows > 1 else (1,):
                with closing(self._run(work, list(window.values()), block, n_actors)) as records:
                    for record in records:
                        del window[record.path]
                        yield record
                if not window:
                    break
            for job, _ in window.values():
                error = f"{job.source}: the process at work on it died again and again; try it alone on more memory"
                yield Record(job.path, job.source, "failed", work.fingerprint, error=error)

    def _run(self, work: Work, tasks: list[Task], n_rows: int, n_actors: int) -> Generator[Record]:
        data = self._ray.data
        table = _table(tasks)
        blocks = [table.slice(start, n_rows) for start in range(0, len(tasks), n_rows)]
        with warnings.catch_warnings():
            # Ray 2.60 announces that 2.64 will have another way to say how often to retry, and has none yet.
            warnings.filterwarnings("ignore", message="`ray_remote_args_fn` is deprecated")
            done = data.from_arrow(blocks).map(
                Worker,
                fn_constructor_args=(work,),
                compute=data.ActorPoolStrategy(min_size=1, initial_size=n_actors),
                num_cpus=self._n_threads,
                ray_remote_args_fn=lambda: {"max_task_retries": _N_RETRIES},
            )
        try:
            for batch in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for line in batch.column("record").to_pylist():
                    record = parsed(line.encode())
                    if record is not None:
                        yield record
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ClusterError(f"ray: cannot go on ({reason}); see what is wrong there and start again") from error


def _keyed(tasks: Iterable[Task]) -> Iterator[tuple[str, Task]]:
    return ((task[0].path, task) for task in tasks)


def _table(tasks: list[Task]) -> Any:
    import pyarrow  # noqa: PLC0415 (an extra)

    return pyarrow.table(
        {
            "source": [job.source for job, _ in tasks],
            "path": [job.path for job, _ in tasks],
            "known": ["" if known is None else json.dumps(asdict(known)) for _, known in tasks],
        }
    )


def _import_ray() -> Any:
    try:
        import ray  # noqa: PLC0415 (an extra)
        import ray.data  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("--ray: ray is not installed: pip install 'pellucid[ray]'") from None
    return ray


def _connect(ray: Any, address: str, n_threads: int) -> None:
    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        n_cpus = max(n_threads, len(os.sched_getaffinity(0)))
        options |= {"num_cpus": n_cpus, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    elif address != "auto":
        _check_reachable(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ClusterError(f"--ray {address}: cannot be joined ({reason}); start it with 'ray start --head'") from None
    finally:
        # Ray has its own way to end, which would leave files half-written.
        for number, handler in handlers.items():
            signal.signal(number, handler)
    _be_quiet(ray)


def _check_reachable(address: str) -> None:
    """Find out at once what Ray finds out after minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ParameterError(f"--ray {address}: give HOST:PORT, 'auto' or 'local'")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"--ray {address}: nothing answers there ({error}); start it with 'ray start --head --port {port}'"
        ) from None


def _be_quiet(ray: Any) -> None:
    """The bar on stderr is the command's own, and so are its errors."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A block whose process dies is not the end of the run.
    context.max_errored_blocks = -1
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _refuse_own_memory(locations: Iterable[str]) -> None:
    for location in locations:
        if location.startswith("memory://"):
            raise ParameterError(f"{location}: is in the memory of one process; other processes cannot see it")
