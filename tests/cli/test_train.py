from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pellucid.cli.train import train_command
from pellucid.errors import ParameterError
from pellucid.training import trainer as run_module


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(train_command)
    return app


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "r.toml"
    path.write_text('name = "x"\nsummary = "y"\nn_steps = 10\n')
    return path


def test_arguments_reach_the_run(
    app: typer.Typer, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    def train(*positional: Any, **named: Any) -> Path:
        calls.append((*positional, named))
        return tmp_path / "weights.safetensors"

    monkeypatch.setattr(run_module, "train", train)
    changes = ["--set", "optimizer.lr=0.5", "--set", "initial=gray"]
    options = ["--noisy", "n", "--resume", "--processes", "2", *changes]
    done = CliRunner().invoke(app, [str(recipe), "--data", "d", "--out", "o", *options], catch_exceptions=False)
    assert done.stdout == f"{tmp_path / 'weights.safetensors'}\n"
    ((given, data, out, named),) = calls
    assert (given.optimizer.lr, given.initial, data, out) == (0.5, "gray", Path("d"), Path("o"))
    assert named == {"noisy": Path("n"), "resume": True, "processes": 2}
    CliRunner().invoke(app, [str(recipe), "--data", "d", "--out", "o"], catch_exceptions=False)
    assert calls[1][3] == {"noisy": None, "resume": False, "processes": 1}


def test_a_change_without_a_value_is_refused(app: typer.Typer, recipe: Path) -> None:
    with pytest.raises(ParameterError, match="--set n_steps: give KEY=VALUE"):
        CliRunner().invoke(app, [str(recipe), "--data", "d", "--out", "o", "--set", "n_steps"], catch_exceptions=False)


def test_help_tells_of_several_machines(app: typer.Typer) -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    assert "torchrun" in text
    assert "--processes" in text
