"""Pictures of how a run is coming on: the same few held-out crops after each validation.

Batches of validation enter; ``pictures/grid-N.png`` leaves, a row for each crop with the noisy, the denoised and the
clean image and what was taken out. It knows nothing of how the network is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from pellucid import io
from pellucid.evaluation.metrics import psnr
from pellucid.training.datasets import Batch
from pellucid.training.lettering import HEIGHT_PX, draw_text
from pellucid.training.loggers import EventFile
from pellucid.training.run_dir import write_whole

#: A crop's side at most, the side it is drawn at or a little less, and what lies between two.
CROP_PX, DRAWN_PX, GAP_PX, TEXT_SCALE = 72, 216, 8, 2
_LINE_PX = HEIGHT_PX * TEXT_SCALE + GAP_PX
_PAPER, _INK = 24, 225
Image = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One crop at one moment of the run.

    Attributes
    ----------
    noisy, denoised, clean : ndarray, shape (H, W, C), float32, nominally in [0, 1]
        C is 1 or 3.
    """

    noisy: Image
    denoised: Image
    clean: Image

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise, of whatever kind, on the 0..255 scale."""
        return 255 * float(np.std(self.noisy - self.clean))

    @property
    def gain(self) -> int:
        """How much stronger than it is the residual is drawn, so that weak noise can be seen too."""
        return max(1, round(50 / max(self.sigma, 5.0)))


def draw_grid(rows: Sequence[Row], title: str) -> NDArray[np.uint8]:
    """Draw the crops side by side.

    The columns are noisy, denoised, clean and residual, the last as ``0.5 + gain * (noisy - denoised)``: gray is
    nothing, and edges of the image in it are detail lost.

    Parameters
    ----------
    rows : sequence of Row
        All crops of one size.
    title : str

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
    """
    side = rows[0].clean.shape[0]
    width = 4 * (side * _zoom(side) + GAP_PX) + GAP_PX
    strips = [_text_strip([title], width), *(_draw_row(row, width) for row in rows)]
    return np.concatenate([*strips, np.full((GAP_PX, width, 3), _PAPER, np.uint8)])


def _draw_row(row: Row, width: int) -> NDArray[np.uint8]:
    residual = 0.5 + row.gain * (row.noisy - row.denoised)
    zoom = _zoom(row.clean.shape[0])
    strip = np.full((row.clean.shape[0] * zoom, width, 3), _PAPER, np.uint8)
    for column, image in enumerate((row.noisy, row.denoised, row.clean, residual)):
        drawn = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)
        left = GAP_PX + column * (drawn.shape[1] + GAP_PX)
        strip[:, left : left + drawn.shape[1]] = drawn
    before, after = (psnr(row.clean, np.clip(image, 0, 1)) for image in (row.noisy, row.denoised))
    labels = [f"noise {row.sigma:.0f}: {before:.1f}", f"denoised: {after:.1f}", "clean", f"residual x{row.gain}"]
    return np.concatenate([_text_strip(labels, width), strip])


def _zoom(side: int) -> int:
    """Draw small crops larger, so that their labels have room."""
    return max(1, DRAWN_PX // side)


def _text_strip(labels: Sequence[str], width: int) -> NDArray[np.uint8]:
    """Write each label at the left of its share of the width."""
    strip = np.full((_LINE_PX, width, 3), _PAPER, np.uint8)
    for index, label in enumerate(labels):
        left = GAP_PX + index * (width - GAP_PX) // len(labels)
        ink = draw_text(label, TEXT_SCALE)[:, : width - left]
        strip[GAP_PX // 2 : GAP_PX // 2 + len(ink), left : left + ink.shape[1]][ink] = _INK
    return strip


def choose(n_batches: int, n_rows: int = 3) -> list[int]:
    """Choose validation batches for the grid, spread evenly: one for each noise level, each of another image."""
    return sorted({int(i) for i in np.linspace(0, n_batches - 1, min(n_rows, n_batches))})


class Pictures(pl.Callback):  # type: ignore[misc]
    """Draws the grid after each validation, with the averaged weights.

    Parameters
    ----------
    folder : Path
        The run's ``pictures`` folder.
    events : EventFile
        Gets the grid too.
    held_out : sequence of batches
        All batches of the validation, in order.
    n_steps : int
        Of the whole run.
    """

    def __init__(self, folder: Path, events: EventFile, held_out: Sequence[Batch], n_steps: int) -> None:
        self.folder, self.events, self.n_steps = folder, events, n_steps
        self.chosen = choose(len(held_out))
        self.side = min(CROP_PX, *(side for i in self.chosen for side in held_out[i]["clean"].shape[2:]))
        self._rows: list[Row] = []

    def on_validation_start(self, *_: Any) -> None:
        """Begin a grid."""
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
        """Denoise the crop of a chosen batch once more, with the averages that are in place during validation."""
        if batch_index in self.chosen:
            with trainer.precision_plugin.forward_context():
                denoised = module.denoise(batch)
            self._rows.append(Row(*(_crop(image, self.side) for image in (batch["noisy"], denoised, batch["clean"]))))

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Write the grid.

        Raises
        ------
        TrainingError
            The disk does not take it.
        """
        grid = draw_grid(self._rows, f"step {trainer.global_step} of {self.n_steps}, PSNR in dB")
        png = io.encode(io.Picture((grid,), (None,), "png"), "png")
        write_whole(self.folder / f"grid-{trainer.global_step:08d}.png", png)
        self.events.log_picture("grid", png, grid.shape, trainer.global_step)


def _crop(batch: torch.Tensor, side: int) -> Image:
    """Cut the middle of a batch's first image, as (side, side, C)."""
    top, left = ((length - side) // 2 for length in batch.shape[2:])
    crop = batch[0, :, top : top + side, left : left + side].permute(1, 2, 0).float()
    # A network that has gone astray gives NaN and huge values, which the next step complains of; they are drawn too.
    image: Image = crop.nan_to_num(nan=0.5).clamp(-1, 2).numpy()
    return image
