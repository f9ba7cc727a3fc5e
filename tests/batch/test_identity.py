"""The same bytes, wherever a file comes from and goes to, and with however many threads."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.batch import Batch, ObjectStore, plan_jobs
from pellucid.errors import ParameterError
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions
from tests.conftest import add_noise


@pytest.fixture(scope="module")
def photograph(photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "a.jpg"
    io.write(io.Picture((add_noise(photo[:200, :280], 15),), (None,), "jpeg"), path)
    return path


@pytest.mark.parametrize("n_threads", [1, 2])
def test_paths_objects_and_threads_give_the_same_bytes(photograph: Path, tmp_path: Path, n_threads: int) -> None:
    expected, _ = FileDenoiser(DenoiseOptions(n_threads=1)).denoise_bytes(photograph)
    assert expected != photograph.read_bytes()
    store = ObjectStore(f"memory://same{n_threads}")
    store.create("in/a.jpg", photograph.read_bytes())
    for source, output in ((str(photograph), store.location), (f"{store.location}/in", str(tmp_path))):
        batch = Batch(plan_jobs([source], output), output, DenoiseOptions(n_threads=n_threads))
        (record,) = batch.run()
        assert record.status == "ok"
    assert store.read("a.jpg") == expected
    assert (tmp_path / "a.jpg").read_bytes() == expected


def test_objects_beyond_the_limits_are_refused_and_told_by_their_names(photograph: Path) -> None:
    store = ObjectStore("memory://limits")
    store.create("in/a.jpg", photograph.read_bytes())
    store.create("in/b.jpg", bytes(70 << 20))
    settings = DenoiseOptions(max_pixels=1000)
    batch = Batch(plan_jobs([f"{store.location}/in"], f"{store.location}/out"), f"{store.location}/out", settings)
    errors = {record.path: str(record.error) for record in batch.run()}
    assert errors["a.jpg"].startswith("memory://limits/in/a.jpg: ")
    assert "count as 56000, the limit is 1000" in errors["a.jpg"]
    assert errors["b.jpg"].startswith("memory://limits/in/b.jpg: 73400320 bytes, more than")


def test_prefixes_are_mirrored_as_folders_are() -> None:
    store = ObjectStore("memory://mirror")
    passed_over = ("sub/.hidden.png", ".git/d.png", "x.txt", "y_denoised.png", "out/z.png")
    for path in ("b.JPG", "a.png", "sub/c.tif", *passed_over):
        store.create(path, b"x")
    jobs = plan_jobs(["memory://mirror"], "memory://mirror/out")
    assert [job.path for job in jobs] == ["a.png", "b.JPG", "sub/c.tif"]
    assert [job.source for job in jobs][-1] == "memory://mirror/sub/c.tif"
    assert [job.path for job in plan_jobs(["memory://mirror/x.txt"], "out")] == ["x.txt"]
    with pytest.raises(ParameterError, match="is the folder of the sources"):
        plan_jobs(["memory://mirror/"], "memory://mirror")
