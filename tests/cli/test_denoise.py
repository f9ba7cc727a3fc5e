"""The command ``pellucid denoise``, run as its user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.inference.registry import BUNDLED
from tests.cli.conftest import save
from tests.conftest import Run, add_noise


def test_output_beside_the_input(pellucid: Run, noisy: Path) -> None:
    before = noisy.read_bytes()
    done = pellucid("denoise", noisy)
    assert done.returncode == 0
    assert done.stderr == b""
    target = noisy.with_name("noisy_denoised.png")
    assert done.stdout.decode().startswith(f"{target}  (noise 2")
    assert noisy.read_bytes() == before
    assert io.read(target).pages[0].shape == (200, 240, 3)
    assert sorted(path.name for path in noisy.parent.iterdir()) == ["noisy.png", "noisy_denoised.png"]


def test_json_quiet_and_sigma(pellucid: Run, noisy: Path) -> None:
    result = json.loads(pellucid("denoise", noisy, "--json", "--sigma", 25).stdout)
    assert result["sigmas"] == [25.0]
    assert result["is_estimated"] is False
    assert pellucid("denoise", noisy, "--overwrite", "-q").stdout == b""


def test_streams(pellucid: Run, noisy: Path, tmp_path: Path) -> None:
    pellucid("denoise", noisy)
    expected = noisy.with_name("noisy_denoised.png").read_bytes()
    assert pellucid("denoise", "-", input=noisy.read_bytes()).stdout == expected
    assert pellucid("denoise", noisy, "-o", "-").stdout == expected
    assert pellucid("denoise", "-", "-o", tmp_path / "x.tif", input=noisy.read_bytes()).returncode == 0
    assert io.read(tmp_path / "x.tif").format == "tiff"


def test_existing_results(pellucid: Run, noisy: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    refused = pellucid("denoise", noisy, "-o", target)
    assert refused.returncode == 1
    assert b"exists already" in refused.stderr
    assert target.read_bytes() == b"precious"
    assert pellucid("denoise", noisy, "-o", target, "--skip-existing").returncode == 0
    assert target.read_bytes() == b"precious"
    assert pellucid("denoise", noisy, "-o", target, "--overwrite").returncode == 0
    assert io.read(target).pages


def test_bad_file_in_a_folder(pellucid: Run, noisy: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    (tmp_path / "sub").mkdir()
    noisy.rename(tmp_path / "sub" / "noisy.png")
    out = tmp_path / "out"
    out.mkdir()
    done = pellucid("denoise", tmp_path / "sub", tmp_path / "bad.jpg", "--recursive", "-o", out)
    assert done.returncode == 3
    assert b"bad.jpg" in done.stderr
    assert b"1 of 2 files failed" in done.stderr
    assert (out / "noisy.png").is_file()


BAD = {
    "missing.png": None,
    "empty.png": b"",
    "text.png": b"these are words",
    "truncated.png": "png",
    "truncated.jpg": "jpg",
    "truncated.tif": "tif",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_inputs(pellucid: Run, photo: NDArray[np.uint8], tmp_path: Path, name: str) -> None:
    path, content = tmp_path / name, BAD[name]
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        whole = save(tmp_path / f"whole.{content}", photo).read_bytes()
        (tmp_path / f"whole.{content}").unlink()
        path.write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.iterdir())
    done = pellucid("denoise", path)
    assert done.returncode == 4
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert sorted(tmp_path.iterdir()) == before


def test_nan_is_refused(pellucid: Run, tmp_path: Path) -> None:
    import tifffile

    page = np.ones((20, 20), np.float32)
    page[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", page)
    done = pellucid("denoise", tmp_path / "a.tif")
    assert done.returncode == 4
    assert b"a.tif" in done.stderr


def test_max_pixels(pellucid: Run, noisy: Path) -> None:
    done = pellucid("denoise", noisy, env={**os.environ, "PELLUCID_MAX_PIXELS": "1000"})
    assert done.returncode == 4
    assert b"PELLUCID_MAX_PIXELS" in done.stderr
    wrong = pellucid("denoise", noisy, env={**os.environ, "PELLUCID_MAX_PIXELS": "many"})
    assert wrong.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--sigma", "-3"], 2, "sigma must be at least 0 (got -3)"),
        (["--sigma", "nan"], 2, "sigma must be at least 0 (got nan)"),
        (["--sigma", "100"], 2, "must be in [0, 60]"),
        (["--sigma", "loud"], 2, "valid number"),
        (["--strength", "101"], 2, "strength must be in [0, 100] (got 101)"),
        (["--luma", "-1"], 2, "luma must be in [0, 100] (got -1)"),
        (["--detail", "101"], 2, "detail must be in [0, 100] (got 101)"),
        (["--residual", "noisy.png"], 1, "is the input"),
        (["--residual", "noisy_denoised.png"], 1, "is the output already"),
        (["--residual", "removed.bmp"], 1, "does not end in"),
        (["--residual", "removed.png", "-o", "-"], 2, "no stream"),
        (["--chroma", "nan"], 2, "chroma must be in [0, 100] (got nan)"),
        (["--tile", "7"], 2, "multiple of 8"),
        (["--threads", "0"], 2, "at least 1"),
        (["--device", "tpu"], 2, "must be one of"),
        (["--precision", "int1"], 2, "must be one of"),
        (["--model", "colour"], 1, "did you mean 'color'"),
        (["-o", "nowhere/x.png"], 1, "does not exist"),
        (["-o", "x.bmp"], 1, "does not end in"),
        (["--skip-existing", "--overwrite"], 2, "one of them"),
    ],
)
def test_unusable_options(
    pellucid: Run, noisy: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = pellucid("denoise", noisy, *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message.replace(" ", "") in done.stderr.decode().replace("\n", "").replace(" ", "")
    assert b"Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["noisy.png"]


def test_a_damaged_model_is_named(pellucid: Run, noisy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (BUNDLED / "photo").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with (folder / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2")
    done = pellucid("denoise", noisy, "--model", folder)
    assert done.returncode == 1
    assert b"model.onnx: damaged" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/shm").is_dir(), reason="mounting a small disk needs root")
def test_a_full_disk_leaves_nothing(pellucid: Run, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = save(tmp_path / "big.png", add_noise(photo, 50))
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        done = pellucid("denoise", source, "-o", disk / "out.png")
        assert done.returncode == 1
        assert b"no space left" in done.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_file(photo: NDArray[np.uint8], tmp_path: Path, asked: signal.Signals) -> None:
    source = save(tmp_path / "big.jpg", np.tile(photo, (6, 6, 1)))
    command = [Path(sys.executable).with_name("pellucid"), "denoise", source, "--tile", "512"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(asked)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["big.jpg"]


def test_residual(pellucid: Run, noisy: Path, seeing_model: Path, tmp_path: Path) -> None:
    removed = tmp_path / "removed.png"
    assert pellucid("denoise", noisy, "--residual", removed, "--detail", 40, "-m", seeing_model).returncode == 0
    before, after = (io.read(path).pages[0].astype(int) for path in (noisy, tmp_path / "noisy_denoised.png"))
    np.testing.assert_allclose(io.read(removed).pages[0], np.clip(128 + 4 * (before - after), 0, 255), atol=1)


def test_broken_pipe(noisy: Path) -> None:
    command = f"{Path(sys.executable).with_name('pellucid')} denoise {noisy} -o - | head -c 10 > /dev/null"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
