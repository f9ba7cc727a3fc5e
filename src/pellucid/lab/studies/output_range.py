"""Study: how a network's last values are brought to the range of pixels, and what that does to its gradients.

See `lab.study`. Each output is trained from a good and from a bad start: the bias of the last convolution decides how
far from a middle gray the first images are.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.evaluation.metrics import psnr
from pellucid.lab.pictures import Photographs, Pixels
from pellucid.lab.studies.output_range_figures import draw
from pellucid.lab.studies.output_range_findings import find, tabulate
from pellucid.lab.study import Arm, Effort, Measured, Study
from pellucid.lab.training import Image, fit, held_out_psnr, noisy_copy, small_recipe
from pellucid.training.datasets import Batch
from pellucid.training.module import DenoisingModule
from pellucid.training.nn.heads import Clip

_OUTPUTS: dict[str, tuple[str, bool]] = {
    "linear": ("linear", False),
    "linear + penalty": ("linear", True),
    "clip": ("clip", False),
    "sigmoid": ("sigmoid", False),
    "tanh": ("tanh", False),
    "scaled tanh": ("scaled_tanh", False),
    "scaled tanh + penalty": ("scaled_tanh", True),
}
#: Added to the bias of the last convolution. The clip's first values are then well out of its range.
_STARTS = {"good": 0.0, "bad": -2.0}
#: Heavy enough that a value out of range by a few levels of 255 outweighs the absolute error's slope of 1.
_PENALTY = 20.0
_SIGMA = 25.0
_NEAR = 0.05
#: The image is noisy - (noisy - image), which leaves the range by rounding.
_ROUNDING = 1e-6
_WINDOW_PX, _GRID_PX = 48, 16
_FULL = {
    "n_steps": 800,
    "measured_at": (0, 5, 10, 20, 40, 70, 110, 170, 250, 400, 600, 799),
    "widths": (16, 32),
    "patch_px": 48,
    "n_warmup": 20,
    "every_px": 1,
}
_QUICK = {"n_steps": 3, "measured_at": (0, 1, 2), "widths": (4, 4), "patch_px": 16, "n_warmup": 1, "every_px": 4}


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    shared = {**(_QUICK if effort is Effort.QUICK else _FULL), "near": _NEAR}
    return [
        Arm(
            f"{output.replace(' + ', '-').replace(' ', '-')}-{start}-start-seed-{seed}",
            {"output": output, "penalty": _PENALTY * penalized, "start": start, "shift": shift, **shared},
            seed,
        )
        for output, (_, penalized) in _OUTPUTS.items()
        for start, shift in _STARTS.items()
        for seed in range(n_seeds)
    ]


def _run(arm: Arm, photographs: Photographs) -> Measured:
    """Train one output from one start; watch its gradients, and measure held-out photographs on the way and after."""
    settings = arm.settings
    held_out = [image[:: settings["every_px"], :: settings["every_px"]] for image in photographs.held_out]
    recipe = small_recipe(
        seed=arm.seed,
        n_steps=settings["n_steps"],
        network={"widths": settings["widths"], "output": _OUTPUTS[settings["output"]][0]},
        data={"patch_px": settings["patch_px"]},
        optimizer={"warmup_steps": settings["n_warmup"]},
        range_penalty=settings["penalty"],
    )
    gradients = _Gradients(settings["near"])
    curve: list[float] = []

    def watch(step: int, module: DenoisingModule, batch: Batch, _loss: float) -> None:
        gradients.note(batch)
        if step in settings["measured_at"]:
            curve.append(held_out_psnr(module, held_out, _SIGMA))

    prepare = partial(_prepare, gradients, settings["shift"])
    module = fit(recipe, photographs.train, prepare=prepare, watch=watch).module
    zero = np.array(gradients.zero)
    ends = [*settings["measured_at"][1:], settings["n_steps"]]
    return {
        "psnr_curve": curve,
        # Between two measurements: of each step, from the first of them until before the second.
        "zero_curve": [zero[a:b].mean() for a, b in pairwise([settings["measured_at"][0], *ends])],
        "zero_first": zero[0],
        "zero_last": zero[-1],
        "zero_most": zero.max(),
        "reach": gradients.reach(),
        **_measure(module, held_out, settings["near"]),
    }


class _Gradients:
    """Notes what gradient reaches the values before the map.

    Parameters
    ----------
    near : float
        Samples whose clean value is so close to 0 or 1 are told apart from the others.
    """

    def __init__(self, near: float) -> None:
        self.near = near
        self.zero: list[float] = []
        self._sizes: list[tuple[float, float]] = []
        self._gradient = torch.zeros(0)

    def keep(self, _layer: object, inputs: tuple[torch.Tensor]) -> None:
        """Have the gradient by a training step's values kept; a hook of the map."""
        if inputs[0].requires_grad:
            inputs[0].register_hook(self._take)  # type: ignore[no-untyped-call]

    def _take(self, gradient: torch.Tensor) -> None:
        self._gradient = gradient

    def note(self, batch: Batch) -> None:
        """Note the gradient of the last step, once it is there."""
        size, clean = self._gradient.abs(), batch["clean"]
        extreme = (clean < self.near) | (clean > 1 - self.near)
        self.zero.append(float((size == 0).double().mean()))
        self._sizes.append((float(size[extreme].mean()), float(size[~extreme].mean())))

    def reach(self) -> float:
        """Give the mean size near 0 and 1, relative to that elsewhere, over the last fifth of the steps; or NaN."""
        last = np.array(self._sizes[-max(1, len(self._sizes) // 5) :])
        last = last[np.isfinite(last).all(axis=1)]
        extreme, other = last.sum(axis=0)
        return float(extreme / other) if other > 0 else np.nan


def _prepare(gradients: _Gradients, shift: float, module: DenoisingModule) -> None:
    """Shift the values before the map, and have their gradients watched."""
    with torch.no_grad():
        module.network.tail.bias += shift
    module.network.output.register_forward_pre_hook(gradients.keep)


def _measure(module: DenoisingModule, held_out: Sequence[Pixels], near: float) -> dict[str, Any]:
    """Measure the trained network on all held-out samples together, and cut out a window."""
    cleans = [image.astype(np.float32) / np.float32(255) for image in held_out]
    noisies = [noisy_copy(image, _SIGMA, index) for index, image in enumerate(held_out)]
    outputs = [_output(module, noisy) for noisy in noisies]
    clean, raw = (np.concatenate([image.ravel() for image in images]) for images in (cleans, outputs))
    denoised = raw.clip(0, 1)
    parts = {"black": clean < near, "white": clean > 1 - near}
    parts["ends"] = parts["black"] | parts["white"]
    index, *window = _window(cleans, near)
    shown = {"window": outputs, "window_clean": cleans, "window_noisy": noisies}
    return {
        "psnr": np.mean([psnr(image, output.clip(0, 1)) for image, output in zip(cleans, outputs, strict=True)]),
        **{f"psnr_{name}": psnr(clean[part], denoised[part]) if part.any() else np.nan for name, part in parts.items()},
        "out_of_range": np.mean((raw < -_ROUNDING) | (raw > 1 + _ROUNDING)),
        **{name: _to_bytes(images[index][tuple(window)]) for name, images in shown.items()},
    }


@torch.no_grad()
def _output(module: DenoisingModule, noisy: Image) -> Image:
    """Give what the network makes of an image, before any clipping that its map does not do."""
    tensor = torch.from_numpy(noisy).permute(2, 0, 1)[None]
    sigma = torch.full((1, 1, *tensor.shape[2:]), _SIGMA / 255)
    output: Image = module.network.image(tensor, sigma)[0].permute(1, 2, 0).numpy()
    return output


def _window(images: Sequence[Image], near: float) -> tuple[int, slice, slice]:
    """Choose the window, of all on a grid, that holds most of what it has less of: black samples or white ones."""
    places = [
        (index, slice(top, top + _WINDOW_PX), slice(left, left + _WINDOW_PX))
        for index, image in enumerate(images)
        for top in range(0, image.shape[0] - _WINDOW_PX + 1, _GRID_PX)
        for left in range(0, image.shape[1] - _WINDOW_PX + 1, _GRID_PX)
    ]

    def scarcer(place: tuple[int, slice, slice]) -> tuple[float, float]:
        window = images[place[0]][place[1:]]
        black, white = float((window < near).mean()), float((window > 1 - near).mean())
        return min(black, white), max(black, white)

    return max(places, key=scarcer)


def _to_bytes(image: Image) -> NDArray[np.uint8]:
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)


STUDY = Study(
    name="output-range",
    version=1,
    title="The range of the output",
    question="How is a network kept to the range of pixels, 0 to 1, without losing its gradient?",
    claim="ReLU(x) − ReLU(x − 1) maps to the range, but is a terrible idea: once a value is outside, no gradient "
    "pushes it back. Sigmoid and tanh have weak gradients where the output is close to 0 or 1. One may penalize values "
    "out of range instead. It is often useful to do both: a(tanh(x) + b) with b < 1 and a > 1/(b + 1) goes a little "
    "beyond 0 and 1, has gradients there that are not too small, and a penalty brings it back.",
    method=f"One small network gives the image through each of these maps, with and without the lecture's penalty "
    f"(weight {_PENALTY:g}). It is trained to remove Gaussian noise of level 25, with the absolute error and Adam. The "
    "good start is a middle gray; for the bad one, the bias before the map is lowered by "
    f"{-_STARTS['bad']:g}, so that the clip's first values are near {Clip.middle + _STARTS['bad']:g}. "
    "During training we look at the gradient of "
    "the loss by each value before the map: how many are exactly zero, and how large they are near black and white "
    f"(clean values within {_NEAR} of 0 or 1) compared with elsewhere. After training: PSNR of held-out photographs, "
    "clipped to the range as they would be saved, also of samples near black and near white alone; and how many values "
    "are out of range before they are clipped.",
    arms=_arms,
    run=_run,
    draw=draw,
    find=find,
    tabulate=tabulate,
)
