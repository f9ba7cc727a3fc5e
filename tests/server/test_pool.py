"""The queue and its workers, with workers that misbehave on purpose (fake_worker.py)."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from pellucid.server.errors import ProblemError
from pellucid.server.frames import Frame
from pellucid.server.metrics import Metrics
from pellucid.server.pool import PendingJob, Pool
from pellucid.server.settings import ServiceSettings
from pellucid.server.worker_process import WorkerProcess

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
Start = Callable[[ServiceSettings], Awaitable[WorkerProcess]]
start_fake = partial(WorkerProcess.start, command=FAKE)


def settings(**changes: object) -> ServiceSettings:
    usual: dict[str, object] = {
        "n_workers": 1,
        "n_threads": 1,
        "n_waiting": 2,
        "max_bytes": 1000,
        "max_pixels": 1000,
        "time_limit_s": 10,
        "memory_limit_mb": 200,
    }
    return ServiceSettings(**{**usual, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def running(
    metrics: Metrics | None = None, start_worker: Start = start_fake, **changes: object
) -> AsyncIterator[Pool]:
    pool = Pool(settings(**changes), metrics or Metrics(), start_worker=start_worker, first_pause_s=0.05)
    pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def restarts(metrics: Metrics) -> dict[str, float]:
    metric = next(iter(metrics.restarts.collect()))
    return {s.labels["reason"]: s.value for s in metric.samples if s.name.endswith("_total")}


async def ask(pool: Pool, task: str, content: bytes = b"", **fields: object) -> dict[str, object]:
    job = PendingJob({"task": task, **fields}, content)
    pool.submit(job)
    return (await job.reply()).fields


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


def test_a_job_is_answered_with_its_own_bytes() -> None:
    async def test() -> None:
        async with running(n_workers=2, n_waiting=10) as pool:
            jobs = [PendingJob({"task": "echo"}, bytes([i]) * 300_000) for i in range(6)]
            for job in jobs:
                pool.submit(job)
            for i, job in enumerate(jobs):
                assert (await job.reply()).content == bytes([i]) * 300_000

    run(test)


@pytest.mark.parametrize(
    ("task", "fields", "limits", "status", "reason"),
    [
        ("die", {}, {}, 503, "crash"),
        ("babble", {}, {}, 503, "crash"),
        ("sleep", {"seconds": 30}, {"time_limit_s": 0.2}, 504, "time"),
        ("grow", {"n_bytes": 250_000_000, "seconds": 30}, {}, 503, "memory"),
    ],
)
def test_a_lost_worker_fails_its_own_request_only(
    task: str, fields: dict[str, object], limits: dict[str, object], status: int, reason: str
) -> None:
    async def test() -> None:
        async with running(metrics := Metrics(), **limits) as pool:
            bad, good = PendingJob({"task": task, **fields}, b""), PendingJob({"task": "echo"}, b"")
            pool.submit(bad)
            pool.submit(good)
            with pytest.raises(ProblemError) as caught:
                await bad.reply()
            assert caught.value.status == status
            assert (await good.reply()).fields["kind"] == "result"
            assert restarts(metrics) == {reason: 1}

    run(test)


def test_what_a_worker_has_started_ends_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(time_limit_s=0.5) as pool:
            with pytest.raises(ProblemError):
                await ask(pool, "breed", note=str(tmp_path / "child"))
            child = (tmp_path / "child").read_text()
            await until(lambda: not Path(f"/proc/{child}/cmdline").exists())
            assert (await ask(pool, "echo"))["kind"] == "result"

    run(test)


def test_an_idle_worker_that_dies_is_replaced_and_no_request_fails() -> None:
    async def test() -> None:
        async with running(metrics := Metrics()) as pool:
            first = (await ask(pool, "echo"))["pid"]
            os.kill(int(str(first)), signal.SIGKILL)
            await until(lambda: restarts(metrics) == {"crash": 1})
            assert (await ask(pool, "echo"))["pid"] != first

    run(test)


def test_a_worker_that_keeps_much_memory_is_replaced_between_jobs() -> None:
    async def test() -> None:
        async with running(metrics := Metrics()) as pool:
            first = (await ask(pool, "grow", n_bytes=110_000_000))["pid"]
            assert (await ask(pool, "echo"))["pid"] != first
            assert restarts(metrics) == {"grown": 1}

    run(test)


def test_a_full_queue_says_when_to_come_back() -> None:
    async def test() -> None:
        async with running() as pool:
            working = PendingJob({"task": "sleep", "seconds": 0.5}, b"")
            pool.submit(working)
            await until(lambda: pool.n_waiting == 0)
            waiting = [PendingJob({"task": "echo"}, b"") for _ in range(2)]
            for job in waiting:
                pool.submit(job)
            with pytest.raises(ProblemError) as caught:
                pool.submit(PendingJob({"task": "echo"}, b""))
            assert caught.value.status == 429
            assert int(caught.value.headers["Retry-After"]) >= 1
            pool.withdraw(waiting[0])
            pool.submit(PendingJob({"task": "echo"}, b""))
            assert (await waiting[1].reply()).fields["kind"] == "result"

    run(test)


def test_an_abandoned_job_does_not_hold_its_worker() -> None:
    async def test() -> None:
        start = partial(start_fake, abandoned_limit_s=0.1)
        async with running(metrics := Metrics(), start) as pool:
            job = PendingJob({"task": "sleep", "seconds": 30}, b"")
            pool.submit(job)
            await until(lambda: pool.n_ready == 1 and pool.n_waiting == 0)
            pool.withdraw(job)
            assert (await ask(pool, "echo"))["kind"] == "result"
            assert restarts(metrics) == {"abandoned": 1}

    run(test)


def test_a_worker_that_does_not_start_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]

    async def test() -> None:
        async with running(start_worker=partial(WorkerProcess.start, command=command)) as pool:
            await asyncio.sleep(0.3)
            assert pool.n_ready == 0
            command[:] = FAKE
            assert (await ask(pool, "echo"))["kind"] == "result"

    run(test)
    assert "a worker did not start (the worker process ended with code 3" in capsys.readouterr().err


def test_closing_ends_workers_and_tells_who_waits() -> None:
    async def test() -> None:
        async with running() as pool:
            pid = int(str((await ask(pool, "echo"))["pid"]))
            working = PendingJob({"task": "sleep", "seconds": 30}, b"")
            pool.submit(working)
            await until(lambda: pool.n_waiting == 0)
            start = time.monotonic()
            await pool.close()
            assert time.monotonic() - start < 5
            with pytest.raises(ProblemError, match="the service is stopping"):
                await working.reply()
            with pytest.raises(ProblemError, match="the service is stopping"):
                pool.submit(PendingJob({"task": "echo"}, b""))
            assert not Path(f"/proc/{pid}").exists()

    run(test)


def test_a_job_that_comes_as_its_worker_dies_goes_to_the_next() -> None:
    class Stub:
        """A worker that ended at once, or one that answers."""

        def __init__(self, *, is_dead: bool) -> None:
            self.gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            if is_dead:
                self.gone.set_result(-9)

        async def answer(self, job: Frame, on_frame: Callable[[Frame], None], _: object) -> None:
            assert not self.gone.done()
            on_frame(Frame({**job.fields, "kind": "result", "last": True}))

        async def kill(self) -> None:
            pass

        def resident_mb(self) -> float:
            return 0

    stubs: list[Stub] = []

    async def start(_: ServiceSettings) -> Stub:
        stubs.append(Stub(is_dead=not stubs))
        return stubs[-1]

    async def test() -> None:
        pool = Pool(settings(), metrics := Metrics(), start_worker=start)  # type: ignore[arg-type]
        job = PendingJob({"task": "echo"}, b"")
        pool.submit(job)
        pool.start()
        assert (await asyncio.wait_for(job.reply(), 5)).fields["kind"] == "result"
        assert restarts(metrics) == {"crash": 1}
        await pool.close()

    run(test)
