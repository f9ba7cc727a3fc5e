import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pellucid.errors import DataError, OutputError
from pellucid.lab import runner
from pellucid.lab.pictures import NO_PHOTOGRAPHS, Photographs
from pellucid.lab.results import find_records
from pellucid.lab.runner import run_studies
from pellucid.lab.study import Effort


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_file_for_each_arm_says_how_it_was_made(tossing, run_all, tmp_path):
    steps = run_all(tossing.study(), tmp_path)
    assert [step.n_done for step in steps] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    table = json.loads((tmp_path / "tossing/head-seed-1.json").read_text())
    assert (table["study"], table["version"], table["effort"], table["seed"], table["n_seeds"]) == (
        "tossing",
        1,
        "quick",
        1,
        3,
    )
    assert table["settings"] == {"side": "head", "n_steps": 10, "pair": [1, 2]}
    assert set(table["versions"]) == {"pellucid", "torch", "numpy"}
    assert table["machine"]["processor"]
    assert table["seconds"] >= 0
    assert table["measured"] == {"value": 3.0, "losses": [1.0, None], "none": None}


def test_results_come_back(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path)
    found = find_records(tossing.study(), tmp_path)
    assert [result.arm.key for result in found.results] == [arm.key for arm in tossing.arms(Effort.QUICK, 3)]
    assert found.n_missing == 0
    assert found.results.by_seed("value", side="tail") == {0: 0, 1: 1, 2: 2}
    np.testing.assert_array_equal(found.results.all[2].array("losses"), [1, np.nan])
    np.testing.assert_array_equal(found.results.all[2]["window"], np.full((4, 4, 3), 120, np.uint8))


def test_a_killed_run_goes_on(tossing, run_all, tmp_path):
    tossing.fails_at = "tail-seed-1"
    with pytest.raises(KeyboardInterrupt):
        run_all(tossing.study(), tmp_path)
    assert len(tossing.ran) == 4
    assert find_records(tossing.study(), tmp_path).n_missing == 2
    tossing.fails_at = ""
    steps = run_all(tossing.study(), tmp_path)
    assert [step.was_kept for step in steps] == [True] * 4 + [False] * 4
    assert tossing.ran[4:] == ["tail-seed-1", "tail-seed-2"]


def test_several_arms_at_once(tossing, tmp_path):
    both = threading.Barrier(2, timeout=30)

    def run(arm, photographs):
        both.wait()
        return tossing.run(arm, photographs)

    with ThreadPoolExecutor(2) as executor:
        steps = list(
            run_studies([tossing.study(run=run)], Effort.QUICK, 1, tmp_path, lambda: NO_PHOTOGRAPHS, executor, 2)
        )
    assert [step.n_done for step in steps] == [0, 0, 1, 2]
    assert find_records(tossing.study(), tmp_path).n_missing == 0


def test_more_seeds_keep_what_is_done(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    run_all(tossing.study(), tmp_path, n_seeds=2)
    assert tossing.ran == ["head-seed-0", "tail-seed-0", "head-seed-1", "tail-seed-1"]
    assert find_records(tossing.study(), tmp_path).n_missing == 0


def test_another_version_of_the_study_is_refused_before_anything_runs(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    with pytest.raises(DataError, match=r"head-seed-0\.json: is of version 1 .* and this is version 2"):
        run_all(tossing.study(version=2), tmp_path)
    assert len(tossing.ran) == 2


def test_another_effort_is_refused(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    with pytest.raises(DataError, match="effort 'quick' does not mix with 'full'"):
        run_all(tossing.study(), tmp_path, Effort.FULL, n_seeds=1)


def test_other_settings_are_refused(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    path = tmp_path / "tossing/head-seed-0.json"
    change(path, settings={"side": "head", "n_steps": 11, "pair": [1, 2]})
    with pytest.raises(DataError, match=r"head-seed-0\.json: was measured with other settings"):
        run_all(tossing.study(), tmp_path, n_seeds=1)
    with pytest.raises(DataError, match=r"head-seed-0\.json: was measured with other settings"):
        find_records(tossing.study(), tmp_path)


def test_other_packages_are_refused(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    change(tmp_path / "tossing/tail-seed-0.json", versions={"pellucid": "0.0.1", "torch": "2", "numpy": "2"})
    with pytest.raises(DataError, match=r"versions pellucid 0\.0\.1, .* does not mix with pellucid"):
        run_all(tossing.study(), tmp_path, n_seeds=2)
    with pytest.raises(DataError, match=r"versions pellucid 0\.0\.1, .* does not mix with pellucid"):
        find_records(tossing.study(), tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "arm": 3}'])
def test_a_damaged_result_is_named(tossing, run_all, tmp_path, content):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    (tmp_path / "tossing/head-seed-0.json").write_text(content)
    with pytest.raises(DataError, match=r"head-seed-0\.json: is not a whole result"):
        find_records(tossing.study(), tmp_path)


def test_a_missing_image_is_named(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    (tmp_path / "tossing/head-seed-0.window.png").unlink()
    with pytest.raises(DataError, match=r"head-seed-0\.json: is not a whole result"):
        find_records(tossing.study(), tmp_path)


def test_photographs_are_loaded_only_where_needed_and_belong_to_the_result(tossing, tmp_path):
    def photographs(level):
        image = np.full((16, 16, 3), level, np.uint8)
        return Photographs([image], [image], "gray")

    def run(study, folder, load):
        with ThreadPoolExecutor(1) as executor:
            return list(run_studies([study], Effort.QUICK, 1, folder, load, executor))

    run(tossing.study(), tmp_path / "a", lambda: pytest.fail("loaded"))
    needy = tossing.study(needs_photographs=True)
    run(needy, tmp_path / "b", lambda: photographs(1))
    run(needy, tmp_path / "b", lambda: photographs(1))
    assert len(tossing.ran) == 4
    with pytest.raises(DataError, match=r"photographs 'gray .* does not mix with 'gray"):
        run(needy, tmp_path / "b", lambda: photographs(2))
    assert NO_PHOTOGRAPHS.identity == ""


def test_a_folder_that_cannot_be_written(tossing, run_all, tmp_path):
    (tmp_path / "tossing").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        run_all(tossing.study(), tmp_path)


def test_nothing_half_written_stays(tossing, run_all, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"head-seed-0\.window\.png: cannot be written \(No space left"):
        run_all(tossing.study(), tmp_path)
    assert list((tmp_path / "tossing").iterdir()) == []


def test_the_machine_has_a_description():
    assert set(runner.describe_machine()) == {"processor", "cores", "system"}
