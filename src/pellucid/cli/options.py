"""What the commands share: options, the pixel limit, and how an error is told.

It loads nothing heavy, since every command imports it.
"""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.errors import ParameterError, PellucidError

if TYPE_CHECKING:
    from pellucid.files import Settings

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
Sigma = Annotated[
    float | None,
    typer.Option("--sigma", "-s", metavar="S", help="Noise level, 0..55 of 255; default: estimated."),
]
Strength = Annotated[
    float, typer.Option("--strength", metavar="0..100", help="How much of the noise to take out, in percent.")
]
Luma = Annotated[
    float, typer.Option("--luma", metavar="0..100", help="The same for brightness alone; times --strength.")
]
Chroma = Annotated[
    float, typer.Option("--chroma", metavar="0..100", help="The same for colour alone; times --strength.")
]
Detail = Annotated[
    float,
    typer.Option("--detail", metavar="0..100", help="Give back so much of what was taken out of edges and texture."),
]
Tile = Annotated[
    int | None, typer.Option("--tile", metavar="PX", help="Side of a tile; smaller ones need less memory.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def make_settings(
    *,
    model: str | None,
    sigma: float | None,
    strength: float,
    luma: float,
    chroma: float,
    detail: float,
    tile: int | None,
    threads: int | None,
    device: str,
    precision: str,
) -> "Settings":
    """Bring what the command line says of how files are denoised to the library's scales."""
    from pellucid.files import Settings  # noqa: PLC0415
    from pellucid.inference.denoiser import DEFAULT_TILE_PX  # noqa: PLC0415

    return Settings(
        model=model,
        sigma=None if sigma is None else sigma / 255,
        strength=_percent("strength", strength),
        luma=_percent("luma", luma),
        chroma=_percent("chroma", chroma),
        detail=_percent("detail", detail),
        tile_px=DEFAULT_TILE_PX if tile is None else tile,
        device=device,
        precision=precision,
        n_threads=threads,
        max_pixels=max_pixels(),
    )


def _percent(name: str, value: float) -> float:
    if not 0 <= value <= 100:
        raise ParameterError(f"{name} {value}: give a number from 0 to 100")
    return value / 100


def max_pixels() -> int | None:
    """Read the limit that ``PELLUCID_MAX_PIXELS`` sets, if it does."""
    text = os.environ.get("PELLUCID_MAX_PIXELS", "")
    if not text:
        return None
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
