"""What a worker does with one request: image file in, image file out.

A job (what is wanted, and an upload) enters; progress, the result or a problem leave as frames. It knows nothing of
processes or HTTP.

A job's fields are ``task`` ("denoise" or "estimate"), ``sigma`` (0..255 or null), ``strength``, ``luma``, ``chroma``
(0..100), ``model`` (a name or null) and ``previews`` (whether to draw before and after). Frames tell their ``kind``:
"progress", "result", "part" or "problem"; the last of an answer has ``last``.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from pellucid import io
from pellucid.errors import PellucidError
from pellucid.files import FileDenoiser, FileResult
from pellucid.inference.noise_estimation import RunningRMS
from pellucid.inference.options import DenoiseOptions
from pellucid.inference.registry import DEFAULT_NAMES
from pellucid.inference.tiling import Progress
from pellucid.server.errors import ProblemError, problem_of
from pellucid.server.frames import Frame
from pellucid.server.previews import preview, upright_size

Report = Callable[[Frame], None]


@dataclass
class _WatchedDenoiser(FileDenoiser):
    """A FileDenoiser that tells its progress and keeps the pictures for previews."""

    on_progress: Progress | None = None
    pictures: tuple[io.Picture, io.Picture] | None = None

    def _denoise(self, picture: io.Picture, progress: Progress | None) -> tuple[io.Picture, list[RunningRMS], str]:
        after, levels, model = super()._denoise(picture, progress or self.on_progress)
        self.pictures = (picture, after)
        return after, levels, model


class Workshop:
    """Answers jobs one after another, keeping the networks it has loaded.

    Parameters
    ----------
    n_threads : int
    max_pixels : int
    """

    def __init__(self, *, n_threads: int, max_pixels: int) -> None:
        self._settings = DenoiseOptions(n_threads=n_threads, max_pixels=max_pixels)
        self._denoiser = _WatchedDenoiser(self._settings)

    def warm_up(self) -> None:
        """Load the bundled models, so that the first request is as fast as the next.

        Raises
        ------
        ModelError
            They are damaged.
        """
        for n_channels in DEFAULT_NAMES:
            black = io.Picture((np.zeros((8, 8, n_channels), np.uint8),), (None,), "png")
            self._denoiser.denoise_bytes(io.encode(black, "png"))
        self._denoiser.pictures = None

    def answer(self, job: Frame, report: Report) -> None:
        """Answer a job; whatever goes wrong is reported as a problem.

        Parameters
        ----------
        job : Frame
        report : callable
            Takes each frame of the answer.
        """
        tasks = {"denoise": self._denoise, "estimate": self._estimate}
        try:
            tasks[job.fields["task"]](job, report)
        except PellucidError as error:
            _report_problem(problem_of(error), report)
        except MemoryError:
            _report_problem(ProblemError(413, "image data: does not fit into memory; send a smaller image"), report)
        except Exception:
            # A worker outlives what it did not expect; stderr is the service's log.
            traceback.print_exc()
            _report_problem(ProblemError(500, "image data: the service failed on it; tell its owner"), report)
        finally:
            self._denoiser.pictures = None

    def _denoise(self, job: Frame, report: Report) -> None:
        denoiser, wanted = self._denoiser, job.fields
        denoiser.options = replace(
            self._settings,
            model=wanted["model"],
            sigma=None if wanted["sigma"] is None else wanted["sigma"] / 255,
            strength=wanted["strength"] / 100,
            luma=wanted["luma"] / 100,
            chroma=wanted["chroma"] / 100,
        )
        denoiser.on_progress = lambda n_done, n_tiles: report(
            Frame({"kind": "progress", "done": n_done, "total": n_tiles})
        )
        encoded, result = denoiser.denoise_bytes(job.content)
        before, after = cast(tuple[io.Picture, io.Picture], denoiser.pictures)
        report(Frame({"kind": "result", "result": _described(result, before)}))
        if wanted["previews"]:
            report(Frame({"kind": "part", "name": "before", "type": "image/png"}, preview(before)))
            report(Frame({"kind": "part", "name": "after", "type": "image/png"}, preview(after)))
        report(Frame({"kind": "part", "name": "result", "type": f"image/{before.format}", "last": True}, encoded))

    def _estimate(self, job: Frame, report: Report) -> None:
        picture = io.read(job.content, max_pixels=self._settings.max_pixels)
        self._denoiser.options = self._settings
        seer = self._denoiser.denoiser(picture.header.n_channels)
        sigmas = [round(255 * seer.estimate(page), 2) for page in picture.pages]
        width_px, height_px = upright_size(picture)
        found = {"sigma": _mean(sigmas), "sigmas": sigmas, "width": width_px, "height": height_px}
        report(Frame({"kind": "result", "result": {**found, "format": picture.format}, "last": True}))


def _described(result: FileResult, picture: io.Picture) -> dict[str, Any]:
    width_px, height_px = upright_size(picture)
    return {
        "sigma": _mean(result.sigmas),
        "sigmas": result.sigmas,
        "is_estimated": result.is_estimated,
        "model": result.model,
        "width": width_px,
        "height": height_px,
        "format": picture.format,
        "seconds": result.seconds,
    }


def _mean(sigmas: list[float]) -> float:
    return round(sum(sigmas) / len(sigmas), 2)


def _report_problem(problem: ProblemError, report: Report) -> None:
    report(Frame({"kind": "problem", "problem": problem.as_dict(), "last": True}))
