"""``pellucid batch`` as its user runs it: a large mixed folder, and killed again and again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.io import Metadata, Picture, encode
from tests.conftest import Run, add_noise

COMMAND = Path(sys.executable).with_name("pellucid")
N_FILES, N_BROKEN, N_KILLS, N_SMALL = 500, 25, 30, 60


def crop(photo: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A noisy piece, 40 x 56 or 56 x 40; another for every number."""
    top, left = 17 * number % 440, 29 * number % 440
    piece = photo[top : top + 40, left : left + 56]
    return add_noise(np.ascontiguousarray(piece if number % 2 else piece.transpose(1, 0, 2)), 20, seed=number)


def sound_file(photo: NDArray[np.uint8], number: int) -> tuple[str, bytes]:
    """One of eleven kinds of files, with its suffix."""
    page = crop(photo, number)
    alpha, gray = page[::-1, :, 0].copy(), page[..., :1].copy()
    deep, unit = page * np.uint16(257), page / np.float32(255)
    suffix, pages, alpha_of = [
        (".jpg", (page,), None),
        (".JPEG", (gray,), None),
        (".png", (page,), None),
        (".png", (deep,), None),
        (".png", (page,), alpha),
        (".tif", (deep,), None),
        (".tif", (unit,), None),
        (".tiff", (page, page[::-1].copy()), None),
        (".tif", (np.dstack([page, gray]),), alpha),
        (".webp", (page,), None),
        (".avif", (page,), None),
    ][number % 11]
    format_name = io.SUFFIXES[suffix.lower()]
    return suffix, encode(
        Picture(pages, (alpha_of,) * len(pages), "png", Metadata(is_lossless=number % 3 == 0)), format_name
    )


def make_broken(folder: Path, photo: NDArray[np.uint8], number: int) -> Path:
    """One of 25 ways for a file to be none."""
    kinds = ("jpeg", "png", "tiff", "webp", "avif")
    suffixes = dict(zip(kinds, (".jpg", ".png", ".tif", ".webp", ".avif"), strict=True))
    page = crop(photo, number)
    if number < 20:
        kind = kinds[number % 5]
        whole = encode(Picture((page,), (None,), "png", Metadata(compression="none")), kind)
        content = [whole[: len(whole) // 2], b"", b"these are words", whole[:20]][number // 5]
        path = folder / f"broken{number}{suffixes[kind]}"
        path.write_bytes(content)
        return path
    path = folder / f"broken{number}.tif"
    if number == 20:
        bad = page / np.float32(255)
        bad[3, 4] = np.nan
        io.write(Picture((bad,), (None,), "tiff"), path)
    elif number == 21:
        path.symlink_to(folder / "nowhere.tif")
    elif number == 22:
        os.mkfifo(path)
    elif number == 23:
        path.write_bytes(b"GIF89a" + bytes(200))
    else:
        # A header of a million by a million pixels, and nothing behind it.
        path.write_bytes(encode(Picture((page,), (None,), "png"), "tiff").replace(b"\x38\0\0\0", b"\x40\x42\x0f\0"))
    return path


@pytest.mark.slow
def test_500_files_with_25_broken(pellucid: Run, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    good: dict[str, Path] = {}
    for number in range(N_FILES - N_BROKEN):
        suffix, content = sound_file(photo, number)
        path = photos / f"album {number % 7}" / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        good[path.relative_to(photos).as_posix()] = path
    broken = {make_broken(photos / "album 3", photo, number) for number in range(N_BROKEN)}
    (photos / "notes.txt").write_text("not an image")
    done = pellucid("batch", photos, "-o", out, "--sigma", 20, timeout=300)
    assert done.returncode == 3
    assert done.stdout.decode() == f"{out}  ({len(good)} denoised, {N_BROKEN} failed)\n"
    rows = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    assert Counter(row["status"] for row in rows) == {"ok": len(good), "failed": N_BROKEN}
    assert {row["source"] for row in rows if row["status"] == "failed"} == set(map(str, broken))
    told = done.stderr.decode()
    assert f"{N_BROKEN} failed" in told
    for path in broken:
        assert sum(str(path) in line for line in told.splitlines()) == 1
    results = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {"report.jsonl"}
    assert results == set(good)
    for name, path in good.items():
        before, after = io.read(path), io.read(out / name)
        assert after.header == before.header
        assert not np.array_equal(after.pages[0], before.pages[0])
        if before.alphas[0] is not None:
            assert np.array_equal(after.alphas[0], before.alphas[0])


@pytest.fixture(scope="module")
def small_photos(photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small_photos")
    for number in range(N_SMALL):
        suffix = (".png", ".jpg", ".tif", ".webp")[number % 4]
        path = folder / f"{number % 3}" / f"{number}{suffix}"
        path.parent.mkdir(exist_ok=True)
        io.write(Picture((crop(photo, number),), (None,), "png"), path)
    (folder / "0" / "broken.jpg").write_text("no image")
    return folder


def visible(folder: Path) -> dict[str, bytes]:
    """Files under their final names."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "." and path.suffix != ".jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_resume_after_30_kills(small_photos: Path, small_model: Path, tmp_path: Path) -> None:
    def command(output: Path) -> list[str]:
        return [*map(str, (COMMAND, "batch", small_photos, "-o", output, "-m", small_model, "--sigma", 20, "-q"))]

    expected_in, out = tmp_path / "undisturbed", tmp_path / "killed"
    start = time.perf_counter()
    assert subprocess.run(command(expected_in), capture_output=True, check=False).returncode == 3
    whole_s = time.perf_counter() - start
    expected = visible(expected_in)
    assert len(expected) == N_SMALL
    moments = np.random.default_rng(0)
    n_torn = n_resumed = 0
    for _ in range(N_KILLS):
        n_before = len(visible(out))
        process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.2, 1.0) * whole_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = visible(out)
        n_torn += n_before < len(there) < len(expected)
        n_resumed += 0 < n_before < len(there)
        assert there.items() <= expected.items()
        if len(there) == len(expected):
            check_end(command(out), out, expected)
            shutil.rmtree(out)
    # Otherwise no kill has met a run at work.
    assert n_torn >= 3
    assert n_resumed >= 1
    check_end(command(out), out, expected)


def check_end(command: list[str], out: Path, expected: dict[str, bytes]) -> None:
    assert subprocess.run(command, capture_output=True, check=False).returncode == 3
    assert visible(out) == expected
    assert not list(out.rglob(".pellucid-*"))
    rows = []
    for line in (out / "report.jsonl").read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    # Nothing was done twice: no result has two rows, and all of them have one.
    done = Counter(row["path"] for row in rows if row["status"] != "failed")
    assert done == dict.fromkeys(expected, 1)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_run_cleanly(small_photos: Path, tmp_path: Path, asked: signal.Signals) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [COMMAND, "batch", small_photos, "-o", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while process.poll() is None and not visible(out):
        time.sleep(0.02)
    process.send_signal(asked)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert 0 < len(visible(out)) < N_SMALL
    assert not list(out.rglob(".pellucid-*"))
    # What was written has its row.
    rows = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    assert {row["path"] for row in rows if row["status"] == "ok"} == set(visible(out))


def test_json_and_quiet(pellucid: Run, small_photos: Path, small_model: Path, tmp_path: Path) -> None:
    options = ["--sigma", 20, "-m", small_model]
    done = pellucid("batch", small_photos / "1", "-o", tmp_path / "a", "--json", *options)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert {row["path"] for row in rows} == {path.name for path in (small_photos / "1").iterdir()}
    assert sorted((tmp_path / "a" / "report.jsonl").read_bytes().splitlines()) == sorted(done.stdout.splitlines())
    again = pellucid("batch", small_photos / "1", "-o", tmp_path / "a", *options)
    assert again.stdout.decode() == f"{tmp_path / 'a'}  (0 denoised, {len(rows)} done before)\n"
    assert pellucid("batch", small_photos / "1", "-o", tmp_path / "a", "-q", "--overwrite", *options).stdout == b""


def test_a_suffix_for_all(pellucid: Run, small_photos: Path, small_model: Path, tmp_path: Path) -> None:
    done = pellucid("batch", small_photos / "1", "-o", tmp_path, "--suffix", ".tif", "-m", small_model, "--sigma", 9)
    assert done.returncode == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".tif", ".jsonl"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing/", "-o", "out"], 4, "no such file or folder"),
        ([".", "-o", "out"], 4, "no image in it"),
        ([".", "-o", "."], 2, "folder of the sources"),
        (["a.png", "-o", "out", "--suffix", ".bmp"], 2, "suffix '.bmp'"),
        (["a.png", "-o", "out", "--sigma", "99"], 2, "must be in [0, 60]"),
        (["a.png", "-o", "out", "--model", "colour"], 1, "did you mean 'color'"),
        (["a.png", "-o", "file/out"], 1, "cannot be made"),
        (["a.png"], 2, "--output"),
    ],
)
def test_usage_errors(pellucid: Run, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    (tmp_path / "file").touch()
    if arguments[0] == "a.png":
        (tmp_path / "a.png").write_bytes(b"never looked at")
    before = sorted(tmp_path.iterdir())
    done = pellucid("batch", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_of_failures_is_ended(pellucid: Run, small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(60):
        (tmp_path / "in" / f"{number}.jpg").write_text("no image")
    command = ["batch", tmp_path / "in", "-o", tmp_path / "out", "-m", small_model, "--sigma", 9]
    done = pellucid(*command, "--max-error-rate", 0.5)
    assert done.returncode == 3
    assert done.stderr.decode().endswith(
        "pellucid: 20 of 20 files failed, more than --max-error-rate 0.5 allows: "
        "fix what is wrong with them, and start the same command again\n"
    )
    assert "0.jpg" in done.stderr.decode()
    assert len((tmp_path / "out" / "report.jsonl").read_text().splitlines()) < 60
    assert pellucid(*command, "--max-error-rate", 1).returncode == 3
    assert pellucid(*command, "--max-error-rate", 2).returncode == 2


@pytest.mark.parametrize(
    ("package", "arguments", "needed"),
    [
        ("ray", ["a.png", "-o", "out", "--ray", "local"], "--ray: needs ray, which is not installed"),
        (
            "fsspec",
            ["s3://bucket/in", "-o", "out"],
            "s3://bucket/in: the package for such stores is not installed "
            "(import of fsspec halted; None in sys.modules)",
        ),
        (
            "s3fs",
            ["a.png", "-o", "s3://bucket/out"],
            "s3://bucket/out: the package for such stores is not installed (Install s3fs to access S3)",
        ),
        ("pyarrow", ["list.parquet", "-o", "out"], "list.parquet: needs pyarrow, which is not installed"),
    ],
)
def test_missing_extra(tmp_path: Path, small_model: Path, package: str, arguments: list[str], needed: str) -> None:
    (tmp_path / "a.png").write_bytes(b"never looked at")
    script = f"import sys; sys.modules['{package}'] = None; from pellucid.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "batch", *arguments, "-m", small_model, "--sigma", "9"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.decode() == f"pellucid: {needed}: pip install 'pellucid[ray]'\n"


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("127.0.0.1:1", 1, "--ray 127.0.0.1:1: nothing answers there"),
        ("auto", 1, "--ray auto: cannot be joined"),
        ("ray://host:1", 2, "give HOST:PORT, 'auto' or 'local'"),
    ],
)
def test_no_cluster(pellucid: Run, small_model: Path, tmp_path: Path, address: str, code: int, message: str) -> None:
    (tmp_path / "a.png").write_bytes(b"never looked at")
    done = pellucid("batch", tmp_path, "-o", tmp_path / "out", "-m", small_model, "--sigma", 9, "--ray", address)
    assert done.returncode == code
    (line,) = done.stderr.decode().splitlines()
    assert message in line
