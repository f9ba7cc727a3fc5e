"""Store results as ``STUDY/ARM.json`` and ``STUDY/ARM.IMAGE.png``, in a folder or (read-only) in a ZIP archive."""

import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pellucid import io
from pellucid.errors import DataError, InputError, OutputError
from pellucid.io.atomic import write_atomic
from pellucid.lab.study import Arm, Effort, Result, Results, Study

#: Limits of an archive: members, and bytes of one member and of all together, uncompressed.
MAX_MEMBERS, MAX_MEMBER_BYTES, MAX_BYTES = 10_000, 2**24, 2**28
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InputError)


@dataclass(frozen=True)
class Conditions:
    """What all results of a study must share to be comparable."""

    #: Of the study.
    version: int
    effort: Effort
    #: Their source and digest; empty for studies without.
    photographs: str
    #: Of the packages that compute.
    versions: Mapping[str, str]


@dataclass(frozen=True)
class StoredResult:
    """A result, the conditions and the number of seeds of its run, and the machine that it was measured on."""

    result: Result
    conditions: Conditions
    n_seeds: int
    machine: Mapping[str, str]


@dataclass(frozen=True)
class StudyResults:
    """All stored results of a study, in the order of its arms."""

    stored: Sequence[StoredResult]
    #: Arms of the same run without a result.
    n_missing: int
    #: The largest number of seeds of the runs.
    n_seeds: int

    @property
    def results(self) -> Results:
        """The results without their conditions."""
        return Results([one.result for one in self.stored])


def save_result(stored: StoredResult, study: Study, folder: Path) -> None:
    """Write a result; images first, so that a JSON file always belongs to a complete result."""
    arm, measured = stored.result.arm, stored.result.measured
    images = {name: value for name, value in measured.items() if _is_image(value)}
    for name, pixels in images.items():
        png = io.encode(io.Picture((np.ascontiguousarray(pixels),), (None,), "png"), "png")
        write_file(folder / study.name / f"{arm.key}.{name}.png", png)
    content = {
        "study": study.name,
        **asdict(stored.conditions),
        "n_seeds": stored.n_seeds,
        "machine": dict(stored.machine),
        "arm": arm.key,
        "seed": arm.seed,
        "settings": _to_json(arm.settings),
        "seconds": round(stored.result.seconds, 3),
        "measured": {name: _to_json(value) for name, value in measured.items() if name not in images},
        "images": list(images),
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    write_file(folder / study.name / f"{arm.key}.json", text.encode() + b"\n")


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically, and create its folder if needed.

    Raises
    ------
    OutputError
        The disk cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot be created ({error.strerror}): choose another folder") from None
    write_atomic(path, data)


def load_result(study: Study, arm: Arm, conditions: Conditions, folder: Path) -> StoredResult | None:
    """Read the result of one arm from a folder, if it exists.

    Raises
    ------
    DataError
        It was measured under other conditions or with other settings, or is damaged.
    """
    path = folder / study.name / f"{arm.key}.json"
    if not path.exists():
        return None
    stored = _load(study, path, _read_folder(path.parent, f"{arm.key}.*"))
    _check_conditions(path, stored.conditions, conditions)
    _check_arm(path, stored.result.arm, arm)
    return stored


def load_study(study: Study, source: Path) -> StudyResults:
    """Read all results of a study from a folder or from a ZIP archive of its contents.

    Raises
    ------
    DataError
        They were not measured under the same conditions, belong to another version of the study, or are damaged.
    """
    files = _read_archive(source, study.name) if source.is_file() else _read_folder(source / study.name)
    paths = [source / study.name / name for name in sorted(files) if name.endswith(".json")]
    if not paths:
        return StudyResults([], 0, 0)
    loaded = {path: _load(study, path, files) for path in paths}
    first, n_seeds = next(iter(loaded.values())), max(one.n_seeds for one in loaded.values())
    arms = {arm.key: arm for arm in study.arms(first.conditions.effort, n_seeds)}
    for path, one in loaded.items():
        _check_conditions(path, one.conditions, first.conditions)
        _check_arm(path, one.result.arm, arms.get(path.stem))
    by_key = {one.result.arm.key: one for one in loaded.values()}
    ordered = [by_key[key] for key in arms if key in by_key]
    return StudyResults(ordered, len(arms) - len(ordered), n_seeds)


def _read_folder(folder: Path, pattern: str = "*.*") -> dict[str, bytes]:
    """Read JSON files and images by their names; a file that cannot be read is reported as damaged."""
    paths = [path for path in folder.glob(pattern) if path.suffix in {".json", ".png"}]
    try:
        return {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}): check its permissions") from None


def _read_archive(path: Path, study: str) -> dict[str, bytes]:
    """Read a study's members of an archive into memory, by their names; nothing is extracted to the disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            sizes = [member.file_size for member in members]
            if len(sizes) > MAX_MEMBERS or max(sizes, default=0) > MAX_MEMBER_BYTES or sum(sizes) > MAX_BYTES:
                raise DataError(f"{path}: larger than an archive of results may be: unpack it and name the folder")
            chosen = [member for member in members if member.filename.rpartition("/")[0] == study]
            return {member.filename.rpartition("/")[2]: archive.read(member) for member in chosen}
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a ZIP archive of results ({error}): name such an archive or a folder") from None


def _load(study: Study, path: Path, files: Mapping[str, bytes]) -> StoredResult:
    try:
        content = json.loads(files[path.name])
        version = content["version"]
        if version == study.version:
            return _parse(content, path.stem, files)
    except _DAMAGED as error:
        raise DataError(f"{path}: incomplete result ({error!r}): delete it and run {study.name} again") from None
    raise DataError(
        f"{path}: has version {version} of the study, but this is version {study.version}: "
        "choose another folder, or delete it and run again"
    )


def _parse(content: Mapping[str, Any], key: str, files: Mapping[str, bytes]) -> StoredResult:
    arm = Arm(content["arm"], content["settings"], content["seed"])
    images = {name: io.read(files[f"{key}.{name}.png"]).pages[0] for name in content["images"]}
    conditions = Conditions(content["version"], Effort(content["effort"]), content["photographs"], content["versions"])
    result = Result(arm, {**content["measured"], **images}, content["seconds"])
    return StoredResult(result, conditions, content["n_seeds"], content["machine"])


def _check_conditions(path: Path, found: Conditions, wanted: Conditions) -> None:
    for what, value in asdict(wanted).items():
        if getattr(found, what) != value:
            raise DataError(
                f"{path}: {what} {_describe(getattr(found, what))} cannot be compared with {_describe(value)}: "
                "choose another folder, or delete the study's results and run again"
            )


def _check_arm(path: Path, found: Arm, wanted: Arm | None) -> None:
    if wanted is None or (found.key, found.settings, found.seed) != (
        wanted.key,
        _to_json(wanted.settings),
        wanted.seed,
    ):
        raise DataError(f"{path}: measured with other settings: choose another folder, or delete it and run again")


def _describe(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else f"'{value}'"


def _is_image(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3


def _to_json(value: Any) -> Any:
    """Convert a measurement to JSON values; non-finite numbers become None."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _to_json(value.tolist())
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
