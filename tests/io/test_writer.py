import errno
import os
import subprocess
import sys
import threading

import pytest

from pellucid.errors import OutputError
from pellucid.io import Image, atomic, check_target, encode, read, write, write_bytes, writer


@pytest.fixture
def picture(photo):
    return Image((photo,), (None,), "png")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.jpe", "a.jfif", "a.png", "a.tif", "a.TIFF", "a.webp", "a.avif"])
def test_the_suffix_decides_the_format(picture, tmp_path, name):
    write(picture, tmp_path / name)
    written = read(tmp_path / name)
    assert written.format == {"jp": "jpeg", "jf": "jpeg", "ti": "tiff"}.get(name[2:4].lower(), name[2:].lower())
    assert names(tmp_path) == [name]


def test_the_file_is_what_encode_gives(picture, tmp_path):
    for suffix, file_format in ((".jpg", "jpeg"), (".png", "png"), (".tif", "tiff"), (".webp", "webp")):
        write(picture, tmp_path / f"a{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == encode(picture, file_format)


@pytest.mark.parametrize("name", ["a", "a.gif", "a.png.txt", ".png"])
def test_other_suffixes_are_refused(picture, tmp_path, name):
    with pytest.raises(OutputError, match=r"does not end in one of \.jpg, .*\.avif; give it one of these$"):
        write(picture, tmp_path / name)
    assert names(tmp_path) == []


def test_permissions_follow_the_umask(picture, tmp_path):
    old = os.umask(0o027)
    try:
        write(picture, tmp_path / "a.png")
    finally:
        os.umask(old)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640


def test_bytes_are_written_as_they_are(tmp_path):
    write_bytes(b"any bytes", tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == b"any bytes"
    with pytest.raises(OutputError, match="exists already"):
        write_bytes(b"other bytes", tmp_path / "a.jpg")
    write_bytes(b"other bytes", tmp_path / "a.jpg", overwrite=True)
    assert (tmp_path / "a.jpg").read_bytes() == b"other bytes"
    assert names(tmp_path) == ["a.jpg"]


def test_a_target_is_checked_without_a_trace(tmp_path):
    check_target(tmp_path / "a.jpg", overwrite=False)
    assert names(tmp_path) == []
    (tmp_path / "a.jpg").write_bytes(b"mine")
    check_target(tmp_path / "a.jpg", overwrite=True)
    for target, message in (
        (tmp_path / "a.jpg", "exists already"),
        (tmp_path / "a.gif", "does not end in one of"),
        (tmp_path / "missing" / "a.jpg", "the folder does not exist"),
        (tmp_path, "a folder; add a file name"),
    ):
        with pytest.raises(OutputError, match=message):
            check_target(target, overwrite=False)
    assert names(tmp_path) == ["a.jpg"]
    assert (tmp_path / "a.jpg").read_bytes() == b"mine"


class TestExistingTargets:
    def test_refused_and_untouched(self, picture, tmp_path):
        target = tmp_path / "a.png"
        target.write_bytes(b"mine")
        with pytest.raises(OutputError, match="exists already; choose another name, or allow overwriting"):
            write(picture, target)
        assert target.read_bytes() == b"mine"
        assert names(tmp_path) == ["a.png"]

    def test_overwritten_if_told_with_permissions_kept(self, picture, tmp_path):
        target = tmp_path / "a.png"
        target.write_bytes(b"mine")
        target.chmod(0o600)
        write(picture, target, overwrite=True)
        assert target.read_bytes() == encode(picture, "png")
        assert target.stat().st_mode & 0o777 == 0o600
        assert names(tmp_path) == ["a.png"]

    def test_one_that_appears_meanwhile_is_not_replaced(self, picture, tmp_path, monkeypatch):
        target = tmp_path / "a.png"

        def slow(stream, *_arguments):
            stream.write(b"whole")
            target.write_bytes(b"theirs")

        monkeypatch.setattr(writer, "encode_to", slow)
        with pytest.raises(OutputError, match="exists already"):
            write(picture, target)
        assert target.read_bytes() == b"theirs"
        assert names(tmp_path) == ["a.png"]

    def test_of_many_writers_one_wins(self, picture, tmp_path):
        outcomes = []

        def run():
            try:
                write(picture, tmp_path / "a.png")
                outcomes.append("written")
            except OutputError:
                outcomes.append("refused")

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["refused"] * 7 + ["written"]
        assert names(tmp_path) == ["a.png"]

    @pytest.mark.parametrize("is_dangling", [False, True])
    def test_links_are_replaced_not_followed(self, picture, tmp_path, is_dangling):
        (tmp_path / "original.png").write_bytes(b"mine")
        (tmp_path / "a.png").symlink_to("nowhere.png" if is_dangling else "original.png")
        with pytest.raises(OutputError, match="exists already"):
            write(picture, tmp_path / "a.png")
        write(picture, tmp_path / "a.png", overwrite=True)
        assert not (tmp_path / "a.png").is_symlink()
        assert (tmp_path / "original.png").read_bytes() == b"mine"
        assert names(tmp_path) == ["a.png", "original.png"]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_folders_and_devices_are_refused(self, picture, tmp_path, overwrite):
        (tmp_path / "folder.png").mkdir()
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "device.png").symlink_to("/dev/null")
        for name, message in (
            ("folder", "a folder; add a file name"),
            ("pipe", "a device"),
            ("device", "a device"),
        ):
            with pytest.raises(OutputError, match=message):
                write(picture, tmp_path / f"{name}.png", overwrite=overwrite)
        assert names(tmp_path) == ["device.png", "folder.png", "pipe.png"]


class TestFailures:
    def test_missing_folder(self, picture, tmp_path):
        with pytest.raises(OutputError, match=r"a\.png: the folder does not exist; create it first$"):
            write(picture, tmp_path / "missing" / "a.png")

    def test_folder_that_is_a_file(self, picture, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="the folder is a file"):
            write(picture, tmp_path / "file" / "a.png")

    def test_name_too_long(self, picture, tmp_path):
        with pytest.raises(OutputError, match="the name is too long; shorten it"):
            write(picture, tmp_path / ("x" * 300 + ".png"))
        write(picture, tmp_path / ("x" * 251 + ".png"))

    def test_no_permission(self, picture, unprivileged_path):
        unprivileged_path.chmod(0o500)
        with pytest.raises(OutputError, match="no permission to write there"):
            write(picture, unprivileged_path / "a.png")

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
    def test_one_line_and_no_trace(self, picture, tmp_path, monkeypatch, code):
        def failing(*_arguments):
            raise OSError(code, os.strerror(code))

        for step in ("fsync", "open", "link"):
            with monkeypatch.context() as patch:
                patch.setattr(os, step, failing)
                if step == "link" and code == errno.EACCES:
                    continue
                with pytest.raises(OutputError) as caught:
                    write(picture, tmp_path / "a.png")
            assert str(caught.value).startswith(str(tmp_path / "a.png"))
            assert "\n" not in str(caught.value)
            assert names(tmp_path) == []

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
    def test_a_disk_that_fills_up(self, tmp_path, suffix):
        code = (
            "import resource, sys, numpy, pathlib; from pellucid.io import Image, write\n"
            "page = numpy.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=numpy.uint8)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
            "write(Image((page,), (None,), 'png'), pathlib.Path(sys.argv[1]))"
        )
        target = tmp_path / f"a{suffix}"
        result = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True, check=False)
        last = result.stderr.strip().splitlines()[-1]
        assert last.endswith(f"{target}: the file would be larger than allowed here; write to another folder")
        assert names(tmp_path) == []

    def test_pictures_that_the_format_cannot_hold(self, photo, tmp_path):
        with pytest.raises(OutputError, match=r"a\.png: PNG holds one page and this image has 2; write a TIFF$"):
            write(Image((photo, photo), (None, None), "tiff"), tmp_path / "a.png")
        assert names(tmp_path) == []

    def test_names_never_break_the_line(self, picture, tmp_path):
        for name in ("a\nb.gif", "a\nb/c.png", "\0.png"):
            with pytest.raises(OutputError) as caught:
                write(picture, tmp_path / name)
            assert str(caught.value).isprintable()


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_file_systems_without_hard_links(picture, tmp_path, monkeypatch, code):
    def no_link(*_arguments, **_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", no_link)
    write(picture, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == encode(picture, "png")
    monkeypatch.setattr(writer, "mode_to_keep", lambda *_arguments, **_options: None)
    monkeypatch.setattr(atomic, "mode_to_keep", lambda *_arguments, **_options: None)
    with pytest.raises(OutputError, match="exists already"):
        write(picture, tmp_path / "a.png")
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
def test_an_interrupt_leaves_nothing(tmp_path, suffix):
    code = (
        "import os, signal, sys, numpy, pathlib, threading; from pellucid.io import Image, write\n"
        "page = numpy.random.default_rng(0).integers(0, 256, (2500, 2500, 3), dtype=numpy.uint8)\n"
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    while True: write(Image((page,), (None,), 'png'), pathlib.Path(sys.argv[1]), overwrite=True)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / f"a{suffix}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr) == ("interrupted\n", "")
    assert [name for name in names(tmp_path) if name.startswith(".")] == []
