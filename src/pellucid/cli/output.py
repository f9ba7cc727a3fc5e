"""What commands print: errors and remarks on stderr, JSON lines on stdout."""

import json
from typing import Any

import typer


def print_error(error: Exception) -> None:
    """Print an error in one line on stderr."""
    typer.echo(f"pellucid: {error}", err=True)


def print_remark(text: str) -> None:
    """Print a line on stderr."""
    typer.echo(text, err=True)


def print_json(fields: Any, file: Any = None) -> None:
    """Print one JSON object as a line, by default on stdout."""
    typer.echo(json.dumps(fields), file=file)
