"""A bounded queue of jobs, and the worker processes that run them."""

import asyncio
import math
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from pellucid.server.errors import ProblemError
from pellucid.server.frames import Frame
from pellucid.server.metrics import Metrics
from pellucid.server.settings import ServiceSettings
from pellucid.server.worker_process import WorkerLostError, WorkerProcess

#: Pauses before a worker that does not start is tried again double up to the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
#: A worker that keeps more than this share of its memory limit between two jobs is replaced.
IDLE_SHARE = 0.5


class PendingJob:
    """A job in the queue or in a worker; create it inside the event loop.

    Its fields are described at :class:`pellucid.server.worker.JobRunner`.
    """

    def __init__(self, fields: dict[str, Any], content: bytes) -> None:
        self.request = Frame(fields, content)
        self.replies: asyncio.Queue[Frame | ProblemError] = asyncio.Queue()
        self.abandoned_since: float | None = None

    def abandon(self) -> None:
        """Note that nobody waits for the answer any more."""
        if self.abandoned_since is None:
            self.abandoned_since = asyncio.get_running_loop().time()

    async def reply(self) -> Frame:
        """Wait for the next frame of the answer; raise the ProblemError that ends it."""
        reply = await self.replies.get()
        if isinstance(reply, ProblemError):
            raise reply
        if reply.fields["kind"] == "problem":
            raise ProblemError(reply.fields["problem"]["status"], reply.fields["problem"]["detail"])
        return reply


class Pool:
    """Worker processes and the jobs that wait for them; `n_ready` workers are running.

    Workers are made by `start_worker`; the first pause after one that does not start is `first_pause_s`.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        metrics: Metrics,
        *,
        start_worker: Callable[[ServiceSettings], Awaitable[WorkerProcess]] = WorkerProcess.start,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._start_worker = start_worker
        self._first_pause_s = first_pause_s
        self._waiting: deque[PendingJob] = deque()
        self._arrived = asyncio.Semaphore(0)
        self._keepers: list[asyncio.Task[None]] = []
        self._busy: set[PendingJob] = set()
        self._closing: asyncio.Task[None] | None = None
        self._job_s = 1.0
        self.n_ready = 0

    @property
    def n_waiting(self) -> int:
        """Jobs that no worker has taken yet."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the workers, without waiting for them."""
        self._keepers = [asyncio.ensure_future(self._keep()) for _ in range(self._settings.n_workers)]

    async def close(self) -> None:
        """Kill the workers; their jobs get a ProblemError."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        # Shielded: a worker that is not waited for would leave its pipes open.
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for job in (*self._busy, *self._waiting):
            job.replies.put_nowait(ProblemError(503, "the service is stopping; send the request again later"))
        self._waiting.clear()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def check_room(self) -> None:
        """Raise a ProblemError if the queue is full or the service is stopping."""
        if self._closing is not None:
            raise ProblemError(503, "the service is stopping; send the request again later")
        if self.n_waiting >= self._settings.n_waiting:
            seconds = max(1, math.ceil(self._job_s * self.n_waiting / self._settings.n_workers))
            detail = f"{self.n_waiting} requests are waiting; send this one again in {seconds} s"
            raise ProblemError(429, detail, {"Retry-After": str(seconds)})

    def submit(self, job: PendingJob) -> None:
        """Put a job into the queue; see `check_room` for errors."""
        self.check_room()
        self._waiting.append(job)
        self._arrived.release()

    def withdraw(self, job: PendingJob) -> None:
        """Drop a job that nobody waits for; a worker that runs it has a moment to finish."""
        job.abandon()
        if job in self._waiting:
            self._waiting.remove(job)

    async def _keep(self) -> None:
        """Keep one worker running."""
        pause_s = self._first_pause_s
        while True:
            try:
                worker = await self._start_worker(self._settings)
            except WorkerLostError as error:
                print(f"pellucid: a worker did not start ({error}); trying again", file=sys.stderr)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = self._first_pause_s
            self.n_ready += 1
            try:
                reason = await self._use(worker)
            finally:
                self.n_ready -= 1
                await worker.kill()
            self._metrics.restarts.labels(reason).inc()

    async def _use(self, worker: WorkerProcess) -> str:
        """Give a worker one job after another until it has to be replaced; return why."""
        now = asyncio.get_running_loop().time
        while True:
            job = await self._next(worker)
            if job is None:
                return "crash"
            start = now()
            self._busy.add(job)
            try:
                await worker.answer(job.request, job.replies.put_nowait, lambda job=job: job.abandoned_since)  # type: ignore[misc]
            except WorkerLostError as lost:
                job.replies.put_nowait(lost.problem)
                return lost.reason
            finally:
                self._busy.discard(job)
            self._job_s += 0.2 * (now() - start - self._job_s)
            if worker.resident_mb() > IDLE_SHARE * self._settings.memory_limit_mb:
                return "grown"

    async def _next(self, worker: WorkerProcess) -> PendingJob | None:
        """Wait for a job; None if the worker ends before there is one."""
        while True:
            arrival = asyncio.ensure_future(self._arrived.acquire())
            try:
                await asyncio.wait({arrival, worker.gone}, return_when=asyncio.FIRST_COMPLETED)
                if worker.gone.done():
                    return None
                # A withdrawn job has left its permit behind.
                if self._waiting:
                    return self._waiting.popleft()
            finally:
                if not arrival.cancel() and worker.gone.done():
                    self._arrived.release()
