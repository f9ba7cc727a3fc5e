"""The commands ``pellucid train`` and ``pellucid export``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.errors import ParameterError, require_extra


def train_command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="Training recipe; see recipes/.")],
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of clean images.")],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Run folder to create.")],
    noisy: Annotated[
        Path | None,
        typer.Option("--noisy", metavar="DIR", help="Folder of noisy images, each named like its clean image."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest checkpoint.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a key of the recipe in all stages, or in one, as in stage.2.max_steps=500; repeatable.",
        ),
    ] = None,
) -> None:
    """Train a denoiser on a folder of clean images, or of pairs with --noisy.

    The run folder gets recipe.json, versions.json and data.json, metrics.jsonl, events/ for TensorBoard, samples/ with
    images of the progress, checkpoints/, and at the end weights.safetensors. With several stages, each has a run folder
    of its own in it, stage-1/, stage-2/ and so on. A run that was stopped, by Ctrl-C or a crash, goes on exactly with
    --resume.

    Several processes or machines train together when torchrun starts them; they share data.batch_size. The run folder
    must be on a disk that all of them see.

    Examples:

      pellucid train recipes/color.toml --data photos/ --out runs/color

      pellucid train recipes/color.toml --data photos/ --out runs/color --resume

      pellucid train recipes/gray.toml --data photos/ --out runs/more --set init_from=gray --set stage.1.max_steps=2000

      torchrun --standalone --nproc-per-node 2 -m pellucid train recipes/color.toml --data photos/ --out runs/color
    """
    require_extra("training", "train", "torch", "pytorch_lightning")
    from pellucid.training.recipe import load_recipe  # noqa: PLC0415
    from pellucid.training.trainer import train  # noqa: PLC0415

    stages = load_recipe(recipe, dict(_parse_change(change) for change in changes or []))
    typer.echo(f"{train(stages, data, output, noisy=noisy, resume=resume)}")


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    *,
    output: Annotated[Path, typer.Option("--out", "-o", metavar="MODELDIR", help="Model folder to write.")],
) -> None:
    """Export a run's averaged weights as a model folder that runs without torch.

    Examples:

      pellucid export runs/color -o models/color

      pellucid denoise night.jpg --model models/color
    """
    require_extra("training", "train", "torch", "pytorch_lightning")
    from pellucid.training.export import export_model, load_trained  # noqa: PLC0415

    typer.echo(f"{export_model(load_trained(run), output)}")


def _parse_change(text: str) -> tuple[str, Any]:
    """Read ``key=value``; the value is TOML, or else text."""
    import tomllib  # noqa: PLC0415

    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ParameterError(f"--set {text}: give KEY=VALUE, as in --set max_steps=2000")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
