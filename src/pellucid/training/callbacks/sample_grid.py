"""Images of the progress of a run: the same few held-out crops after each validation."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pellucid.evaluation.metrics import psnr
from pellucid.training.datasets import Batch
from pellucid.training.loggers import EventLogger
from pellucid.training.run_dir import write_file

#: Largest side of a crop, side it is drawn at (or a little less), gap between crops, height of a line of text.
CROP_PX, DRAWN_PX, GAP_PX, LINE_PX = 72, 216, 8, 24
_BACKGROUND, _FOREGROUND = (24, 24, 24), (225, 225, 225)
_FONT_PX = 16
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class GridRow:
    """One crop (H, W, C), float32, nominally in [0, 1], C is 1 or 3."""

    noisy: Pixels
    denoised: Pixels
    clean: Pixels

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise, 0..255 scale."""
        return 255 * float(np.std(self.noisy - self.clean))

    @property
    def gain(self) -> int:
        """Contrast of the residual, so that weak noise is visible."""
        return max(1, round(50 / max(self.sigma, 5.0)))


def draw_grid(rows: Sequence[GridRow], title: str) -> Image.Image:
    """Draw noisy, denoised and clean crops of one size, and residuals, ``0.5 + gain * (noisy - denoised)``.

    A good residual is pure noise: edges in it are lost detail.
    """
    side = rows[0].clean.shape[0]
    drawn_px = side * max(1, DRAWN_PX // side)
    width, height = 4 * (drawn_px + GAP_PX) + GAP_PX, LINE_PX + len(rows) * (LINE_PX + drawn_px) + GAP_PX
    grid = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(_FONT_PX)
    draw.text((GAP_PX, GAP_PX // 2), title, _FOREGROUND, font)
    for index, row in enumerate(rows):
        top = LINE_PX + index * (LINE_PX + drawn_px)
        before, after = (psnr(row.clean, np.clip(image, 0, 1)) for image in (row.noisy, row.denoised))
        labels = [f"noise {row.sigma:.0f}: {before:.1f}", f"denoised: {after:.1f}", "clean", f"residual x{row.gain}"]
        residual = 0.5 + row.gain * (row.noisy - row.denoised)
        for column, image in enumerate((row.noisy, row.denoised, row.clean, residual)):
            left = GAP_PX + column * (drawn_px + GAP_PX)
            draw.text((left, top + GAP_PX // 2), labels[column], _FOREGROUND, font)
            pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8).squeeze(-1 if image.shape[2] == 1 else ())
            crop = Image.fromarray(pixels).convert("RGB")
            grid.paste(crop.resize((drawn_px, drawn_px), Image.Resampling.NEAREST), (left, top + LINE_PX))
    return grid


def choose_rows(n_batches: int, n_rows: int = 3) -> list[int]:
    """Choose validation batches, spread evenly: of different noise levels and images."""
    return sorted({int(i) for i in np.linspace(0, n_batches - 1, min(n_rows, n_batches))})


class SampleGrid(pl.Callback):  # type: ignore[misc]
    """Draws the grid after each validation, with the averaged weights, into a folder and TensorBoard."""

    def __init__(self, folder: Path, events: EventLogger, val_batches: Sequence[Batch]) -> None:
        self.folder, self.events = folder, events
        self.chosen = choose_rows(len(val_batches))
        self.side = min(CROP_PX, *(side for i in self.chosen for side in val_batches[i]["clean"].shape[2:]))
        self._rows: list[GridRow] = []

    def on_validation_start(self, *_: Any) -> None:
        """Start a grid."""
        self._rows.clear()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: Any,
        _: Any,
        batch: Batch,
        batch_index: int,
        *__: Any,
    ) -> None:
        """Denoise the crop of a chosen batch, with the averages that are in place during validation."""
        if batch_index in self.chosen:
            with trainer.precision_plugin.forward_context():
                denoised = module.denoise(batch)
            crops = (_crop(image, self.side) for image in (batch["noisy"], denoised, batch["clean"]))
            self._rows.append(GridRow(*crops))

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Write the grid.

        Raises
        ------
        TrainingError
            The disk is full.
        """
        step = trainer.global_step
        grid = draw_grid(self._rows, f"step {step} of {trainer.max_steps}, PSNR in dB")
        buffer = io.BytesIO()
        grid.save(buffer, "png")
        write_file(self.folder / f"grid-{step:08d}.png", buffer.getvalue())
        self.events.experiment.add_image("grid", np.asarray(grid), step, dataformats="HWC")


def _crop(batch: torch.Tensor, side: int) -> Pixels:
    """Cut the middle of a batch's first image, as (side, side, C)."""
    top, left = ((length - side) // 2 for length in batch.shape[2:])
    crop = batch[0, :, top : top + side, left : left + side].permute(1, 2, 0).float()
    # A diverged network gives NaN and huge values, which end the run at the next step; they can be drawn.
    pixels: Pixels = crop.nan_to_num(nan=0.5).clamp(-1, 2).numpy()
    return pixels
