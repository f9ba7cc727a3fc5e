"""Plan a batch: list the files to denoise, and the path of each result."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from pellucid import io
from pellucid.batch.storage import is_url, list_objects, local_copy, safe_path
from pellucid.errors import ParameterError, UnreadableImageError, require_extra
from pellucid.paths import images_below, is_image_name

MANIFEST_SUFFIX = ".parquet"
MANIFEST_COLUMN = "path"


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One file to denoise: a path or URL, and the path of its result in the output, with ``/`` between folders."""

    source: str
    path: str


def plan_jobs(sources: Iterable[str | Path], output: str | Path, *, suffix: str | None = None) -> list[BatchJob]:
    """Mirror files and the trees of folders in an output folder or store, by default under the same suffixes.

    Of a folder, or below a URL, all files with the suffix of an image format are taken, except hidden files and
    folders, links to folders, results of ``pellucid denoise`` and the output folder itself. A file that is named is
    always taken. A manifest is a Parquet file whose column ``path`` lists paths or URLs; their results are named by the
    whole path, or by bucket and key, so that the name does not depend on other rows. Two files with one result are an
    error, as are an empty folder or manifest, and an output folder that is a source.
    """
    if suffix is not None and suffix.lower() not in io.SUFFIXES:
        raise ParameterError(f"suffix '{suffix}': choose one of {', '.join(io.SUFFIXES)}")
    output = str(output)
    jobs: dict[str, BatchJob] = {}
    for source, relative in _list_files(map(str, sources), output):
        path = (relative if suffix is None else relative.with_suffix(suffix)).as_posix()
        known = jobs.setdefault(path, BatchJob(source, path))
        if known.source != source:
            place = f"{output.rstrip('/')}/{path}"
            raise ParameterError(
                f"{source}: would be written to {place}, and so would {known.source}: give each its own output folder"
            )
    return list(jobs.values())


def read_manifest(manifest: str) -> Iterator[str]:
    """Read the paths and URLs in the text column ``path`` of a Parquet file."""
    require_extra(manifest, "ray", "pyarrow")
    import pyarrow  # noqa: PLC0415 (an extra)
    from pyarrow import parquet  # noqa: PLC0415

    seen: set[str] = set()
    with local_copy(manifest) as path:
        try:
            with parquet.ParquetFile(path) as file:
                _check_column(file.schema_arrow, pyarrow, manifest)
                for batch in file.iter_batches(columns=[MANIFEST_COLUMN]):
                    for name in batch.column(0).to_pylist():
                        yield _check_row(name, seen, manifest)
        except (OSError, pyarrow.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise UnreadableImageError(
                f"{manifest}: cannot be read as Parquet ({reason}): write it again, with a column '{MANIFEST_COLUMN}'"
            ) from error
    if not seen:
        raise UnreadableImageError(f"{manifest}: lists no file: add a row for each")


def _list_files(sources: Iterable[str], output: str) -> Iterator[tuple[str, PurePath]]:
    """Yield every file, and the relative path of its result."""
    for source in sources:
        if source.endswith(MANIFEST_SUFFIX):
            yield from _list_manifest(source)
        elif is_url(source):
            yield from _list_store(source, output)
        elif Path(source).is_dir():
            yield from _list_folder(Path(source), output)
        else:
            if not os.path.lexists(source):
                raise UnreadableImageError(f"{source}: no such file or folder; check the name")
            yield source, PurePath(Path(source).name)


def _list_folder(folder: Path, output: str) -> Iterator[tuple[str, PurePath]]:
    excluded = None if is_url(output) else Path(output)
    if excluded is not None and os.path.realpath(folder) == os.path.realpath(excluded):
        raise ParameterError(f"{output}: is the folder of the sources: choose another output folder")
    for path in images_below(folder, leave_out=excluded):
        yield str(path), path.relative_to(folder)


def _list_store(url: str, output: str) -> Iterator[tuple[str, PurePath]]:
    folder, excluded = url.rstrip("/"), output.rstrip("/")
    if folder == excluded:
        raise ParameterError(f"{output}: is the folder of the sources: choose another output folder")
    found = list_objects(url)
    if found == [""]:
        yield url, PurePosixPath(safe_path(url, url).name)
        return
    n_taken = 0
    for path in found:
        source = f"{folder}/{path}"
        parts = path.split("/")
        if any(part.startswith(".") and part != ".." for part in parts) or not is_image_name(parts[-1]):
            continue
        if source.startswith(f"{excluded}/"):
            continue
        n_taken += 1
        yield source, safe_path(path, source)
    if not n_taken:
        raise UnreadableImageError(f"{url}: no image below it: check the name, which is one of an object or a folder")


def _list_manifest(manifest: str) -> Iterator[tuple[str, PurePath]]:
    for source in read_manifest(manifest):
        name = source.partition("://")[2] if is_url(source) else source
        path = safe_path(name, source)
        if not path.name:
            raise UnreadableImageError(f"{manifest}: {source!r} has no file name: remove the row")
        yield source, path


def _check_column(schema: Any, pyarrow: Any, manifest: str) -> None:
    kinds = (pyarrow.types.is_string, pyarrow.types.is_large_string)
    if MANIFEST_COLUMN in schema.names and any(is_kind(schema.field(MANIFEST_COLUMN).type) for is_kind in kinds):
        return
    names = ", ".join(schema.names) or "none"
    raise UnreadableImageError(
        f"{manifest}: has no text column '{MANIFEST_COLUMN}' (columns: {names}): rename or convert one"
    )


def _check_row(name: str | None, seen: set[str], manifest: str) -> str:
    if not name:
        raise UnreadableImageError(f"{manifest}: row {len(seen)} has no '{MANIFEST_COLUMN}': remove it")
    if name in seen:
        raise UnreadableImageError(f"{manifest}: lists {name!r} twice: remove one")
    seen.add(name)
    return name
