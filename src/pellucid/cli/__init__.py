"""The command ``pellucid``; slow imports happen inside the commands, so that ``--help`` answers at once."""

import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from pellucid.cli.batch import batch_command
from pellucid.cli.denoise import denoise_command
from pellucid.cli.evaluate import evaluate_command
from pellucid.cli.info import doctor_command, estimate_command, models_command
from pellucid.cli.lab import app as lab_app
from pellucid.cli.output import print_error
from pellucid.cli.serve import serve_command
from pellucid.cli.train import export_command, train_command
from pellucid.errors import ExitCode, OutputError, PellucidError

app = typer.Typer(
    name="pellucid",
    help="Denoise images: a noisy image in, a clean image out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from pellucid import __version__  # noqa: PLC0415

        typer.echo(f"pellucid {__version__}")
        raise typer.Exit


@app.callback()
def pellucid(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A noisy image in, a clean image out."""


app.command("denoise")(denoise_command)
app.command("batch")(batch_command)
app.command("estimate")(estimate_command)
app.command("models")(models_command)
app.command("doctor")(doctor_command)
app.command("evaluate")(evaluate_command)
app.command("train")(train_command)
app.command("export")(export_command)
app.command("serve")(serve_command)
app.add_typer(lab_app, name="lab")


def main() -> NoReturn:
    """Run the command line; every expected error becomes one line on stderr and its exit code."""
    code: int | str | None = 0
    # SIGTERM as SIGINT: partial files are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(standalone_mode=True)
    except SystemExit as stop:
        code = stop.code
    except PellucidError as error:
        print_error(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OutputError.exit_code
    sys.exit(code)
