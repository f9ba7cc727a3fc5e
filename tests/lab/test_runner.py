import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import DataError, OutputError
from pellucid.lab import runner
from pellucid.lab.photographs import NO_PHOTOGRAPHS, Photographs
from pellucid.lab.results import load_study
from pellucid.lab.runner import run_studies, worker_processes
from pellucid.lab.study import Effort

COMMAND = (Path(sys.executable).with_name("pellucid"), "lab", "run", "depth", "--full", "--jobs", "2", "-o")


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
    found = load_study(tossing.study(), tmp_path)
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
    assert load_study(tossing.study(), tmp_path).n_missing == 2
    tossing.fails_at = ""
    steps = run_all(tossing.study(), tmp_path)
    assert [step.is_cached for step in steps] == [True] * 4 + [False] * 4
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
    assert load_study(tossing.study(), tmp_path).n_missing == 0


def test_more_seeds_keep_what_is_done(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    run_all(tossing.study(), tmp_path, n_seeds=2)
    assert tossing.ran == ["head-seed-0", "tail-seed-0", "head-seed-1", "tail-seed-1"]
    assert load_study(tossing.study(), tmp_path).n_missing == 0


def test_another_version_of_the_study_is_refused_before_anything_runs(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    with pytest.raises(DataError, match=r"head-seed-0\.json: has version 1 .* but this is version 2"):
        run_all(tossing.study(version=2), tmp_path)
    assert len(tossing.ran) == 2


def test_another_effort_is_refused(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    with pytest.raises(DataError, match="effort 'quick' cannot be compared with 'full'"):
        run_all(tossing.study(), tmp_path, Effort.FULL, n_seeds=1)


def test_other_settings_are_refused(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    path = tmp_path / "tossing/head-seed-0.json"
    change(path, settings={"side": "head", "n_steps": 11, "pair": [1, 2]})
    with pytest.raises(DataError, match=r"head-seed-0\.json: measured with other settings"):
        run_all(tossing.study(), tmp_path, n_seeds=1)
    with pytest.raises(DataError, match=r"head-seed-0\.json: measured with other settings"):
        load_study(tossing.study(), tmp_path)


def test_other_packages_are_refused(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    change(tmp_path / "tossing/tail-seed-0.json", versions={"pellucid": "0.0.1", "torch": "2", "numpy": "2"})
    with pytest.raises(DataError, match=r"versions pellucid 0\.0\.1, .* cannot be compared with pellucid"):
        run_all(tossing.study(), tmp_path, n_seeds=2)
    with pytest.raises(DataError, match=r"versions pellucid 0\.0\.1, .* cannot be compared with pellucid"):
        load_study(tossing.study(), tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "arm": 3}'])
def test_a_damaged_result_is_named(tossing, run_all, tmp_path, content):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    (tmp_path / "tossing/head-seed-0.json").write_text(content)
    with pytest.raises(DataError, match=r"head-seed-0\.json: incomplete result"):
        load_study(tossing.study(), tmp_path)


def test_a_missing_image_is_named(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path, n_seeds=1)
    (tmp_path / "tossing/head-seed-0.window.png").unlink()
    with pytest.raises(DataError, match=r"head-seed-0\.json: incomplete result"):
        load_study(tossing.study(), tmp_path)


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
    with pytest.raises(DataError, match=r"photographs 'gray .* cannot be compared with 'gray"):
        run(needy, tmp_path / "b", lambda: photographs(2))
    assert NO_PHOTOGRAPHS.identity == ""


def test_a_folder_that_cannot_be_written(tossing, run_all, tmp_path):
    (tmp_path / "tossing").write_text("a file")
    with pytest.raises(OutputError, match="cannot be created"):
        run_all(tossing.study(), tmp_path)


def test_nothing_half_written_stays(tossing, run_all, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"head-seed-0\.window\.png: no space left"):
        run_all(tossing.study(), tmp_path)
    assert list((tmp_path / "tossing").iterdir()) == []


def test_the_machine_has_a_description():
    assert set(runner.describe_machine()) == {"processor", "cores", "system"}


def run_module(name):
    """Import a module in a worker."""
    return __import__(name).get_num_threads()


def is_there(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(holds, limit_s=120):
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.1)


@pytest.fixture
def at_work(tmp_path):
    """A full run whose workers have begun their arms, and the workers' numbers."""
    with subprocess.Popen([*COMMAND, tmp_path / "results"], stderr=subprocess.PIPE, text=True) as process:
        # Two workers, and what keeps track of their semaphores.
        wait_until(lambda: len(children(process.pid)) >= 3)
        time.sleep(5)
        yield process, children(process.pid)
        process.kill()


@pytest.mark.slow
def test_each_has_one_thread():
    with worker_processes(2) as executor:
        assert list(executor.map(run_module, ["torch"] * 3)) == [1] * 3


@pytest.mark.slow
def test_one_that_dies_is_no_result():
    with worker_processes(1) as executor, pytest.raises(BrokenExecutor):
        executor.submit(os._exit, 1).result()


@pytest.mark.slow
def test_an_interrupted_run_leaves_nobody(at_work):
    process, workers = at_work
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in process.stderr.read()
    wait_until(lambda: not any(map(is_there, workers)), 20)


@pytest.mark.slow
def test_a_killed_run_leaves_nobody(at_work):
    process, workers = at_work
    process.kill()
    wait_until(lambda: not any(map(is_there, workers)), 60)
