"""Training speed with the data loader relative to batches in memory: ``python benchmarks/loader.py``.

One network trains alternately on prepared batches and on a stream that makes them in parallel, with the noise of the
bundled models. Patches come from a photograph of scikit-image, or from the images of a folder.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

import torch

from pellucid.evaluation.environment import describe_environment
from pellucid.io import Samples
from pellucid.training.datamodule import BatchStream, load_images
from pellucid.training.datasets import Batch, Sampler, patch_sampler
from pellucid.training.module import DenoisingModule
from pellucid.training.recipe import Recipe, parse_recipe

BAR = 0.90
SHAPE = {"widths": [64, 64, 128], "depths": [2, 2, 2]}
#: Steps of a stream before it is timed, until its queue is full.
N_WARM_UP = 2


def find_images(folder: Path | None, patch_px: int) -> Sequence[Samples]:
    """Load a folder, or the photograph."""
    if folder is not None:
        return load_images(folder, n_channels=3, min_px=patch_px)[0]
    from skimage.data import astronaut  # noqa: PLC0415 (an extra)

    return [astronaut()]


def build_step(recipe: Recipe) -> Callable[[Batch], None]:
    """Build a training step in bfloat16, as Lightning takes it."""
    module = DenoisingModule(recipe)
    module.log = lambda *_, **__: None  # no trainer listens
    optimizer = module.configure_optimizers()["optimizer"]

    def step(batch: Batch) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = module.training_step(batch, 0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.optimizer.clip_norm)
        optimizer.step()

    return step


def time_steps(step: Callable[[Batch], None], batches: Iterator[Batch], n_steps: int) -> float:
    """Return the seconds per step, including the wait for batches, after some warm-up steps."""
    for batch in itertools.islice(batches, N_WARM_UP):
        step(batch)
    start = time.perf_counter()
    for batch in itertools.islice(batches, n_steps):
        step(batch)
    return (time.perf_counter() - start) / n_steps


def measure(
    step: Callable[[Batch], None], sampler: Sampler, batch_size: int, n_rounds: int, n_steps: int
) -> tuple[list[float], list[float]]:
    """Train alternately; return the seconds per step of each round, from memory and from the loader."""
    ready = [sampler.batch(batch_size * number, batch_size) for number in range(n_steps + N_WARM_UP)]
    time_steps(step, iter(ready), N_WARM_UP)
    memory: list[float] = []
    loader: list[float] = []
    for number in range(n_rounds):
        memory.append(time_steps(step, iter(ready), n_steps))
        # A new stream each time, so that none is running while steps from memory are timed.
        stream = BatchStream(sampler, batch_size, first_step=number * (n_steps + N_WARM_UP))
        with closing(iter(stream)) as batches:  # type: ignore[type-var]
            loader.append(time_steps(step, batches, n_steps))
    return memory, loader


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of clean images")
    parser.add_argument("--batch", type=int, default=8, metavar="N")
    parser.add_argument("--patch", type=int, default=96, metavar="PX")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="steps of each per round")
    options = parser.parse_args(arguments)
    data = {"patch_px": options.patch, "batch_size": options.batch}
    about = {"name": "loader", "summary": "the shape of the shipped models", "max_steps": 1000}
    recipe = parse_recipe({**about, "network": SHAPE, "data": data}, "benchmark")
    sampler = patch_sampler(find_images(options.data, options.patch), recipe)
    about = describe_environment()
    print(f"{about['processor']}, {torch.get_num_threads()} threads; {about['system']}; torch {torch.__version__}")
    memory, loader = measure(build_step(recipe), sampler, options.batch, options.rounds, options.steps)
    for name, seconds in (("memory", memory), ("loader", loader)):
        print(f"{name:<8}{1 / median(seconds):8.2f} steps/s   {median(seconds) * 1e3:7.1f} ms per step")
    ratio = median(before / beside for before, beside in zip(memory, loader, strict=True))
    print(f"speed with the loader relative to memory: {ratio:.3f} (bar: {BAR:.2f})")


if __name__ == "__main__":
    main()
