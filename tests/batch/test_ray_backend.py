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
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid import io
from pellucid.batch import Job, Record, Work, ray_backend
from pellucid.batch.ray_backend import RayCluster, Task
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
def test_a_node_is_lost_while_a_store_fails(
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
def test_a_driver_is_killed_and_the_next_goes_on(
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
    records = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    made = [record["path"] for record in records if record["status"] != "failed"]
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
def test_an_interrupt_leaves_no_process_behind(photos: Path, options: list[str], tmp_path: Path) -> None:
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


class Unreliable(RayCluster):
    """Loses with its process each block in which a deadly file is."""

    def __init__(self, deadly: set[str]) -> None:
        self._deadly, self.blocks = deadly, []
        self._n_threads = 1
        self._ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 2})

    def _run(self, work: Work, tasks: list[Task], n_rows: int, n_actors: int) -> Generator[Record]:  # noqa: ARG002
        for start in range(0, len(tasks), n_rows):
            paths = [job.path for job, _ in tasks[start : start + n_rows]]
            self.blocks.append(paths)
            if not self._deadly.intersection(paths):
                yield from (Record(path, path, "ok", work.fingerprint) for path in paths)


@given(
    n_jobs=st.integers(0, 200),
    deadly=st.sets(st.integers(0, 199).map(str), max_size=4),
    window=st.integers(1, 250),
)
def test_a_file_that_kills_its_process_fails_alone(n_jobs: int, deadly: set[str], window: int) -> None:
    cluster = Unreliable(deadly)
    tasks: list[Task] = [(Job(f"{number}", f"{number}"), None) for number in range(n_jobs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_backend, "WINDOW", window)
        records = list(cluster.records(Work("out", DenoiseOptions(), "x", overwrite=False), tasks))
    assert sorted(record.path for record in records) == sorted(job.path for job, _ in tasks)
    assert {record.path for record in records if record.status == "failed"} == deadly & {job.path for job, _ in tasks}
    assert all(len(block) <= min(ray_backend.MAX_BLOCK, window) for block in cluster.blocks)


@pytest.mark.parametrize(("output", "source"), [("memory://out", "a.png"), ("out", "memory://in/a.png")])
def test_what_only_this_process_sees_is_refused(output: str, source: str) -> None:
    with pytest.raises(ParameterError, match=r"^memory://.*other processes cannot see it"):
        list(
            Unreliable(set()).records(
                Work(output, DenoiseOptions(), "x", overwrite=False), [(Job(source, "a.png"), None)]
            )
        )


def test_a_worker_with_another_model_refuses_to_work(small_model: Path) -> None:
    with pytest.raises(RuntimeError, match="has another version of pellucid or of the model"):
        ray_backend.Worker(Work("out", DenoiseOptions(model=small_model), "another", overwrite=False))
