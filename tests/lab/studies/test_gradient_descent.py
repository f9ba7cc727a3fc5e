import numpy as np
import pytest

from pellucid.lab.studies.gradient_descent import STUDY
from pellucid.lab.study import Verdict


def test_gradient_descent_is_the_closed_form(quick):
    results = quick("gradient-descent").where(part="path")
    for result in results:
        path = result.array("path")
        rounds = np.arange(len(path))
        assert path[:, 0] == pytest.approx(path[0, 0] * (1 - 0.01 * 1.9) ** rounds, abs=1e-12)
        assert path[:, 1] == pytest.approx(path[0, 1] * (-0.9) ** rounds, abs=1e-12)
        assert result["steps"] == result["steps_of_copy"]


def test_the_lecture_is_right_about_the_valley(quick):
    assert {finding.verdict for finding in STUDY.findings(quick("gradient-descent"))} == {Verdict.SUPPORTS}


def test_a_rate_beyond_the_bound_that_arrives_would_contradict(quick):
    results = quick("gradient-descent")
    for result in results.where(rate=2.1, part="sweep"):
        result.measured["steps"][0] = 5
    bound = next(finding for finding in STUDY.findings(results) if "|1 − η| < 1" in finding.text)
    assert bound.verdict is Verdict.CONTRADICTS
