import numpy as np
import pytest

from pellucid.lab.studies.momentum import STUDY
from pellucid.lab.study import Verdict


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
    results = quick("momentum")
    for result in results.where(part="path", momentum=0.9):
        result.measured["sign_changes"] = 1.0
    shrinks = next(finding for finding in STUDY.findings(results) if "Zig-zags" in finding.text)
    assert shrinks.verdict is not Verdict.SUPPORTS
    assert "100% with μ = 0.9" in shrinks.text
