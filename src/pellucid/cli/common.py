"""What the commands share: options, the pixel limit, and how an error is told.

It loads nothing heavy, since every command imports it.
"""

import os
from typing import Annotated

import typer

from pellucid.errors import ParameterError, PellucidError

EXIT_SOME_FAILED, EXIT_INTERRUPTED = 3, 130

Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", envvar="PELLUCID_NUM_THREADS", help="Processors to use; default: all."),
]
Device = Annotated[str, typer.Option("--device", envvar="PELLUCID_DEVICE", help="auto, cpu, gpu or npu.")]
Precision = Annotated[str, typer.Option("--precision", help="Of the network's arithmetic: auto, fp32 or bf16.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="NAME", help="A model's name or folder; see 'pellucid models'.")
]


def max_pixels(default: int) -> int:
    """Read the limit that ``PELLUCID_MAX_PIXELS`` sets."""
    text = os.environ.get("PELLUCID_MAX_PIXELS", "")
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ParameterError(f"PELLUCID_MAX_PIXELS '{text}': give a whole number of pixels")
    return value


def complain(error: PellucidError) -> None:
    """Tell an error in one line on stderr."""
    typer.echo(f"pellucid: {error}", err=True)
