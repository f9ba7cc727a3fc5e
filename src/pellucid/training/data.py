"""Batches of noisy and clean patches, each sample a pure function of (seed, index).

A folder of clean images enters, batches of torch tensors leave. It knows nothing of networks. Since a sample depends on
nothing but the seed and its number, a run that was stopped goes on with the very samples it would have seen.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid import images
from pellucid.errors import DataError, InputError
from pellucid.evaluation.dataset import LUMA
from pellucid.evaluation.noise import Gaussian, GaussianRange

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ImageSet:
    """Clean images held in memory in their own depth.

    Attributes
    ----------
    images : list of ndarray, each (H, W, C), uint8 or uint16
    skipped : list of str
        One line for each file that could not be used.
    """

    images: list[NDArray[np.uint8] | NDArray[np.uint16]]
    skipped: list[str]


def load_images(folder: Path, *, n_channels: int, min_px: int) -> ImageSet:
    """Decode every image under a folder.

    Parameters
    ----------
    folder : Path
        Searched recursively, in sorted order.
    n_channels : int
        1 makes colour images gray by ITU-R BT.601 luma, rounded to the image's own depth; 3 leaves gray images out.
    min_px : int
        Images narrower or lower than this are left out.

    Raises
    ------
    DataError
        No usable image is left.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in images.SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: no image found: name a folder of clean JPEG, PNG or TIFF images")
    found, skipped = [], []
    for path in paths:
        try:
            page = images.read(path).pages[0]
        except InputError as error:
            skipped.append(str(error))
            continue
        if min(page.shape[:2]) < min_px:
            skipped.append(f"{path}: {page.shape[1]}x{page.shape[0]} is smaller than a patch of {min_px}")
        elif page.dtype == np.float32 or page.shape[2] not in {1, 3} or page.shape[2] < n_channels:
            skipped.append(f"{path}: {page.shape[2]} channels of {page.dtype} cannot train this network")
        else:
            found.append(_to_gray(page) if page.shape[2] > n_channels else page)
    if not found:
        raise DataError(f"{folder}: none of {len(paths)} images can be used; the first: {skipped[0]}")
    return ImageSet(found, skipped)


def _to_gray(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    gray: NDArray[np.uint8] | NDArray[np.uint16] = np.rint(image @ LUMA)[..., None].astype(image.dtype)
    return gray


@dataclass(frozen=True)
class PatchSampler:
    """Cuts, turns and soils patches.

    Attributes
    ----------
    images : sequence of ndarray (H, W, C), uint8 or uint16
    patch_px : int
    noise : GaussianRange
        Drawn anew for each sample.
    seed : int
    kept_share : float
        So large a share of the clean patches carries noise of its own, up to half as strong, which is to be kept.
        Without it a network sees how strong the noise is, does not heed what it is told, and cannot be steered.
    """

    images: Sequence[NDArray[np.uint8] | NDArray[np.uint16]]
    patch_px: int
    noise: GaussianRange
    seed: int
    kept_share: float = 0.0

    def sample(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32], np.float32]:
        """Make sample number `index`.

        Returns
        -------
        noisy, clean : ndarray, shape (patch_px, patch_px, C), float32
            `clean` in [0, 1], but for noise that is to be kept; `noisy` has white Gaussian noise added and is not
            clipped.
        sigma : float32
            The noise's standard deviation, on the [0, 1] scale.
        """
        rng = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        image = self.images[int(rng.integers(len(self.images)))]
        top = rng.integers(image.shape[0] - self.patch_px + 1)
        left = rng.integers(image.shape[1] - self.patch_px + 1)
        patch = image[top : top + self.patch_px, left : left + self.patch_px]
        patch = np.rot90(patch, int(rng.integers(4)))
        if rng.integers(2):
            patch = patch[:, ::-1]
        clean = patch.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
        noise: Gaussian = self.noise.draw(rng)
        if rng.random() < self.kept_share:
            clean = GaussianRange(0, self.noise.high / 2)(clean, rng)
        return noise(clean, rng), clean, np.float32(noise.sigma)

    def batch(self, first: int, size: int) -> Batch:
        """Collate samples `first` to ``first + size - 1`` as channels-last tensors ``(N, C, H, W)``; sigma as a map."""
        samples = [self.sample(first + i) for i in range(size)]
        noisy, clean = (_to_tensor(np.stack([s[i] for s in samples])) for i in (0, 1))
        sigma = torch.from_numpy(np.array([s[2] for s in samples])).view(-1, 1, 1, 1)
        return {"noisy": noisy, "clean": clean, "sigma": sigma.expand(-1, 1, *clean.shape[2:])}


def _to_tensor(stack: NDArray[np.float32]) -> torch.Tensor:
    """View ``(N, H, W, C)`` as a channels-last tensor ``(N, C, H, W)``; no value moves in memory."""
    return torch.from_numpy(stack).permute(0, 3, 1, 2)


class BatchStream(torch.utils.data.IterableDataset[Batch]):
    """An endless stream of batches, the next ones made while the network works on this one.

    Step s of a run with `n_ranks` processes takes samples ``s * n_ranks * batch_size`` and on; each rank its own share.

    Parameters
    ----------
    sampler : PatchSampler
    batch_size : int
        Samples for this process at each step.
    first_step : int
        Where to start; after a stop, the number of steps already taken.
    rank, n_ranks : int
    """

    N_AHEAD = 3

    def __init__(
        self, sampler: PatchSampler, batch_size: int, *, first_step: int = 0, rank: int = 0, n_ranks: int = 1
    ) -> None:
        self.sampler, self.batch_size, self.first_step = sampler, batch_size, first_step
        self.rank, self.n_ranks = rank, n_ranks

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end."""
        ready: queue.Queue[Batch | BaseException] = queue.Queue(self.N_AHEAD)
        stop = threading.Event()
        thread = threading.Thread(target=self._fill, args=(ready, stop), name="batches", daemon=True)
        thread.start()
        try:
            while True:
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _fill(self, ready: "queue.Queue[Batch | BaseException]", stop: threading.Event) -> None:
        step = self.first_step
        while not stop.is_set():
            item: Batch | BaseException
            try:
                item = self.sampler.batch((step * self.n_ranks + self.rank) * self.batch_size, self.batch_size)
            except Exception as error:  # handed to the thread that trains, which raises it
                item = error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            step += 1
