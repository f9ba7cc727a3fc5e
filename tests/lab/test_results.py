import json
import zipfile

import numpy as np
import pytest

from pellucid.errors import DataError
from pellucid.lab import results
from pellucid.lab.results import load_study
from pellucid.lab.study import Effort


@pytest.fixture
def archive(tossing, run_all, tmp_path):
    """Pack a run's results as ``zip -r`` would."""
    run_all(tossing.study(), tmp_path / "results")

    def pack(change=lambda files: files):
        folder, target = tmp_path / "results", tmp_path / "results.zip"
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.*"))}
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in change(files).items():
                packed.writestr(name, data)
        return target

    return pack


def test_an_archive_is_read_like_its_folder(tossing, archive, tmp_path):
    unpacked = load_study(tossing.study(), tmp_path / "results").results
    packed = load_study(tossing.study(), archive()).results
    assert [one.arm for one in packed] == [one.arm for one in unpacked]
    for one, other in zip(packed, unpacked, strict=True):
        assert one["value"] == other["value"]
        np.testing.assert_array_equal(one["window"], other["window"])


def test_results_of_other_studies_are_ignored(tossing, archive):
    assert load_study(tossing.study(name="other"), archive()).stored == []


@pytest.mark.parametrize("name", ["../head-seed-0", "/etc/passwd", "../../window"])
def test_paths_inside_a_file_are_not_followed(tossing, archive, name):
    def change(files):
        content = json.loads(files["tossing/head-seed-0.json"])
        return {**files, "tossing/head-seed-0.json": json.dumps({**content, "images": [name]}).encode()}

    with pytest.raises(DataError, match=r"head-seed-0\.json: incomplete result \(KeyError"):
        load_study(tossing.study(), archive(change))


def test_a_result_under_another_name_is_refused(tossing, archive):
    def change(files):
        return {**files, "tossing/tail-seed-0.json": files["tossing/head-seed-0.json"]}

    with pytest.raises(DataError, match="tail-seed-0"):
        load_study(tossing.study(), archive(change))


def test_not_an_archive(tossing, tmp_path):
    (tmp_path / "results.zip").write_bytes(b"PK\x03\x04 or not")
    with pytest.raises(DataError, match=r"results\.zip: not a ZIP archive of results"):
        load_study(tossing.study(), tmp_path / "results.zip")


def test_a_damaged_member(tossing, archive):
    path = archive()
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"results\.zip"):
        load_study(tossing.study(), path)


def test_a_zip_bomb_is_refused_unread(tossing, archive):
    path = archive(lambda files: {**files, "tossing/bomb.json": bytes(results.MAX_MEMBER_BYTES + 1)})
    assert path.stat().st_size < 200_000
    with pytest.raises(DataError, match="larger than an archive of results may be"):
        load_study(tossing.study(), path)


def test_deeply_nested_json(tossing, archive):
    path = archive(lambda files: {**files, "tossing/head-seed-0.json": b"[" * 100_000})
    with pytest.raises(DataError, match="incomplete result"):
        load_study(tossing.study(), path)


def test_a_run_does_not_write_into_an_archive(tossing, archive, run_all):
    with pytest.raises(Exception, match=r"results\.zip"):
        run_all(tossing.study(), archive(), Effort.FULL)
