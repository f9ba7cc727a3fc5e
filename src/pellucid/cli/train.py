"""The commands ``pellucid train`` and ``pellucid export``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.errors import ParameterError, require_extra


def train_command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="How to train; see recipes/.")],
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of clean images.")],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run folder to make.")],
    noisy: Annotated[
        Path | None,
        typer.Option(
            "--noisy", metavar="DIR", help="Folder of noisy images, named like the clean ones they belong to."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest checkpoint.")] = False,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", help="Processes of this machine that share each batch.")
    ] = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; may be repeated."),
    ] = None,
) -> None:
    """Train a denoiser on a folder of clean images, or of pairs with --noisy.

    The run folder gets recipe.json, versions.json and data.json, metrics.jsonl, events/ for TensorBoard, pictures/ of
    how it is coming on, checkpoints/, and at the end weights.safetensors. A run that was stopped, by Ctrl-C or worse,
    goes on exactly with --resume.

    Several machines train together when torchrun starts one process or more on each, with the same command line;
    data.batch_size is then shared by all. The run folder must be on a disk that all of them see.

    Examples:

      pellucid train recipes/color.toml --data photos/ --out runs/color

      pellucid train recipes/color.toml --data photos/ --out runs/color --resume

      pellucid train recipes/gray.toml --data photos/ --out runs/more --set initial=gray --set n_steps=2000

      pellucid train recipes/color.toml --data photos/ --out runs/color --processes 2

      torchrun --nnodes 2 --node-rank 0 --master-addr HOST --master-port 29500 -m pellucid train recipes/color.toml
      --data photos/ --out /shared/runs/color
    """
    require_extra("training", "train", "torch", "pytorch_lightning")
    from pellucid.training.recipe import load_recipe  # noqa: PLC0415
    from pellucid.training.trainer import train  # noqa: PLC0415

    weights = train(
        load_recipe(recipe, dict(_parse_change(change) for change in changes or [])),
        data,
        output,
        noisy=noisy,
        resume=resume,
        processes=processes,
    )
    typer.echo(f"{weights}")


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    *,
    output: Annotated[Path, typer.Option("--out", "-o", metavar="MODELDIR", help="The model folder to write.")],
) -> None:
    """Turn a run's averaged weights into a model folder that runs without torch.

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
        raise ParameterError(f"--set {text}: give KEY=VALUE, as in --set n_steps=2000")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
