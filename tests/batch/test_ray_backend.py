"""``pellucid batch --ray`` on two nodes of this machine, of which one is lost, and drivers that are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid import io
from pellucid.batch.job import JobSpec
from pellucid.batch.ledger import LedgerEntry
from pellucid.batch.plan import BatchJob
from pellucid.batch.ray_backend import MAX_BLOCK, RayActor, Task, check_shared, process_in_blocks
from pellucid.errors import ParameterError
from pellucid.inference.options import DenoiseOptions
from tests.batch.s3 import BUCKET, Faulty, access, contents, rows, serving, upload
from tests.conftest import add_noise

COMMAND = Path(sys.executable).with_name("pellucid")
N_FILES = 40


class Nodes(NamedTuple):
    cluster: Any
    server: Faulty

    def command(self, *arguments: object) -> list[str]:
        return [str(COMMAND), "batch", *map(str, arguments), "--ray", self.cluster.address]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    from ray.cluster_utils import Cluster

    with serving() as (server, address), pytest.MonkeyPatch.context() as patch:
        # Processes of a node have the environment that the node was started with.
        for name, value in (access(address) | {"RAY_USAGE_STATS_ENABLED": "0"}).items():
            patch.setenv(name, value)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "include_dashboard": False,
                "object_store_memory": 100 << 20,
                # A lost node is to be missed within seconds.
                "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 4},
            },
        )
        try:
            yield Nodes(cluster, server)
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def photos(photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(N_FILES):
        path = folder / f"{number % 3}" / f"{number}{('.png', '.jpg')[number % 2]}"
        path.parent.mkdir(exist_ok=True)
        page = add_noise(photo, 20, seed=number)
        io.write(io.Picture((page,), (None,), io.SUFFIXES[path.suffix]), path)
    (folder / "0" / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def options(small_model: Path) -> list[str]:
    return ["-m", str(small_model), "--sigma", "20"]


@pytest.fixture(scope="module")
def expected(photos: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of the photos."""
    out = tmp_path_factory.mktemp("expected")
    done = subprocess.run([COMMAND, "batch", photos, "-o", out, *options, "--threads", "2"], check=False)
    assert done.returncode == 3
    results = visible(out)
    assert len(results) == N_FILES
    return results


def visible(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("[!.]*.*") if path.is_file() and path.suffix != ".jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def wait_for(n_results: int, count: Callable[[], int], process: subprocess.Popen[bytes]) -> None:
    while count() < n_results:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def n_there(out: Path) -> int:
    return sum(path.is_file() for path in out.rglob("[!.]*.??g"))


@pytest.mark.slow
def test_lost_node_and_failing_store(
    nodes: Nodes, photos: Path, options: list[str], expected: dict[str, bytes]
) -> None:
    node = nodes.cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    nodes.cluster.wait_for_nodes()
    upload(photos, f"s3://{BUCKET}/in")
    out = f"s3://{BUCKET}/out"
    nodes.server.share = 0.05
    command = nodes.command(f"s3://{BUCKET}/in", "-o", out, *options, "--json")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    n_before = nodes.server.counts["PUT"]
    wait_for(n_before + 6, lambda: nodes.server.counts["PUT"], process)
    nodes.cluster.remove_node(node, allow_graceful=False)
    n_then = nodes.server.counts["PUT"]
    stdout, stderr = process.communicate(timeout=300)
    nodes.server.share = 0
    assert n_then < n_before + N_FILES
    assert process.returncode == 3, stderr.decode()
    assert nodes.server.n_failed >= 5
    assert contents(out) == expected
    told = [json.loads(line) for line in stdout.splitlines()]
    assert sorted(row["path"] for row in told) == sorted([*expected, "0/broken.jpg"])
    assert [row["source"] for row in told if row["status"] == "failed"] == [f"s3://{BUCKET}/in/0/broken.jpg"]
    assert sorted(rows(out), key=lambda row: str(row["path"])) == sorted(told, key=lambda row: row["path"])


@pytest.mark.slow
def test_resume_after_kill_of_the_driver(
    nodes: Nodes, photos: Path, options: list[str], expected: dict[str, bytes], tmp_path: Path
) -> None:
    from pyarrow import parquet, table

    out = tmp_path / "out"
    command = nodes.command(photos, "-o", out, *options)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(3, lambda: n_there(out), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = visible(out)
    assert 0 < len(there) < N_FILES
    assert there.items() <= expected.items()
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 3, done.stderr.decode()
    assert visible(out) == expected
    entries = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    made = [entry["path"] for entry in entries if entry["status"] != "failed"]
    # Nothing was done twice.
    assert sorted(made) == sorted(expected)
    # Files that a manifest names, with whatever can be wrong with them.
    sources = [str(photos / path) for path in list(expected)[:3]]
    parquet.write_table(table({"path": [*sources, str(tmp_path / "gone.png")]}), tmp_path / "list.parquet")
    done = subprocess.run(
        nodes.command(tmp_path / "list.parquet", "-o", tmp_path / "listed", *options), capture_output=True, check=False
    )
    assert done.returncode == 3
    assert sorted(visible(tmp_path / "listed").values()) == sorted(list(expected.values())[:3])
    assert "gone.png" in done.stderr.decode()


@pytest.mark.slow
def test_interrupt_leaves_no_process(photos: Path, options: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [COMMAND, "batch", photos, "-o", out, *options, "--ray", "local"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(1, lambda: n_there(out), process)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stdout == b""
    assert b"Traceback" not in stderr
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("processes are left")


@given(
    n_jobs=st.integers(0, 200),
    deadly=st.sets(st.integers(0, 199).map(str), max_size=4),
    window=st.integers(1, 250),
)
def test_job_that_kills_its_process_fails_alone(n_jobs: int, deadly: set[str], window: int) -> None:
    blocks: list[list[str]] = []

    def run(tasks: list[Task], n_rows: int, n_actors: int) -> Generator[LedgerEntry]:
        assert n_actors == 2
        for start in range(0, len(tasks), n_rows):
            paths = [job.path for job, _ in tasks[start : start + n_rows]]
            blocks.append(paths)
            if not deadly.intersection(paths):
                yield from (LedgerEntry(path, path, "ok", "x") for path in paths)

    tasks: list[Task] = [(BatchJob(f"{number}", f"{number}"), None) for number in range(n_jobs)]
    entries = list(process_in_blocks(tasks, run, lambda: 2, "x", window=window))
    assert sorted(entry.path for entry in entries) == sorted(job.path for job, _ in tasks)
    assert {entry.path for entry in entries if entry.status == "failed"} == deadly & {job.path for job, _ in tasks}
    assert all(len(block) <= min(MAX_BLOCK, window) for block in blocks)


@pytest.mark.parametrize("locations", [["memory://out", "a.png"], ["out", "memory://in/a.png"]])
def test_memory_of_this_process_is_refused(locations: list[str]) -> None:
    with pytest.raises(ParameterError, match=r"^memory://.*other processes cannot access it"):
        check_shared(locations)


def test_actor_with_another_model(small_model: Path) -> None:
    with pytest.raises(RuntimeError, match="has another version of pellucid or of the model"):
        RayActor(JobSpec("out", DenoiseOptions(model=small_model), "another", overwrite=False))
