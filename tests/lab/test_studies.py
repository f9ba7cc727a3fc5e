import re

import pytest

from pellucid.errors import ParameterError
from pellucid.lab.report import write_report
from pellucid.lab.studies import STUDIES, find_studies
from pellucid.lab.study import Effort


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
    found = study.findings(results)
    assert found
    assert not any("nan" in finding.text for finding in found)
    table = study.table(results)
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
