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
    path.write_text('name = "x"\nsummary = "y"\nmax_steps = 10\n')
    return path


def test_arguments_reach_the_run(
    app: typer.Typer, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    def train(*positional: Any, **named: Any) -> Path:
        calls.append((*positional, named))
        return tmp_path / "weights.safetensors"

    monkeypatch.setattr(run_module, "train", train)
    changes = ["--set", "optimizer.lr=0.5", "--set", "init_from=gray"]
    options = ["--noisy", "n", "--resume", *changes]
    done = CliRunner().invoke(app, [str(recipe), "--data", "d", "--out", "o", *options], catch_exceptions=False)
    assert done.stdout == f"{tmp_path / 'weights.safetensors'}\n"
    (((given,), data, out, named),) = calls
    assert (given.optimizer.lr, given.init_from, data, out) == (0.5, "gray", Path("d"), Path("o"))
    assert named == {"noisy": Path("n"), "resume": True}
    CliRunner().invoke(app, [str(recipe), "--data", "d", "--out", "o"], catch_exceptions=False)
    assert calls[1][3] == {"noisy": None, "resume": False}


def test_change_without_value(app: typer.Typer, recipe: Path) -> None:
    arguments = [str(recipe), "--data", "d", "--out", "o", "--set", "max_steps"]
    with pytest.raises(ParameterError, match="--set max_steps: give KEY=VALUE"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_help_tells_of_several_machines(app: typer.Typer) -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    assert "torchrun" in text
