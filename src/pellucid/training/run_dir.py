"""The run folder: the names in it, how it is begun or gone on with, and how a file gets into it whole.

A recipe and a path enter; files leave, each either whole or not there, and one clear error where the disk does not take
them. It knows nothing of torch, and nothing of what training is.
"""

import errno
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pellucid.errors import RecipeError, TrainingError
from pellucid.training.recipe import Recipe, parse_recipe

RECIPE_FILE, WEIGHTS_FILE, METRICS_FILE = "recipe.json", "weights.safetensors", "metrics.jsonl"
VERSIONS_FILE, DATA_FILE, EXAMPLES_FILE = "versions.json", "data.json", "examples.safetensors"
CHECKPOINTS, PICTURES, EVENTS = "checkpoints", "pictures", "events"
#: How a file is called until it is whole.
PART_SUFFIX = ".part"
_PACKAGES = ("pellucid", "torch", "pytorch-lightning", "numpy")
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def begin(recipe: Recipe, out: Path) -> None:
    """Make a run folder that holds its recipe.

    Parameters
    ----------
    recipe : Recipe
    out : Path
        A folder that does not exist or is empty.

    Raises
    ------
    TrainingError
        It holds something, or the disk does not take it.
    """
    with writing(out):
        if out.exists() and (not out.is_dir() or any(not _is_part(path) for path in out.iterdir())):
            what = "already holds a run" if (out / RECIPE_FILE).exists() else "is not an empty folder"
            more = ", or pass --resume to go on with it" if (out / RECIPE_FILE).exists() else ""
            raise TrainingError(f"{out}: {what}: name another folder{more}")
        out.mkdir(parents=True, exist_ok=True)
    write_whole(out / RECIPE_FILE, recipe.model_dump_json(indent=2).encode() + b"\n")


def go_on(recipe: Recipe, out: Path) -> None:
    """Check that a run folder holds a run by this very recipe, so that going on is exact.

    How often to validate may change, and how long to train where the rate of learning does not depend on it. What a
    SIGKILL left half-written is removed.

    Raises
    ------
    TrainingError
        There is no run, or it was begun by another recipe; the message names the first key that differs.
    """
    path = out / RECIPE_FILE
    if not path.is_file():
        raise TrainingError(f"{out}: no run to resume: start it without --resume")
    try:
        begun = parse_recipe(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, RecipeError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}): start a new run in another folder") from None
    free = {"validate_every", "n_steps"} if recipe.optimizer.schedule == "constant" else {"validate_every"}
    before, now = (_flatten(r.model_dump(mode="json")) for r in (begun, recipe))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key) and key not in free:
            raise TrainingError(
                f"{out}: {key} is {now.get(key)!r} and the run was begun with {before.get(key)!r}: resume with the "
                "run's own recipe, or start a new run from this one's weights (pellucid export, --set initial=MODELDIR)"
            )
    with writing(out):
        for leftover in out.rglob(f".*{PART_SUFFIX}"):
            leftover.unlink(missing_ok=True)
    write_whole(path, recipe.model_dump_json(indent=2).encode() + b"\n")


def _is_part(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == PART_SUFFIX


def _flatten(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name each value by its dotted key."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def note_versions(out: Path, *, seed: int, first_step: int, n_processes: int) -> None:
    """Add to ``versions.json`` what this session of the run is made with: packages, machine, source code."""
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
    write_whole(path, json.dumps(content, indent=2).encode() + b"\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def source_commit(folder: Path) -> dict[str, str | bool | None]:
    """Find the git commit that a folder of source code stands at.

    Returns
    -------
    dict
        ``commit`` (40 hex digits) and ``dirty`` (tracked files differ from it); both None where the folder is not
        tracked by git, as in an installed package, or there is no git.
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


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place whole: written under a hidden name, forced to the disk, then renamed.

    Raises
    ------
    TrainingError
        The disk does not take it; what was there before is untouched.
    """
    part = path.with_name(f".{path.name}{PART_SUFFIX}")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _force_names(path.parent)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def _force_names(folder: Path) -> None:
    """Force a rename to the disk: without it a power cut may bring the old name back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system answers to a write into one line that names the file and the remedy.

    Raises
    ------
    TrainingError
        In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            reason = "no space left on the disk: free some, then go on with --resume"
        else:
            reason = f"cannot be written ({error.strerror or error}): make that possible, then go on with --resume"
        raise TrainingError(f"{path}: {reason}") from error
