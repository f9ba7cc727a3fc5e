from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.lab.photographs import NO_PHOTOGRAPHS, load_photographs
from pellucid.lab.plots import new_figure
from pellucid.lab.results import load_study
from pellucid.lab.runner import run_studies, worker_processes
from pellucid.lab.statistics import difference_of, judge, mean_of
from pellucid.lab.studies import find_studies
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Results, ResultTable, Study


class Tossing:
    """A study whose arms cost nothing; it remembers which were run, and can be told to fail at one."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails_at = ""

    def arms(self, effort: Effort, n_seeds: int) -> list[Arm]:
        n_steps = 10 if effort is Effort.QUICK else 100
        return [
            Arm(f"{side}-seed-{seed}", {"side": side, "n_steps": n_steps, "pair": (1, 2)}, seed)
            for side in ("head", "tail")
            for seed in range(n_seeds)
        ]

    def run(self, arm: Arm, _: object) -> dict[str, object]:
        if arm.key == self.fails_at:
            raise KeyboardInterrupt
        self.ran.append(arm.key)
        window = np.full((4, 4, 3), 60 * arm.seed, np.uint8)
        value = np.float32(arm.seed + (2 if arm.settings["side"] == "head" else 0))
        return {"value": value, "losses": np.array([1.0, np.inf]), "window": window, "none": None}

    def study(self, **changes: object) -> Study:
        study = Study(
            name="tossing",
            version=1,
            title="Tossing <coins>",
            question="Is it fair & square?",
            claim="Heads win.",
            method="We toss.",
            arms=self.arms,
            run=self.run,
            figures=_draw,
            findings=_find,
            table=_tabulate,
            needs_photographs=False,
        )
        return replace(study, **changes)


def _draw(results: Results) -> dict[str, CaptionedFigure]:
    figure, axes = new_figure()
    axes.plot([float(result["value"]) for result in results])
    return {"values": CaptionedFigure(figure, "Values < of > all arms.")}


def _find(results: Results) -> list[Finding]:
    gain = difference_of(results.by_seed("value", side="head"), results.by_seed("value", side="tail"))
    return [Finding(f"Heads win by {gain:.2f}.", judge(gain)), Finding("There are two sides.")]


def _tabulate(results: Results) -> ResultTable:
    sides = results.values_of("side")
    return ResultTable(
        ["side", "mean"], [[side, f"{mean_of(results.by_seed('value', side=side)):.1f}"] for side in sides]
    )


@pytest.fixture
def tossing() -> Tossing:
    return Tossing()


@pytest.fixture
def run_all():
    def run(study: Study, folder: Path, effort: Effort = Effort.QUICK, n_seeds: int = 3):
        with ThreadPoolExecutor(1) as executor:
            return list(run_studies([study], effort, n_seeds, folder, lambda: NO_PHOTOGRAPHS, executor))

    return run


@pytest.fixture(scope="session")
def executor():
    with worker_processes(1) as executor:
        yield executor


@pytest.fixture(scope="session")
def quick(tmp_path_factory, executor):
    """The results of a study's quick run."""
    folder = tmp_path_factory.mktemp("quick")

    def results(name: str) -> Results:
        (study,) = find_studies([name])
        for _ in run_studies([study], Effort.QUICK, 2, folder, lambda: load_photographs(None), executor):
            pass
        return load_study(study, folder).results

    results.folder = folder
    return results
