"""A worker process as the service sees it: started, watched, killed."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path

from pellucid.server.errors import ProblemError
from pellucid.server.frames import Frame, receive_frame, send_frame
from pellucid.server.settings import ServiceSettings

#: The program of a worker; its settings are appended.
COMMAND = (sys.executable, "-m", "pellucid.server.worker")
#: How often a busy worker's time and memory are looked at.
WATCH_S = 0.05
#: Loading the engine takes seconds on a busy machine, not minutes.
START_LIMIT_S = 120.0
#: How long a worker may continue an abandoned job; starting another takes about as long.
ABANDONED_S = 2.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PIPE_BYTES = 1 << 20
_DYING_S = 1.0


class WorkerLostError(Exception):
    """A worker must be replaced: why ("time", "memory", "abandoned" or "crash"), and the answer to its request."""

    def __init__(self, reason: str, problem: ProblemError) -> None:
        super().__init__(problem.detail)
        self.reason = reason
        self.problem = problem


class WorkerProcess:
    """A running worker; create it with `start`. The future `gone` is done when the process has ended."""

    def __init__(self, process: Process, settings: ServiceSettings, abandoned_limit_s: float = ABANDONED_S) -> None:
        self._process = process
        self._settings = settings
        self._abandoned_limit_s = abandoned_limit_s
        self.gone = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(
        cls,
        settings: ServiceSettings,
        *,
        command: Sequence[str] = COMMAND,
        abandoned_limit_s: float = ABANDONED_S,
    ) -> "WorkerProcess":
        """Start a worker and wait until it is ready.

        Raises
        ------
        WorkerLostError
            It ended, or is not ready within `START_LIMIT_S`.
        """
        wanted = json.dumps({"n_threads": settings.n_threads, "max_pixels": settings.max_pixels})
        # In a session of its own: Ctrl-C in a terminal reaches the service only, which ends its workers itself.
        try:
            process = await asyncio.create_subprocess_exec(
                *command, wanted, stdin=PIPE, stdout=PIPE, limit=_PIPE_BYTES, start_new_session=True
            )
        except OSError as error:
            raise WorkerLostError("crash", ProblemError(503, f"{error.strerror}; send the request again")) from error
        worker = cls(process, settings, abandoned_limit_s)
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await worker._receive()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, TimeoutError) as error:
            raise await worker._crashed() from error
        except asyncio.CancelledError:
            await worker.kill()
            raise
        return worker

    async def answer(
        self, job: Frame, on_frame: Callable[[Frame], None], abandoned_since: Callable[[], float | None]
    ) -> None:
        """Run a job within the limits of time and memory; `on_frame` takes each frame of the answer.

        `abandoned_since` returns the time, on the event loop's clock, since which nobody waits for the answer, or None.
        After a WorkerLostError (the worker died, or exceeded a limit) it must be killed.
        """
        now = asyncio.get_running_loop().time
        start = now()
        talk = asyncio.ensure_future(self._talk(job, on_frame))
        try:
            while not talk.done():
                await asyncio.wait({talk}, timeout=WATCH_S)
                if not talk.done():
                    self._check(now() - start, now() - (abandoned_since() or now()))
            await talk
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            raise await self._crashed() from error
        finally:
            talk.cancel()
            await asyncio.wait({talk})

    async def kill(self) -> None:
        """Kill the process and its children."""
        # It leads a process group of its own. A child left alive would hold the pipe open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # Reads what is left in the pipe and closes it.
        await self._process.communicate()

    def resident_mb(self) -> float:
        """Resident memory in MB; 0 if the process has ended."""
        try:
            n_pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return n_pages * _PAGE_BYTES / 1e6

    async def _talk(self, job: Frame, on_frame: Callable[[Frame], None]) -> None:
        if self._process.stdin is None:
            raise ConnectionResetError
        await send_frame(self._process.stdin, job)
        is_last = False
        while not is_last:
            frame = await self._receive()
            is_last = "last" in frame.fields
            on_frame(frame)

    async def _receive(self) -> Frame:
        if self._process.stdout is None:
            raise ConnectionResetError
        return await receive_frame(self._process.stdout)

    def _check(self, working_s: float, abandoned_s: float) -> None:
        limits = self._settings
        if working_s > limits.time_limit_s:
            detail = f"image data: not done within {limits.time_limit_s:g} s; send a smaller image"
            raise WorkerLostError("time", ProblemError(504, detail))
        if self.resident_mb() > limits.memory_limit_mb:
            detail = f"image data: takes more than {limits.memory_limit_mb:g} MB to denoise; send a smaller image"
            raise WorkerLostError("memory", ProblemError(503, detail))
        if abandoned_s > self._abandoned_limit_s:
            raise WorkerLostError("abandoned", ProblemError(503, "the client has disconnected"))

    async def _crashed(self) -> WorkerLostError:
        # A pipe ends before the exit code is known.
        await asyncio.wait({self.gone}, timeout=_DYING_S)
        await self.kill()
        code = self._process.returncode
        how = "unexpectedly" if not code else f"by signal {-code}" if code < 0 else f"with code {code}"
        detail = f"the worker process ended {how}; send the request again"
        return WorkerLostError("crash", ProblemError(503, detail, {"Retry-After": "1"}))
