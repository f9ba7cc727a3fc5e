"""Run a batch on many machines with Ray Data. The only module that imports ray.

Only text travels between processes: each reads sources and writes results itself.
"""

import json
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, redirect_stdout
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any, Self

from pellucid.batch.job import JobSpec, fingerprint, process_job
from pellucid.batch.ledger import LedgerEntry
from pellucid.batch.plan import BatchJob
from pellucid.batch.storage import open_store
from pellucid.errors import ClusterError, ParameterError, require_extra
from pellucid.files import FileDenoiser

LOCAL = "local"
#: Jobs passed to Ray at once: it keeps metadata of each block in this process.
WINDOW = 100_000
#: Jobs of a block at most: their entries come back together, and are lost together with their machine.
MAX_BLOCK = 16
_BLOCKS_PER_ACTOR = 8
#: Of a block whose process died.
_N_RETRIES = 3
_CONNECT_S = 5.0
#: Blocks are small; Ray's default is a third of the memory.
_OBJECT_STORE_BYTES = 128 << 20

Task = tuple[BatchJob, LedgerEntry | None]


class RayActor:
    """What each of Ray's processes holds: the networks and the output."""

    def __init__(self, spec: JobSpec) -> None:
        if fingerprint(spec.options) != spec.fingerprint:
            raise RuntimeError(
                f"{socket.gethostname()}: has another version of pellucid or of the model; install the same"
            )
        self._spec, self._output = spec, open_store(spec.output)
        self._denoiser = FileDenoiser(spec.options)

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """Process one job."""
        job = BatchJob(row["source"], row["path"])
        # A machine that was lost may have written the result without reporting it.
        known = LedgerEntry.from_line(row["known"].encode())
        entry = process_job(
            job, self._output, self._denoiser, self._spec.fingerprint, known=known, overwrite=self._spec.overwrite
        )
        return {"entry": entry.to_line().decode()}


class RayCluster:
    """A connection to Ray, on this machine or on a cluster.

    While it is open, `sys.stdout` is stderr, since Ray prints messages about its machines there.

    Parameters
    ----------
    address : str
        'local' starts processes here; 'auto' or HOST:PORT joins a cluster started by ``ray start``.
    n_threads : int, optional
        Threads of each process, which does one file at a time. Default: one, which has the highest total throughput.
    """

    def __init__(self, address: str, n_threads: int | None) -> None:
        self._n_threads = n_threads or 1
        # Ray reads them when it is imported, and passes them on to its workers.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        require_extra("--ray", "ray", "ray")
        import ray.data  # noqa: PLC0415 (an extra)

        self._ray: Any = ray
        self._stdout = redirect_stdout(sys.stderr)
        _connect(self._ray, address, self._n_threads)

    def __enter__(self) -> Self:
        self._stdout.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ray.shutdown()
        self._stdout.__exit__(*error)

    def process(self, spec: JobSpec, tasks: list[Task]) -> Generator[LedgerEntry]:
        """Process jobs; yield each entry once it is done.

        A job that kills every process working on it becomes a failure; the others of its block are done.
        """
        check_shared([spec.output, *(job.source for job, _ in tasks)])
        return process_in_blocks(tasks, partial(self._run, spec), self._count_actors, spec.fingerprint)

    def _count_actors(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)) // self._n_threads)

    def _run(self, spec: JobSpec, tasks: list[Task], n_rows: int, n_actors: int) -> Generator[LedgerEntry]:
        data = self._ray.data
        table = _to_table(tasks)
        blocks = [table.slice(start, n_rows) for start in range(0, len(tasks), n_rows)]
        with warnings.catch_warnings():
            # Deprecated since Ray 2.60, which has no other way to set max_task_retries yet.
            warnings.filterwarnings("ignore", message="`ray_remote_args_fn` is deprecated")
            done = data.from_arrow(blocks).map(
                RayActor,
                fn_constructor_args=(spec,),
                compute=data.ActorPoolStrategy(min_size=1, initial_size=n_actors),
                num_cpus=self._n_threads,
                ray_remote_args_fn=lambda: {"max_task_retries": _N_RETRIES},
            )
        try:
            for batch in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for line in batch.column("entry").to_pylist():
                    entry = LedgerEntry.from_line(line.encode())
                    if entry is not None:
                        yield entry
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ClusterError(f"ray: stopped with an error ({reason}); fix it and start again") from error


def process_in_blocks(
    tasks: Iterable[Task],
    run: Callable[[list[Task], int, int], Generator[LedgerEntry]],
    count_actors: Callable[[], int],
    settings: str,
    *,
    window: int = WINDOW,
) -> Generator[LedgerEntry]:
    """Process jobs in blocks; those that were lost with their process again, one by one.

    `run` is called with at most `window` tasks, rows of a block, and number of actors; it yields the entries not lost.
    """
    rest = iter(tasks)
    while pending := {task[0].path: task for task in islice(rest, window)}:
        n_actors = count_actors()
        n_rows = max(1, min(MAX_BLOCK, len(pending) // (_BLOCKS_PER_ACTOR * n_actors)))
        for n_in_block in (n_rows, 1) if n_rows > 1 else (1,):
            with closing(run(list(pending.values()), n_in_block, n_actors)) as entries:
                for entry in entries:
                    del pending[entry.path]
                    yield entry
            if not pending:
                break
        for job, _ in pending.values():
            error = f"{job.source}: its process died repeatedly; try it alone with more memory"
            yield LedgerEntry(job.path, job.source, "failed", settings, error=error)


def check_shared(locations: Iterable[str]) -> None:
    """Raise ParameterError if a location is in the memory of this process."""
    for location in locations:
        if location.startswith("memory://"):
            raise ParameterError(f"{location}: other processes cannot access it: use a shared folder or a store")


def _to_table(tasks: list[Task]) -> Any:
    import pyarrow  # noqa: PLC0415 (an extra)

    return pyarrow.table(
        {
            "source": [job.source for job, _ in tasks],
            "path": [job.path for job, _ in tasks],
            "known": ["" if known is None else json.dumps(asdict(known)) for _, known in tasks],
        }
    )


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
        # Ray's own handlers would leave partial files.
        for number, handler in handlers.items():
            signal.signal(number, handler)
    _silence(ray)


def _check_reachable(address: str) -> None:
    """Fail at once where Ray would fail after minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ParameterError(f"--ray {address}: give HOST:PORT, 'auto' or 'local'")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"--ray {address}: nothing answers there ({error}); start it with 'ray start --head --port {port}'"
        ) from None


def _silence(ray: Any) -> None:
    """Leave progress bar and error messages to the command."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A block whose process dies must not end the run.
    context.max_errored_blocks = -1
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
