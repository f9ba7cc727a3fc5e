"""Training speed relative to a plain PyTorch loop: ``python benchmarks/training_step.py``.

Both loops train the same network on the same batches in one process, alternating every few steps. Ours has bfloat16,
channels last, Muon, gradient clipping and weight averaging; the plain loop has float32, contiguous tensors and AdamW.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from pellucid.doctor import describe_environment
from pellucid.training.callbacks.ema import EMA_DECAY, ema_update
from pellucid.training.module import DenoisingModule
from pellucid.training.recipe import Recipe, parse_recipe

BAR = 1.8
RECIPE = {"name": "step", "summary": "the shape of the bundled models", "max_steps": 1000}
SHAPE = {"widths": [64, 64, 128], "depths": [2, 2, 2]}
Batch = dict[str, torch.Tensor]


def make_batch(batch_size: int, patch_px: int) -> Batch:
    """Make a random batch."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(batch_size, 3, patch_px, patch_px, generator=generator)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator)
    return {"clean": clean, "noisy": noisy, "cond_sigma": torch.full((batch_size, 1, patch_px, patch_px), 0.1)}


def our_step(recipe: Recipe, batch: Batch) -> Callable[[], float]:
    """Build our training step."""
    module = DenoisingModule(recipe)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # no trainer listens
    optimizer = module.configure_optimizers()["optimizer"]
    weights = list(module.network.parameters())
    averages = [weight.detach().clone() for weight in weights]
    average = ema_update(EMA_DECAY)
    batch = {name: values.to(memory_format=torch.channels_last) for name, values in batch.items()}

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16):
            loss = module.training_step(batch, 0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, recipe.optimizer.clip_norm)
        optimizer.step()
        average(averages, weights, 1000)
        return float(loss.detach())

    return step


def plain_step(recipe: Recipe, batch: Batch) -> Callable[[], float]:
    """Build the step of a plain loop over the same network."""
    module = DenoisingModule(recipe)
    network = module.network.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step() -> float:
        loss = (batch["noisy"] - network(batch["noisy"], batch["cond_sigma"]) - batch["clean"]).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def time_in_turn(steps: dict[str, Callable[[], float]], n_rounds: int, n_steps: int) -> dict[str, float]:
    """Train alternately; return the median seconds per step of each."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(n_rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(n_steps):
                step()
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - start) / n_steps)
    return {name: median(values) for name, values in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8, metavar="N")
    parser.add_argument("--patch", type=int, default=96, metavar="PX")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="steps of each per round")
    options = parser.parse_args(arguments)
    recipe = parse_recipe({**RECIPE, "network": SHAPE}, "benchmark")
    batch = make_batch(options.batch, options.patch)
    about = describe_environment()
    print(f"{about['processor']}, {torch.get_num_threads()} threads; {about['system']}; torch {torch.__version__}")
    medians = time_in_turn(
        {"pellucid": our_step(recipe, batch), "plain fp32": plain_step(recipe, batch)}, options.rounds, options.steps
    )
    for name, seconds in medians.items():
        print(f"{name:<12}{options.batch / seconds:8.1f} images/s   {seconds * 1e3:7.1f} ms per step")
    ratio = medians["plain fp32"] / medians["pellucid"]
    print(f"pellucid takes {ratio:.2f} times the images per second (bar: {BAR})")


if __name__ == "__main__":
    main()
