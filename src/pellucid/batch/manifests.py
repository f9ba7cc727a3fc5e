"""Lists of files to denoise: a column of a Parquet file.

A manifest's path or URL enters, the names in it leave. It knows nothing of images.
"""

from collections.abc import Iterator
from typing import Any

from pellucid.batch.storage import fetched
from pellucid.errors import MissingExtraError, UnreadableImageError

MANIFEST_SUFFIX = ".parquet"
COLUMN = "path"


def read_manifest(manifest: str) -> Iterator[str]:
    """Read the paths and URLs that a manifest names.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    UnreadableImageError
        The file is missing or not Parquet, has no column of texts ``path``, or names nothing, or a file twice.
    """
    try:
        import pyarrow  # noqa: PLC0415 (an extra)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError(
            f"{manifest}: needs pyarrow, which is not installed: pip install 'pellucid[ray]'"
        ) from None
    seen: set[str] = set()
    with fetched(manifest) as path:
        try:
            with parquet.ParquetFile(path) as file:
                _check_column(file.schema_arrow, pyarrow, manifest)
                for batch in file.iter_batches(columns=[COLUMN]):
                    for name in batch.column(0).to_pylist():
                        yield _checked(name, seen, manifest)
        except (OSError, pyarrow.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise UnreadableImageError(
                f"{manifest}: cannot be read as Parquet ({reason}); write it anew, with a column '{COLUMN}'"
            ) from error
    if not seen:
        raise UnreadableImageError(f"{manifest}: names no file; give it a row for each")


def _check_column(schema: Any, pyarrow: Any, manifest: str) -> None:
    kinds = (pyarrow.types.is_string, pyarrow.types.is_large_string)
    if COLUMN not in schema.names or not any(is_kind(schema.field(COLUMN).type) for is_kind in kinds):
        raise UnreadableImageError(
            f"{manifest}: has no column of texts '{COLUMN}', but {', '.join(schema.names) or 'none'}; name one so"
        )


def _checked(name: str | None, seen: set[str], manifest: str) -> str:
    if not name:
        raise UnreadableImageError(f"{manifest}: row {len(seen)} has no '{COLUMN}'; leave it out")
    if name in seen:
        raise UnreadableImageError(f"{manifest}: names {name!r} twice; leave one out")
    seen.add(name)
    return name
