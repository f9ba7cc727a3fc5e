"""What commands print: errors, remarks and tables on stderr, JSON lines on stdout."""

import json
import sys
from collections.abc import Iterable
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


def print_table(title: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table on stderr; where that is no terminal, each row in one line, however long."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*header, title=title, box=None, title_justify="left")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(stderr=True, width=None if sys.stderr.isatty() else 10_000, soft_wrap=True).print(table)
