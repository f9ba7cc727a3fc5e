"""Every command takes its options from the one list."""

import pytest
import typer
from typer.testing import CliRunner

from pellucid.cli import app
from pellucid.cli.options import with_denoise_options
from pellucid.inference.options import PRESENTATIONS, DenoiseOptions


@pytest.mark.parametrize("command", ["denoise", "batch"])
def test_commands_have_every_option(command: str) -> None:
    found = {flag for option in typer.main.get_command(app).commands[command].params for flag in option.opts}  # type: ignore[attr-defined]
    assert {flag for shown in PRESENTATIONS.values() for flag in shown.flags} <= found


@pytest.fixture
def given() -> list[DenoiseOptions]:
    return []


@pytest.fixture
def small_app(given: list[DenoiseOptions]) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @with_denoise_options
    def command(*, options: DenoiseOptions) -> None:
        given.append(options)

    return app


def test_defaults_are_the_library_s(small_app: typer.Typer, given: list[DenoiseOptions]) -> None:
    assert CliRunner().invoke(small_app, []).exit_code == 0
    assert given == [DenoiseOptions()]


def test_units_and_environment(
    small_app: typer.Typer, given: list[DenoiseOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "1000")
    monkeypatch.setenv("PELLUCID_NUM_THREADS", "3")
    CliRunner().invoke(small_app, ["-s", "25.5", "--detail", "30", "--threads", "2", "-m", "gray"])
    assert given == [DenoiseOptions(sigma=0.1, detail=0.3, n_threads=2, model="gray", max_pixels=1000)]
