"""A worker process: jobs come in on stdin, answers go out on stdout; ``python -m pellucid.server.worker SETTINGS``.

SETTINGS are the arguments of `JobRunner`, in JSON. The process ends when stdin does, even in the middle of a job. It
decodes unchecked files: whoever starts it must be ready to kill it.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, BinaryIO, cast

import numpy as np

from pellucid import io
from pellucid.errors import PellucidError
from pellucid.files import FileDenoiser, FileResult
from pellucid.inference.noise_estimation import RunningRMS
from pellucid.inference.options import DenoiseOptions
from pellucid.inference.registry import DEFAULT_NAMES
from pellucid.inference.tiling import Progress
from pellucid.server.errors import ProblemError, problem_of
from pellucid.server.frames import Frame, read_frame, write_frame
from pellucid.server.previews import preview, upright_size

Report = Callable[[Frame], None]


@dataclass
class _ReportingDenoiser(FileDenoiser):
    """A FileDenoiser that reports its progress and keeps the images for previews."""

    on_progress: Progress | None = None
    images: tuple[io.Image, io.Image] | None = None

    def _denoise(self, image: io.Image, progress: Progress | None) -> tuple[io.Image, list[RunningRMS], str]:
        after, levels, model = super()._denoise(image, progress or self.on_progress)
        self.images = (image, after)
        return after, levels, model


class JobRunner:
    """Runs jobs one after another, keeping the networks that it has loaded.

    The fields of a job are ``task`` ("denoise" or "estimate"), ``options`` (the query of /v1/denoise) and ``previews``
    (whether to draw before and after). Frames of an answer have a ``kind``: "progress", "result", "part" or "problem";
    the last one has ``last``.
    """

    def __init__(self, *, n_threads: int, max_pixels: int) -> None:
        self._options = DenoiseOptions(n_threads=n_threads, max_pixels=max_pixels)
        self._denoiser = _ReportingDenoiser(self._options)

    def warm_up(self) -> None:
        """Load the bundled models, so that the first request is as fast as the next."""
        for n_channels in DEFAULT_NAMES:
            black = io.Image((np.zeros((8, 8, n_channels), np.uint8),), (None,), "png")
            self._denoiser.denoise_bytes(io.encode(black, "png"))
        self._denoiser.images = None

    def answer(self, job: Frame, report: Report) -> None:
        """Run a job and report each frame of its answer; errors are reported as problems."""
        tasks = {"denoise": self._denoise, "estimate": self._estimate}
        try:
            tasks[job.fields["task"]](job, report)
        except PellucidError as error:
            _report_problem(problem_of(error), report)
        except MemoryError:
            _report_problem(ProblemError(413, "image data: does not fit into memory; send a smaller image"), report)
        except Exception:
            # A worker survives unexpected errors; stderr is the server's log.
            traceback.print_exc()
            _report_problem(ProblemError(500, "image data: internal error: see the server's log"), report)
        finally:
            self._denoiser.images = None

    def _denoise(self, job: Frame, report: Report) -> None:
        denoiser, wanted = self._denoiser, job.fields
        chosen = DenoiseOptions.from_user_units(wanted["options"])
        denoiser.options = replace(chosen, n_threads=self._options.n_threads, max_pixels=self._options.max_pixels)
        denoiser.on_progress = lambda n_done, n_tiles: report(
            Frame({"kind": "progress", "done": n_done, "total": n_tiles})
        )
        encoded, result = denoiser.denoise_bytes(job.content)
        before, after = cast(tuple[io.Image, io.Image], denoiser.images)
        report(Frame({"kind": "result", "result": _result_fields(result, before)}))
        if wanted["previews"]:
            report(Frame({"kind": "part", "name": "before", "type": "image/png"}, preview(before)))
            report(Frame({"kind": "part", "name": "after", "type": "image/png"}, preview(after)))
        report(Frame({"kind": "part", "name": "result", "type": f"image/{before.format}", "last": True}, encoded))

    def _estimate(self, job: Frame, report: Report) -> None:
        image = io.read(job.content, max_pixels=self._options.max_pixels)
        self._denoiser.options = self._options
        estimator = self._denoiser.denoiser(image.header.n_channels)
        sigmas = [round(255 * estimator.estimate(page), 2) for page in image.pages]
        width_px, height_px = upright_size(image)
        found = {"sigma": _mean(sigmas), "sigmas": sigmas, "width": width_px, "height": height_px}
        report(Frame({"kind": "result", "result": {**found, "format": image.format}, "last": True}))


def _result_fields(result: FileResult, image: io.Image) -> dict[str, Any]:
    width_px, height_px = upright_size(image)
    return {
        "sigma": _mean(result.sigmas),
        "sigmas": result.sigmas,
        "is_estimated": result.is_estimated,
        "model": result.model,
        "width": width_px,
        "height": height_px,
        "format": image.format,
        "seconds": result.seconds,
    }


def _mean(sigmas: list[float]) -> float:
    return round(sum(sigmas) / len(sigmas), 2)


def _report_problem(problem: ProblemError, report: Report) -> None:
    report(Frame({"kind": "problem", "problem": problem.as_dict(), "last": True}))


def main() -> None:
    """Report "ready", then run jobs until stdin ends."""
    answers = _claim_stdout()
    jobs: SimpleQueue[Frame] = SimpleQueue()
    threading.Thread(target=_read_jobs, args=(sys.stdin.buffer, jobs), daemon=True).start()
    runner = JobRunner(**json.loads(sys.argv[1]))
    runner.warm_up()
    write_frame(answers, Frame({"kind": "ready"}))
    while True:
        runner.answer(jobs.get(), lambda frame: write_frame(answers, frame))


def _claim_stdout() -> BinaryIO:
    """Keep stdout for frames; prints of libraries go to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _read_jobs(stream: BinaryIO, jobs: "SimpleQueue[Frame]") -> None:
    while (frame := read_frame(stream)) is not None:
        jobs.put(frame)
    # Not sys.exit: the main thread may be deep inside a decoder.
    os._exit(0)


if __name__ == "__main__":
    main()
