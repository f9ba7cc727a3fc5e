"""From an upload to the frames of its answer: upload budget, queue and workers together."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request

from pellucid.server.frames import Frame
from pellucid.server.metrics import Metrics
from pellucid.server.pool import PendingJob, Pool
from pellucid.server.settings import ServiceSettings
from pellucid.server.uploads import UploadBudget


class Service:
    """Everything that lives as long as the server."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.pool = Pool(settings, self.metrics)
        self._uploads = UploadBudget(settings)
        self.metrics.watch("pellucid_queue_length", "Requests that wait for a worker.", lambda: self.pool.n_waiting)
        self.metrics.watch("pellucid_workers_ready", "Workers that are up.", lambda: self.pool.n_ready)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the workers; at the end, kill them."""
        self.pool.start()
        try:
            yield
        finally:
            await self.pool.close()

    async def answer(self, request: Request, wanted: dict[str, Any]) -> AsyncGenerator[Frame, None]:
        """Read an upload and yield the frames of its answer; close the iterator to cancel the rest.

        `wanted` has the fields of a job, see :class:`pellucid.server.worker.JobRunner`.

        Raises
        ------
        ProblemError
            The request cannot be answered.
        ClientDisconnect
            The client went away.
        """
        self.pool.check_room()
        with self._uploads.upload() as upload:
            content = await upload.read(request, self.settings.time_limit_s)
            job = PendingJob(wanted, content)
            self.pool.submit(job)
            gone = asyncio.ensure_future(_wait_until_gone(request))
            try:
                is_last = False
                while not is_last:
                    frame = await self._reply(job, gone)
                    is_last = "last" in frame.fields
                    yield frame
            finally:
                gone.cancel()
                self.pool.withdraw(job)

    async def _reply(self, job: PendingJob, gone: "asyncio.Future[None]") -> Frame:
        reply = asyncio.ensure_future(job.reply())
        try:
            await asyncio.wait((reply, gone), return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                raise ClientDisconnect
            return reply.result()
        finally:
            reply.cancel()


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
