"""Stream rows through libvips: from bands to an image that it reads, from its savers to a Python stream."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from pellucid.errors import OutputError
from pellucid.io.ifd import LONG, LONG8, SHORT, Layout, Tag, pack_directory
from pellucid.io.image import Pixels
from pellucid.io.vips import LOADERS, vips

_SPACES = {
    1: {"uint8": "b-w", "uint16": "grey16", "float32": "b-w"},
    3: {"uint8": "srgb", "uint16": "rgb16", "float32": "scrgb"},
}
_LAYOUT = Layout("<", is_big=True)
_BIGTIFF = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16)
_ROWS_A_STRIP = 16
_NO_COMPRESSION, _INTERLEAVED, _GRAY, _RGB, _UNSIGNED, _FLOAT = 1, 1, 1, 2, 1, 3
_ALPHA = 2
# How long to wait for an encoder after an error.
_JOIN_TIMEOUT_S = 1.0


class Feed:
    """Stream bands of rows, each (h, W, C), into a libvips image while libvips reads it.

    libvips takes pixels that do not exist yet only from a file. So it reads a virtual one: the directory of an
    uncompressed BigTIFF, followed by the rows as they are made.

    Attributes
    ----------
    image : pyvips.Image
        Read once, from the top to the bottom, by another thread than the one that calls `pump`.
    """

    def __init__(
        self,
        bands: Generator[Pixels, None, None],
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        *,
        has_alpha: bool,
    ) -> None:
        self._bands = bands
        self._head = _head(shape, dtype, has_alpha=has_alpha)
        self._length = len(self._head) + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self._at, self._next_at = 0, len(self._head)
        self._waiting = memoryview(b"")
        self._is_stopped = False
        self._changed = threading.Condition()
        self._source = vips().SourceCustom()
        self._source.on_read(self._read)
        self._source.on_seek(self._seek)
        image = vips().Operation.call(LOADERS["tiff"], self._source, access="sequential", fail_on="error")
        spaces = _SPACES.get(shape[2] - has_alpha)
        space = "multiband" if spaces is None else spaces[dtype.name]
        self.image = image.copy(interpretation=space, xres=1.0, yres=1.0)

    def pump(self) -> None:
        """Make all rows and hand them over; end early if they are not wanted any more. Raises what `bands` raises."""
        # Closed at once, and not when the last reference goes: it may hold a lock or an open file.
        with contextlib.closing(self._bands) as bands:
            for band in bands:
                if not self._hand_over(np.ascontiguousarray(band, band.dtype.newbyteorder("<"))):
                    return

    def _hand_over(self, band: Pixels) -> bool:
        with self._changed:
            # One band is made while the one before is encoded, and no more are held.
            self._changed.wait_for(lambda: self._is_stopped or not self._waiting)
            if self._is_stopped:
                return False
            self._waiting = band.data.cast("B")
            self._changed.notify_all()
            return True

    def stop(self) -> None:
        """End the image where it is: whoever reads on finds it cut off."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _read(self, n_bytes: int) -> bytes:
        if self._at < len(self._head):
            data = self._head[self._at : self._at + n_bytes]
        elif self._at == self._next_at < self._length:
            data = self._taken(n_bytes)
            self._next_at += len(data)
        else:
            data = b""
        self._at += len(data)
        return data

    def _taken(self, n_bytes: int) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or len(self._waiting) > 0)
            if self._is_stopped:
                return b""
            data = bytes(self._waiting[:n_bytes])
            self._waiting = self._waiting[n_bytes:]
            if not self._waiting:
                self._waiting = memoryview(b"")
                self._changed.notify_all()
            return data

    def _seek(self, offset: int, whence: int) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = start + offset
        return self._at


def _head(shape: tuple[int, int, int], dtype: np.dtype[Any], *, has_alpha: bool) -> bytes:
    """Make what stands before the pixels; its length depends on no value in it."""
    without = pack_directory(_tags(shape, dtype, has_alpha=has_alpha, data_at=0), len(_BIGTIFF), _LAYOUT)
    data_at = len(_BIGTIFF) + len(without)
    return _BIGTIFF + pack_directory(_tags(shape, dtype, has_alpha=has_alpha, data_at=data_at), len(_BIGTIFF), _LAYOUT)


def _tags(shape: tuple[int, int, int], dtype: np.dtype[Any], *, has_alpha: bool, data_at: int) -> list[Tag]:
    height, width, n_bands = shape
    n_rows = np.full(-(-height // _ROWS_A_STRIP), _ROWS_A_STRIP, np.uint64)
    n_rows[-1] = height - _ROWS_A_STRIP * (len(n_rows) - 1)
    sizes = n_rows * np.uint64(width * n_bands * dtype.itemsize)
    places = np.cumsum(sizes, dtype=np.uint64) - sizes + np.uint64(data_at)
    n_colours = 3 if n_bands - has_alpha >= 3 else 1
    extra = [0] * (n_bands - n_colours - has_alpha) + [_ALPHA] * has_alpha
    shorts = {
        258: [8 * dtype.itemsize] * n_bands,
        259: [_NO_COMPRESSION],
        262: [_RGB if n_colours == 3 else _GRAY],
        277: [n_bands],
        284: [_INTERLEAVED],
        339: [_FLOAT if dtype.kind == "f" else _UNSIGNED] * n_bands,
        **({338: extra} if extra else {}),
    }
    longs = {256: width, 257: height, 278: _ROWS_A_STRIP}
    return [
        *(Tag(code, SHORT, struct.pack(f"<{len(values)}H", *values)) for code, values in shorts.items()),
        *(Tag(code, LONG, struct.pack("<I", value)) for code, value in longs.items()),
        Tag(273, LONG8, places.astype("<u8").tobytes()),
        Tag(279, LONG8, sizes.astype("<u8").tobytes()),
    ]


class Spliced:
    """A stream whose first bytes are changed on their way to another stream."""

    def __init__(self, stream: Any, n_bytes: int, change: Callable[[bytes], bytes]) -> None:
        self._stream, self._n_bytes, self._change = stream, n_bytes, change
        self._head: bytes | None = b""

    def write(self, data: Any) -> int:
        """Write; the first bytes are held back until there are enough to change them."""
        if self._head is None:
            return int(self._stream.write(data))
        self._head += bytes(data)
        if len(self._head) >= self._n_bytes:
            end = self._n_bytes
            self._stream.write(self._change(self._head[:end]) + self._head[end:])
            self._head = None
        return len(data)


def save(operation: str, feed: Feed, target: Any, *, image: Any = None, keep: str = "none", **options: Any) -> None:
    """Run a saver of libvips on a feed's image, or one derived from it, while this thread makes the rows.

    Raises
    ------
    OutputError
        The encoder fails.
    BaseException
        Whatever making a row or writing to the stream raised.
    """
    raised: list[BaseException] = []
    failed: list[BaseException] = []
    connection = _connected(target, raised)

    def run() -> None:
        try:
            chosen = feed.image if image is None else image
            vips().Operation.call(operation, chosen, connection, keep=keep, **options)
        except BaseException as error:
            failed.append(error)
        finally:
            feed.stop()

    # Not in this thread: some encoders run for minutes in C, where Ctrl-C is not seen.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        feed.pump()
        thread.join()
    except BaseException as error:
        # Most encoders stop at their next read or write; those that do not are left to end by themselves.
        raised.append(error)
        feed.stop()
        thread.join(timeout=_JOIN_TIMEOUT_S)
        raise
    if raised:
        raise raised[0]
    if failed and isinstance(failed[0], vips().Error):
        raise OutputError("the encoder gave up on this image; write another format") from failed[0]
    if failed:
        raise failed[0]


def _connected(target: Any, raised: list[BaseException]) -> Any:
    """Make a target of libvips of a stream; what the stream raises cannot pass through C and is kept in `raised`."""

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if raised:
                return -1
            try:
                return function(*arguments)
            except BaseException as error:
                raised.append(error)
                return -1

        return call

    connection = vips().TargetCustom()
    connection.on_write(guarded(target.write))
    if not isinstance(target, Spliced):
        connection.on_read(guarded(target.read))
        connection.on_seek(guarded(target.seek))
    return connection
