import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from pellucid.cli.lab import app
from pellucid.errors import MissingExtraError, ParameterError
from pellucid.lab.studies import STUDIES
from tests.lab.conftest import Tossing


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def in_threads(monkeypatch):
    """Let arms run in this process, for studies that other processes could not import."""
    monkeypatch.setattr("pellucid.lab.runner.worker_processes", ThreadPoolExecutor)


def test_list_names_all():
    result = run("list")
    assert [line.split()[0] for line in result.stdout.splitlines()] == [study.name for study in STUDIES]


def test_run_and_report(tmp_path, monkeypatch, in_threads):
    monkeypatch.setattr("pellucid.lab.studies.STUDIES", (Tossing().study(),))
    results, page = tmp_path / "results", tmp_path / "page.html"
    done = run("run", "tossing", "--quick", "--seeds", 2, "--jobs", 1, "-o", results)
    assert done.stderr.splitlines()[0].startswith("1/4  tossing/head-seed-0: 0.")
    assert done.stderr.splitlines()[-1] == f"{results}: complete: pellucid lab report {results} -o report.html"
    again = run("run", "--seeds", 2, "-o", results)
    assert [line.split(": ")[1] for line in again.stderr.splitlines()[:-1]] == ["kept"] * 4
    assert run("report", results, "-o", page).stdout == f"{page}\n"
    assert "Heads win by 2.00" in page.read_text()


def test_full(tmp_path, monkeypatch, in_threads):
    monkeypatch.setattr("pellucid.lab.studies.STUDIES", (Tossing().study(),))
    run("run", "--full", "--seeds", 1, "-o", tmp_path)
    assert json.loads((tmp_path / "tossing/head-seed-0.json").read_text())["effort"] == "full"


def test_bad_arguments(tmp_path):
    with pytest.raises(ParameterError, match="did you mean 'momentum'"):
        run("run", "momenta", "-o", tmp_path)
    with pytest.raises(ParameterError, match="is not a folder"):
        run("run", "--data", tmp_path / "nothing", "-o", tmp_path)
    assert run("run", "--seeds", 0).exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("list",), ("run", "--quick"), ("report",)])
def test_missing_extra(arguments, without_module):
    without_module("jinja2")
    with pytest.raises(MissingExtraError, match=r"jinja2, which is not installed: pip install 'pellucid\[lab\]'"):
        run(*arguments)


def test_help_is_cheap():
    code = (
        "import sys\n"
        "from pellucid.cli import app\n"
        "for command in ([], ['list'], ['run'], ['report']):\n"
        "    app(['lab', *command, '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'matplotlib', 'scipy', 'skimage', 'jinja2', 'pyvips', 'openvino'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for example in ("pellucid lab list", "pellucid lab run --quick", "pellucid lab report lab-results/ -o report.html"):
        assert example in done.stdout
