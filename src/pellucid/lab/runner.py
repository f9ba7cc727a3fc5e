"""Runs the arms of studies one after the other, and goes on where a killed run stopped.

Studies, an effort and a number of seeds enter; a file for each arm leaves, written as soon as the arm is done. It
knows nothing of what the arms do.
"""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pellucid.evaluation.surroundings import processor
from pellucid.lab.pictures import NO_PHOTOGRAPHS, Photographs
from pellucid.lab.records import Conditions, Record, find_record, save_record
from pellucid.lab.study import Arm, Effort, Result, Study

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
    for index, task in enumerate(tasks):
        if task.kept is not None:
            seconds = task.kept.result.seconds
            yield Step(task.study, task.arm, index + 1, len(tasks), seconds, was_kept=True)
            continue
        yield Step(task.study, task.arm, index, len(tasks))
        began_s = time.perf_counter()
        measured = task.study.run(task.arm, task.photographs)
        seconds = time.perf_counter() - began_s
        record = Record(Result(task.arm, measured, seconds), task.conditions, n_seeds, machine)
        save_record(record, task.study, folder)
        yield Step(task.study, task.arm, index + 1, len(tasks), seconds)


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
