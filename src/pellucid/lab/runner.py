"""Runs the arms of studies, several at once, and goes on where a killed run stopped.

Studies, an effort and a number of seeds enter; a file for each arm leaves, written as soon as the arm is done. It
knows nothing of what the arms do, nor of what its executor runs them in.
"""

import importlib.metadata
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path

from pellucid.evaluation.environment import processor
from pellucid.lab.pictures import NO_PHOTOGRAPHS, Photographs
from pellucid.lab.results import Conditions, Record, find_record, save_record
from pellucid.lab.study import Arm, Effort, Measured, Result, Study

_PACKAGES = ("pellucid", "torch", "numpy")


@dataclass(frozen=True)
class Step:
    """A moment of a run: an arm that is about to run, or that is done.

    Attributes
    ----------
    study : Study
    arm : Arm
    n_done, n_arms : int
        Of the whole run; `n_done` counts this arm if it is done.
    seconds : float, optional
        The time that the arm took; None if it is about to run.
    was_kept : bool
        It was done by an earlier run.
    """

    study: Study
    arm: Arm
    n_done: int
    n_arms: int
    seconds: float | None = None
    was_kept: bool = False


@dataclass(frozen=True)
class _Task:
    study: Study
    arm: Arm
    conditions: Conditions
    photographs: Photographs
    kept: Record | None


def run_studies(
    studies: Sequence[Study],
    effort: Effort,
    n_seeds: int,
    folder: Path,
    load_photographs: Callable[[], Photographs],
    executor: Executor,
    n_at_once: int = 1,
) -> Iterator[Step]:
    """Run all arms that have no result yet; nothing is run before every result that is there has been checked.

    Parameters
    ----------
    studies : sequence of Study
    effort : Effort
    n_seeds : int
    folder : Path
        Holds the results of this run, and of earlier ones like it.
    load_photographs : callable
        Called once, if any study needs photographs.
    executor : Executor
        Given `n_at_once` arms at a time, so that none is begun after one has failed.
    n_at_once : int

    Yields
    ------
    Step
        Two for each arm that is run, one for each that is kept.

    Raises
    ------
    DataError
        A result that is there is of another version, or was measured otherwise.
    OutputError
        The disk does not take a result.
    """
    tasks = list(_plan(studies, effort, n_seeds, folder, load_photographs))
    machine = describe_machine()
    n_done = 0
    for task in tasks:
        if task.kept is not None:
            n_done += 1
            yield Step(task.study, task.arm, n_done, len(tasks), task.kept.result.seconds, was_kept=True)
    left = iter([task for task in tasks if task.kept is None])
    running: dict[Future[tuple[Measured, float]], _Task] = {}
    while True:
        for task in itertools.islice(left, n_at_once - len(running)):
            running[executor.submit(_measure, task.study.run, task.arm, task.photographs)] = task
            yield Step(task.study, task.arm, n_done, len(tasks))
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task, (measured, seconds) = running.pop(future), future.result()
            save_record(
                Record(Result(task.arm, measured, seconds), task.conditions, n_seeds, machine), task.study, folder
            )
            n_done += 1
            yield Step(task.study, task.arm, n_done, len(tasks), seconds)


def _measure(run: Callable[[Arm, Photographs], Measured], arm: Arm, photographs: Photographs) -> tuple[Measured, float]:
    """Run an arm, wherever this is called; give what it measured, and the seconds it took."""
    began_s = time.perf_counter()
    measured = run(arm, photographs)
    return measured, time.perf_counter() - began_s


def describe_machine() -> dict[str, str]:
    """Say on what the measurements are made: times depend on it, and rounding may."""
    return {"processor": processor(), "cores": str(os.cpu_count()), "system": platform.platform(terse=True)}


def _plan(
    studies: Sequence[Study],
    effort: Effort,
    n_seeds: int,
    folder: Path,
    load_photographs: Callable[[], Photographs],
) -> Iterator[_Task]:
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    needed = any(study.needs_photographs for study in studies)
    loaded = load_photographs() if needed else NO_PHOTOGRAPHS
    for study in studies:
        photographs = loaded if study.needs_photographs else NO_PHOTOGRAPHS
        conditions = Conditions(study.version, effort, photographs.identity, versions)
        for arm in study.arms(effort, n_seeds):
            kept = find_record(study, arm, conditions, folder)
            yield _Task(study, arm, conditions, photographs, kept)
