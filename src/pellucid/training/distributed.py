"""Several processes that train one network together, on one machine or on many.

The environment's variables and a job enter; a rank, a process group, and the weights' path leave. The variables are
torchrun's: RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. On one machine `launch` sets
them itself. It knows nothing of networks. Processes are started afresh, never forked: torch and libvips hold threads.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, TypeVar, cast

import torch.distributed

from pellucid import errors
from pellucid.errors import ParameterError, PellucidError, TrainingError

T = TypeVar("T")
EXIT_INTERRUPTED = 130
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_GRACE_S = 10.0


@dataclass(frozen=True)
class World:
    """Which of how many processes this one is.

    Attributes
    ----------
    rank : int
        From 0; rank 0 writes the files.
    n_ranks : int
    n_local : int
        How many of them are on this machine.
    """

    rank: int = 0
    n_ranks: int = 1
    n_local: int = 1


def find_world(environment: Mapping[str, str]) -> World:
    """Read the rank of this process from torchrun's variables; without them it is alone.

    Raises
    ------
    ParameterError
        Some of the variables are set and others are not, or one is not a number.
    """
    missing = [name for name in _VARIABLES if name not in environment]
    if "RANK" in missing or "WORLD_SIZE" in missing:
        return World()
    if missing:
        raise ParameterError(f"{missing[0]} is not set and RANK is: start the processes with torchrun")
    try:
        n_ranks = int(environment["WORLD_SIZE"])
        return World(int(environment["RANK"]), n_ranks, int(environment.get("LOCAL_WORLD_SIZE", 1)))
    except ValueError as error:
        raise ParameterError(f"RANK, WORLD_SIZE and LOCAL_WORLD_SIZE are numbers ({error})") from None


@contextmanager
def joined(world: World) -> Iterator[None]:
    """Let the processes find each other, and part again."""
    if world.n_ranks == 1:
        yield
        return
    torch.distributed.init_process_group("gloo", rank=world.rank, world_size=world.n_ranks)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def on_first_rank(world: World, action: Callable[[], T]) -> T:
    """Do on rank 0 what must be done once; every rank gets its result, or raises its error.

    Parameters
    ----------
    world : World
    action : callable
        Its result and its error can be pickled.
    """
    outcome: list[Any] = [None, None]
    if world.rank == 0:
        try:
            outcome[0] = action()
        except PellucidError as error:
            outcome[1] = error
    if world.n_ranks > 1:
        torch.distributed.broadcast_object_list(outcome)
    result, failure = outcome
    if failure is not None:
        raise failure
    return cast(T, result)


def launch(job: Mapping[str, object], n_processes: int) -> str:
    """Run a training job in several processes on this machine, and wait for them.

    Each is ``python -m pellucid.training.worker``. It reads the job from a pipe that stays open: when this process
    dies, however that comes about, the pipe closes and the workers end too.

    Parameters
    ----------
    job : mapping
        What the worker takes, as JSON holds it.
    n_processes : int

    Returns
    -------
    str
        What rank 0 reports.

    Raises
    ------
    PellucidError
        What a worker raised, or TrainingError if one ended without a word.
    KeyboardInterrupt
        The run was asked to stop and has stopped.
    """
    base = {"WORLD_SIZE": n_processes, "LOCAL_WORLD_SIZE": n_processes, "MASTER_ADDR": "127.0.0.1"}
    base["MASTER_PORT"] = _free_port()
    base["OMP_NUM_THREADS"] = int(os.environ.get("OMP_NUM_THREADS", max(1, (os.cpu_count() or 1) // n_processes)))
    workers: list[subprocess.Popen[str]] = []
    try:
        for rank in range(n_processes):
            own = {**base, "RANK": rank, "LOCAL_RANK": rank}
            workers.append(_start({**os.environ, **{key: str(value) for key, value in own.items()}}, job))
        with _passing_on_signals(workers):
            codes = _wait(workers)
    finally:
        for worker in workers:
            worker.kill()
    reports = [_read_report(worker) for worker in workers]
    return _judge(reports, codes)


def _start(environment: Mapping[str, str], job: Mapping[str, object]) -> "subprocess.Popen[str]":
    # A session of its own: the terminal's Ctrl-C comes to this process, which passes it on once.
    worker = subprocess.Popen(
        [sys.executable, "-m", "pellucid.training.worker"],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pipe: IO[str] | None = worker.stdin
    if pipe is not None:
        pipe.write(json.dumps(job) + "\n")
        pipe.flush()
    return worker


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _passing_on_signals(workers: Sequence["subprocess.Popen[str]"]) -> Iterator[None]:
    def pass_on(number: int, _: object) -> None:
        for worker in workers:
            worker.send_signal(number)

    former = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            former[number] = signal.signal(number, pass_on)
    except ValueError:  # only the main thread has a say in signals
        former.clear()
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _wait(workers: Sequence["subprocess.Popen[str]"]) -> list[int | None]:
    """Wait for all; when one has failed, give the others a moment, for they would wait for it for ever.

    Returns the exit codes; None for those that wait on, which did not fail themselves.
    """
    deadline = None
    while any(worker.poll() is None for worker in workers):
        if deadline is None and any(worker.poll() for worker in workers):
            deadline = time.monotonic() + _GRACE_S
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return [worker.poll() for worker in workers]


def _read_report(worker: "subprocess.Popen[str]") -> dict[str, str]:
    with worker:
        lines = worker.stdout.read().splitlines() if worker.stdout else []
    try:
        report: dict[str, str] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {}
    return report


def _judge(reports: Sequence[Mapping[str, str]], codes: Sequence[int | None]) -> str:
    """Find the process that explains how the run ended: an error of ours, else the one that fell silent."""
    if not any(codes):
        return reports[0]["result"]
    for report in reports:
        kind = getattr(errors, report.get("error", ""), None)
        if isinstance(kind, type) and issubclass(kind, PellucidError):
            raise kind(report["message"])
    if EXIT_INTERRUPTED in codes:
        raise KeyboardInterrupt
    rank = next((i for i, report in enumerate(reports) if codes[i] and not report), None)
    if rank is None:
        rank = next(i for i, code in enumerate(codes) if code)
    reason = reports[rank].get("message") or f"ended with code {codes[rank]}"
    cause = RuntimeError(reports[rank].get("traceback", reason))
    raise TrainingError(f"process {rank} of {len(codes)} failed ({reason}): go on with --resume") from cause
