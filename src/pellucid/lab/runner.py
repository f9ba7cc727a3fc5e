"""Run the arms of studies in parallel processes, one thread each, and resume where an earlier run stopped."""

import importlib.metadata
import itertools
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loky import ProcessPoolExecutor

from pellucid.evaluation.environment import processor
from pellucid.lab.photographs import NO_PHOTOGRAPHS, Photographs
from pellucid.lab.results import Conditions, StoredResult, load_result, save_result
from pellucid.lab.study import Arm, Effort, Measured, Result, Study

_PACKAGES = ("pellucid", "torch", "numpy")
_CHECK_PARENT_EVERY_S = 1.0


@dataclass(frozen=True)
class ArmProgress:
    """An arm that is about to run (`seconds` is None) or that is done."""

    study: Study
    arm: Arm
    #: Of the whole run, including this arm if it is done.
    n_done: int
    n_arms: int
    seconds: float | None = None
    #: An earlier run measured it.
    is_cached: bool = False


@dataclass(frozen=True)
class _Task:
    study: Study
    arm: Arm
    conditions: Conditions
    photographs: Photographs
    cached: StoredResult | None


def run_studies(
    studies: Sequence[Study],
    effort: Effort,
    n_seeds: int,
    folder: Path,
    load_photographs: Callable[[], Photographs],
    executor: Executor,
    n_workers: int = 1,
) -> Iterator[ArmProgress]:
    """Run all arms that have no result in the folder yet, after all existing results have been checked.

    Photographs are loaded only if a study needs them. The executor receives at most `n_workers` arms at a time, so that
    none starts after one has failed. Yields twice for each arm that runs, and once for each with a result.

    Raises
    ------
    DataError
        An existing result has another version, or was measured under other conditions.
    OutputError
        A result cannot be written.
    """
    tasks = list(_plan(studies, effort, n_seeds, folder, load_photographs))
    machine = describe_machine()
    n_done = 0
    for task in tasks:
        if task.cached is not None:
            n_done += 1
            yield ArmProgress(task.study, task.arm, n_done, len(tasks), task.cached.result.seconds, is_cached=True)
    pending = iter([task for task in tasks if task.cached is None])
    running: dict[Future[tuple[Measured, float]], _Task] = {}
    while True:
        for task in itertools.islice(pending, n_workers - len(running)):
            running[executor.submit(_run_timed, task.study.run, task.arm, task.photographs)] = task
            yield ArmProgress(task.study, task.arm, n_done, len(tasks))
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task, (measured, seconds) = running.pop(future), future.result()
            result = Result(task.arm, measured, seconds)
            save_result(StoredResult(result, task.conditions, n_seeds, machine), task.study, folder)
            n_done += 1
            yield ArmProgress(task.study, task.arm, n_done, len(tasks), seconds)


def describe_machine() -> dict[str, str]:
    """Describe the machine: times depend on it, and rounding may."""
    return {"processor": processor(), "cores": str(os.cpu_count()), "system": platform.platform(terse=True)}


@contextmanager
def worker_processes(n_workers: int) -> Iterator[Executor]:
    """Start worker processes with one thread each, and kill them on leaving, even in the middle of their work.

    The small networks of studies gain little from a second thread. If this process is killed, its workers exit by
    themselves. A job whose worker dies raises ``concurrent.futures.BrokenExecutor``.
    """
    executor = ProcessPoolExecutor(n_workers, initializer=_initialize_worker, initargs=(os.getpid(),))
    try:
        yield executor
    finally:
        executor.shutdown(kill_workers=True)


def _run_timed(
    run: Callable[[Arm, Photographs], Measured], arm: Arm, photographs: Photographs
) -> tuple[Measured, float]:
    start_s = time.perf_counter()
    measured = run(arm, photographs)
    return measured, time.perf_counter() - start_s


def _plan(
    studies: Sequence[Study],
    effort: Effort,
    n_seeds: int,
    folder: Path,
    load_photographs: Callable[[], Photographs],
) -> Iterator[_Task]:
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    loaded = load_photographs() if any(study.needs_photographs for study in studies) else NO_PHOTOGRAPHS
    for study in studies:
        photographs = loaded if study.needs_photographs else NO_PHOTOGRAPHS
        conditions = Conditions(study.version, effort, photographs.identity, versions)
        for arm in study.arms(effort, n_seeds):
            yield _Task(study, arm, conditions, photographs, load_result(study, arm, conditions, folder))


def _initialize_worker(parent: int) -> None:
    # A terminal sends Ctrl-C to all processes; the parent stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    import torch  # noqa: PLC0415 (in the worker, not in its parent)

    torch.set_num_threads(1)


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_CHECK_PARENT_EVERY_S)
    os._exit(1)
