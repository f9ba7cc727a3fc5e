"""The run folder: its file names, how it is created or resumed, and what is recorded about versions."""

import json
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pellucid.errors import OutputError, RecipeError, TrainingError
from pellucid.io.atomic import DISK_FULL, remove_leftovers, write_atomic
from pellucid.training.recipe import Recipe, parse_recipe

RECIPE_FILE, WEIGHTS_FILE, METRICS_FILE = "recipe.json", "weights.safetensors", "metrics.jsonl"
VERSIONS_FILE, DATA_FILE, EXAMPLES_FILE = "versions.json", "data.json", "examples.safetensors"
CHECKPOINTS, SAMPLES, EVENTS = "checkpoints", "samples", "events"
_PACKAGES = ("pellucid", "torch", "pytorch-lightning", "numpy")


def create(stages: Sequence[Recipe], out: Path) -> None:
    """Make a run folder that holds its recipe.

    Raises
    ------
    TrainingError
        The folder exists and is not empty, or the disk is full.
    """
    with disk_errors(out):
        if out.is_dir():
            remove_leftovers(out)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            what = "already holds a run" if (out / RECIPE_FILE).exists() else "is not an empty folder"
            more = ", or pass --resume to go on with it" if (out / RECIPE_FILE).exists() else ""
            raise TrainingError(f"{out}: {what}: name another folder{more}")
    write_recipe(stages, out / RECIPE_FILE)


def resume(stages: Sequence[Recipe], out: Path) -> None:
    """Check that a run folder holds a run of the same recipe, so that resuming is exact, and remove temporary files.

    `val_interval` may change, and `max_steps` if the learning rate does not depend on it.

    Raises
    ------
    TrainingError
        There is no run, or its recipe is another one; the message names the first key that differs.
    """
    path = out / RECIPE_FILE
    if not path.is_file():
        raise TrainingError(f"{out}: no run to resume: start it without --resume")
    try:
        before = read_recipe(path)
    except (OSError, ValueError, RecipeError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}): start a new run in another folder") from None
    if len(before) != len(stages):
        raise TrainingError(
            f"{out}: the recipe has {len(stages)} stages and the run's own has {len(before)}: resume with the run's own"
        )
    for old, new in zip(before, stages, strict=True):
        _refuse_changes(old, new, out)
    with disk_errors(out):
        for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
            remove_leftovers(folder)
    write_recipe(stages, path)


def _refuse_changes(old: Recipe, new: Recipe, out: Path) -> None:
    free = {"val_interval", "max_steps"} if new.optimizer.schedule == "constant" else {"val_interval"}
    before, now = (_flatten(recipe.model_dump(mode="json")) for recipe in (old, new))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key) and key not in free:
            raise TrainingError(
                f"{out}: {key} is {now.get(key)!r} and was {before.get(key)!r} when the run began: resume with the "
                "run's own recipe, or start a new run from its weights (pellucid export, --set init_from=MODELDIR)"
            )


def _flatten(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name each value by its dotted key."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def stage_dir(out: Path, number: int) -> Path:
    """Name the run folder of one of several stages, from 1."""
    return out / f"stage-{number}"


def write_recipe(stages: Sequence[Recipe], path: Path) -> None:
    """Write a recipe with all defaults filled in, as JSON; several stages as ``{"stages": [...]}``."""
    tables = [stage.model_dump(mode="json") for stage in stages]
    content = tables[0] if len(tables) == 1 else {"stages": tables}
    write_file(path, json.dumps(content, indent=2).encode() + b"\n")


def read_recipe(path: Path) -> tuple[Recipe, ...]:
    """Read the stages of a recipe that :func:`write_recipe` has written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return tuple(parse_recipe(table, str(path)) for table in content.get("stages", [content]))


def record_versions(out: Path, *, seed: int, first_step: int, n_processes: int) -> None:
    """Add the packages, machine and source commit of this process to ``versions.json``."""
    path = out / VERSIONS_FILE
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"]
    except (OSError, ValueError, KeyError):
        sessions = []
    session = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "first_step": first_step,
        "n_processes": n_processes,
        "python": platform.python_version(),
        "machine": platform.platform(),
        **{name: _version(name) for name in _PACKAGES},
        **source_commit(Path(__file__).parent),
    }
    content = {"seed": seed, "sessions": [*sessions, session]}
    write_file(path, json.dumps(content, indent=2).encode() + b"\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def source_commit(folder: Path) -> dict[str, str | bool | None]:
    """Find the git commit of a folder of source code.

    Returns
    -------
    dict
        ``commit`` (40 hex digits) and ``dirty`` (tracked files differ from it); both None if git does not track it.
    """
    answers = []
    for question in (
        ["ls-files", "--error-unmatch", "."],
        ["rev-parse", "HEAD"],
        ["status", "--porcelain", "--untracked-files=no"],
    ):
        try:
            done = subprocess.run(  # noqa: S603 (a fixed command)
                ["git", "--no-optional-locks", "-C", str(folder), *question],  # noqa: S607 (whichever git the user has)
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
            )
        except (OSError, subprocess.SubprocessError):
            return {"commit": None, "dirty": None}
        answers.append(done.stdout.strip())
    return {"commit": answers[1], "dirty": bool(answers[2])}


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, and its folder if needed.

    Raises
    ------
    TrainingError
        The disk is full or fails; what was there before is untouched.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system into a TrainingError that names the file and the remedy."""
    try:
        yield
    except (OSError, OutputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        if number in DISK_FULL:
            reason = "no space left on the disk: free some, then go on with --resume"
        else:
            why = getattr(cause, "strerror", None) or error
            reason = f"cannot be written ({why}): make that possible, then go on with --resume"
        raise TrainingError(f"{path}: {reason}") from error
