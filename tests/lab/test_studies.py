import re

import numpy as np
import pytest

from pellucid.errors import ParameterError
from pellucid.lab.pictures import load_photographs
from pellucid.lab.report import write_report
from pellucid.lab.results import find_records
from pellucid.lab.runner import run_studies
from pellucid.lab.studies import STUDIES, find_studies
from pellucid.lab.study import Effort, Results, Verdict
from pellucid.lab.workers import start_workers


@pytest.fixture(scope="session")
def executor():
    with start_workers(1) as executor:
        yield executor


@pytest.fixture(scope="session")
def quick(tmp_path_factory, executor):
    """The results of a study's quick run."""
    folder = tmp_path_factory.mktemp("quick")

    def results(name: str) -> Results:
        (study,) = find_studies([name])
        for _ in run_studies([study], Effort.QUICK, 2, folder, lambda: load_photographs(None), executor):
            pass
        return find_records(study, folder).results

    results.folder = folder
    return results


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
@pytest.mark.parametrize("effort", Effort)
def test_arms_have_keys_of_their_own(study, effort):
    keys = [arm.key for arm in study.arms(effort, 3)]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z0-9.-]+", key) for key in keys)
    assert set(keys) > {arm.key for arm in study.arms(effort, 2)} or len(keys) == len(study.arms(effort, 1))


#: Studies that train networks take longer.
COSTS = [pytest.param(study, marks=[pytest.mark.slow] * study.needs_photographs, id=study.name) for study in STUDIES]


@pytest.mark.parametrize("study", COSTS)
def test_every_study_runs_quickly_and_gets_its_page(study, quick):
    results = quick(study.name)
    found = study.find(results)
    assert found
    assert not any("nan" in finding.text for finding in found)
    table = study.tabulate(results)
    assert all(len(row) == len(table.head) for row in table.rows)
    text = write_report([study], quick.folder, quick.folder / "report.html").read_text()
    assert text.count("<figure ") == len(list((quick.folder / study.name).glob("*.svg"))) > 0
    assert text.count("<li") == len(found) + 1


def test_names():
    assert [study.name for study in find_studies(["momentum", "gradient-descent"])] == ["gradient-descent", "momentum"]
    assert find_studies([]) == list(STUDIES)
    with pytest.raises(ParameterError, match="study 'momentun': unknown: did you mean 'momentum'"):
        find_studies(["momentun"])
    with pytest.raises(ParameterError, match="did you mean 'gradient-descent'"):
        find_studies(["gradient_decent"])
    with pytest.raises(ParameterError, match="study 'xyz': unknown: choose of input-scale, output-range, "):
        find_studies(["xyz"])


def test_gradient_descent_is_the_closed_form(quick):
    results = quick("gradient-descent").where(part="path")
    for result in results:
        path = result.array("path")
        rounds = np.arange(len(path))
        assert path[:, 0] == pytest.approx(path[0, 0] * (1 - 0.01 * 1.9) ** rounds, abs=1e-12)
        assert path[:, 1] == pytest.approx(path[0, 1] * (-0.9) ** rounds, abs=1e-12)
        assert result["steps"] == result["steps_of_copy"]


def test_the_lecture_is_right_about_the_valley(quick):
    (study,) = find_studies(["gradient-descent"])
    assert {finding.verdict for finding in study.find(quick("gradient-descent"))} == {Verdict.SUPPORTS}


def test_a_rate_beyond_the_bound_that_arrives_would_contradict(quick):
    (study,) = find_studies(["gradient-descent"])
    results = quick("gradient-descent")
    for result in results.where(rate=2.1, part="sweep"):
        result.measured["steps"][0] = 5
    bound = next(finding for finding in study.find(results) if "|1 − η| < 1" in finding.text)
    assert bound.verdict is Verdict.CONTRADICTS


def test_momentum_delays_a_new_rate(quick):
    changes = quick("momentum").where(part="rate change")
    for result in changes:
        mu = result.arm.settings["momentum"]
        steps = 0.1 + 0.9 * mu ** np.arange(1, 101)
        np.testing.assert_allclose(result.array("lecture"), steps, atol=1e-9)
        np.testing.assert_allclose(result.array("torch"), 0.1, atol=1e-9)
        assert result["delay_torch"] == 1
    assert [result["delay_lecture"] for result in changes] == [1, 2, 10]


def test_weight_decay_is_as_the_formulas_say(quick):
    for result in quick("momentum").where(part="weight decay"):
        mu = result.arm.settings["momentum"]
        assert result["coupled_speed"] == pytest.approx(1 / (1 - mu), rel=0.02)
        assert result["decoupled_speed"] == pytest.approx(1, rel=0.02)
        assert result["coupled_rest"] == pytest.approx(1 / 1.5, abs=1e-3)
        assert result["decoupled_rest"] == pytest.approx(1 / (1 + 0.5 * (1 - mu)), abs=1e-3)


def test_sentences_follow_the_results(quick):
    (study,) = find_studies(["momentum"])
    results = quick("momentum")
    for result in results.where(part="path", momentum=0.9):
        result.measured["sign_changes"] = 1.0
    shrinks = next(finding for finding in study.find(results) if "zig-zag" in finding.text)
    assert shrinks.verdict is not Verdict.SUPPORTS
    assert "100% with μ = 0.9" in shrinks.text
