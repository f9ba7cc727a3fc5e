"""Results on the disk: one JSON file for each arm, written whole or not at all, and refused where it does not fit.

Results enter and leave, as files ``FOLDER/STUDY/ARM.json`` and, for each image that an arm gave, ``ARM.NAME.png``. It
knows nothing of how results are made or shown.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pellucid import io
from pellucid.errors import DataError, InputError
from pellucid.lab.study import Arm, Effort, Result, Results, Study
from pellucid.lab.writing import write_whole


@dataclass(frozen=True)
class Conditions:
    """What all results of a study must share, for them to be compared.

    Attributes
    ----------
    version : int
        Of the study.
    effort : Effort
    photographs : str
        What the photographs are; empty for studies without.
    versions : mapping of str to str
        Of the packages that compute.
    """

    version: int
    effort: Effort
    photographs: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """A result and what it was made under.

    Attributes
    ----------
    result : Result
    conditions : Conditions
    n_seeds : int
        Seeds of the run that it is of.
    machine : mapping of str to str
    """

    result: Result
    conditions: Conditions
    n_seeds: int
    machine: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """All results of a study in a folder.

    Attributes
    ----------
    results : Results
        In the order of the study's arms.
    records : sequence of Record
        The same with their conditions; none where nothing was measured.
    n_missing : int
        Arms of the same run that have no result yet.
    n_seeds : int
        Seeds of the widest run that the results came from.
    """

    results: Results
    records: Sequence[Record]
    n_missing: int
    n_seeds: int


def save_record(record: Record, study: Study, folder: Path) -> None:
    """Write a result; its images first, so that a file of JSON stands for a whole result.

    Raises
    ------
    OutputError
        The disk does not take it.
    """
    path = _path(study, record.result.arm, folder)
    measured = record.result.measured
    pictures = {name: value for name, value in measured.items() if _is_image(value)}
    for name, pixels in pictures.items():
        png = io.encode(io.Picture((np.ascontiguousarray(pixels),), (None,), "png"), "png")
        write_whole(path.with_name(f"{record.result.arm.key}.{name}.png"), png)
    table = {
        "study": study.name,
        **asdict(record.conditions),
        "n_seeds": record.n_seeds,
        "machine": dict(record.machine),
        "arm": record.result.arm.key,
        "seed": record.result.arm.seed,
        "settings": _plain(record.result.arm.settings),
        "seconds": round(record.result.seconds, 3),
        "measured": {name: _plain(value) for name, value in measured.items() if name not in pictures},
        "images": list(pictures),
    }
    write_whole(path, json.dumps(table, indent=1, allow_nan=False).encode() + b"\n")


def find_record(study: Study, arm: Arm, conditions: Conditions, folder: Path) -> Record | None:
    """Read the result of an arm, if there is one.

    Raises
    ------
    DataError
        It was measured under other conditions or with other settings, or is damaged.
    """
    path = _path(study, arm, folder)
    if not path.exists():
        return None
    record = _load(study, path)
    _check_alike(path, record.conditions, conditions)
    _check_arm(path, record.result.arm, arm)
    return record


def find_records(study: Study, folder: Path) -> Found:
    """Read all results of a study.

    Raises
    ------
    DataError
        They were not measured under the same conditions, are of another version of the study, or are damaged.
    """
    records = {path: _load(study, path) for path in sorted((folder / study.name).glob("*.json"))}
    if not records:
        return Found(Results([]), [], 0, 0)
    first, n_seeds = next(iter(records.values())), max(record.n_seeds for record in records.values())
    arms = {arm.key: arm for arm in study.arms(first.conditions.effort, n_seeds)}
    for path, record in records.items():
        _check_alike(path, record.conditions, first.conditions)
        _check_arm(path, record.result.arm, arms.get(record.result.arm.key))
    by_key = {record.result.arm.key: record for record in records.values()}
    ordered = [by_key[key] for key in arms if key in by_key]
    return Found(Results([record.result for record in ordered]), ordered, len(arms) - len(ordered), n_seeds)


def _path(study: Study, arm: Arm, folder: Path) -> Path:
    return folder / study.name / f"{arm.key}.json"


def _load(study: Study, path: Path) -> Record:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        version = table["version"]
        if version == study.version:
            return _parse(table, path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise DataError(f"{path}: is not a whole result ({error!r}): delete it and run {study.name} again") from None
    raise DataError(
        f"{path}: is of version {version} of the study and this is version {study.version}: "
        "choose another folder, or delete it and run again"
    )


def _parse(table: Mapping[str, Any], path: Path) -> Record:
    arm = Arm(table["arm"], table["settings"], table["seed"])
    pictures = {name: io.read(path.with_name(f"{arm.key}.{name}.png")).pages[0] for name in table["images"]}
    conditions = Conditions(table["version"], Effort(table["effort"]), table["photographs"], table["versions"])
    result = Result(arm, {**table["measured"], **pictures}, table["seconds"])
    return Record(result, conditions, table["n_seeds"], table["machine"])


def _check_alike(path: Path, found: Conditions, wanted: Conditions) -> None:
    """Refuse results that would be compared with others though they cannot be."""
    for what, value in asdict(wanted).items():
        if getattr(found, what) != value:
            raise DataError(
                f"{path}: {what} {_told(getattr(found, what))} does not mix with {_told(value)}: "
                "choose another folder, or delete the study's results and run again"
            )


def _check_arm(path: Path, found: Arm, wanted: Arm | None) -> None:
    if wanted is None or (found.key, found.settings, found.seed) != (wanted.key, _plain(wanted.settings), wanted.seed):
        raise DataError(f"{path}: was measured with other settings: choose another folder, or delete it and run again")


def _told(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else f"'{value}'"


def _is_image(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3


def _plain(value: Any) -> Any:
    """Bring a measurement to what JSON holds; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
