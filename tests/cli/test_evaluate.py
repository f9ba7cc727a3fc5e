import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from pellucid.cli.evaluate import evaluate_command
from pellucid.errors import DataError, OutputError, ParameterError
from pellucid.evaluation import baselines
from pellucid.evaluation.baselines import Method


@pytest.fixture
def run():
    app = typer.Typer()
    app.command("evaluate")(evaluate_command)

    def invoke(*arguments, raises=False):
        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=raises)

    return invoke


def test_table_on_stdout(run, pictures):
    result = run(*pictures, "--method", "noisy", "-m", "skimage-tv", "--sigma", 25, "-s", 15)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["sigma", "method", "noisy", "skimage-tv"]
    assert result.stderr == ""


def test_json_on_stdout(run, pictures):
    result = run(pictures[0].parent, "-m", "noisy", "--limit", 2, "--crop", 16, "--seed", 7, "--json")
    found = json.loads(result.stdout)
    assert len(found["rows"]) == 2 * 3
    assert found["protocol"]["crop_px"] == 16
    assert found["protocol"]["seed"] == 7


def test_files(run, pictures, tmp_path):
    result = run(pictures[0], "-m", "noisy", "-s", 25, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert "written: evaluation.csv, evaluation.json, quality_per_time.png" in result.stderr


def test_used_folder(run, pictures, tmp_path, monkeypatch):
    (tmp_path / "evaluation.json").write_text("{}")
    monkeypatch.setattr("pellucid.evaluation.benchmark.evaluate", lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(OutputError, match="already has an evaluation"):
        run(pictures[0], "-m", "noisy", "-o", tmp_path)


def test_without_matplotlib(run, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(pictures[0], "-m", "noisy", "-s", 25, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "tables written; no plot: plot: needs matplotlib" in result.stderr


def test_all_methods(run, pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    result = run(pictures[0], "-m", "all", "-s", 25)
    assert result.exit_code == 0
    skipped = [line.split(": ")[:2] for line in result.stderr.splitlines()]
    assert skipped == [["skipped", name] for name in ("bm3d", "ffdnet", "dncnn-25", "dncnn-blind")]
    done = [line.split()[0] for line in result.stdout.splitlines()[2:]]
    assert done == ["noisy", "skimage-wavelet", "skimage-tv", "skimage-nlm", "opencv-nlm", "pellucid"]


def test_failures(run, pictures, monkeypatch):
    def fail(noisy, sigma):
        raise ValueError("not today")

    broken = Method("broken", "classical", (), lambda _setup: fail)
    original = baselines.find_method
    monkeypatch.setattr(
        "pellucid.evaluation.benchmark.find_method",
        lambda name: broken if name == "broken" else original(name),
    )
    result = run(*pictures, "-m", "broken", "-m", "noisy", "-s", 25, "-s", 15)
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        f"failed: broken, sigma {sigma}, {pictures[0]} and 2 more: ValueError: not today" for sigma in (15, 25)
    ]
    assert result.stdout.splitlines()[-1].startswith("noisy")


def test_bad_image(run, pictures):
    pictures[1].write_bytes(b"")
    result = run(*pictures, "-m", "noisy", "-s", 25)
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("failed: ")
    assert "b.png" in result.stderr


def test_interruption_writes_what_is_done(run, pictures, tmp_path, monkeypatch):
    images = iter([False, True])

    def interrupt(noisy, sigma):
        if next(images):
            raise KeyboardInterrupt
        return noisy

    method = Method("patient", "classical", (), lambda _setup: interrupt)
    original = baselines.find_method
    monkeypatch.setattr(
        "pellucid.evaluation.benchmark.find_method",
        lambda name: method if name == "patient" else original(name),
    )
    result = run(pictures[0], "-m", "noisy", "-m", "patient", "-s", 25, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert "interrupted: the 1 measurements done so far are kept" in result.stderr
    found = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert found["interrupted"] is True
    assert [row["method"] for row in found["rows"]] == ["noisy"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["-m", "nonsense"], ParameterError, "^method 'nonsense'"),
        (["--limit", "0"], ParameterError, "^limit 0: give at least 1"),
        (["-s", "-5"], ParameterError, "^sigma -5: "),
    ],
)
def test_bad_arguments(run, pictures, arguments, error, message):
    with pytest.raises(error, match=message):
        run(pictures[0], *arguments)


def test_a_path_that_is_not_there(run, tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        run(tmp_path / "nothing")


def test_importing_the_command_is_cheap():
    code = (
        "import sys, pellucid.cli.evaluate\n"
        "heavy = {'openvino', 'pyvips', 'matplotlib', 'rich', 'skimage', 'cv2', 'torch'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
