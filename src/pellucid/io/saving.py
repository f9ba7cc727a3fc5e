"""Run a saver of libvips on rows that come one after another, into a Python stream.

Enters: a Feed, the name of a saver, a stream. Leaves: nothing but what is in the stream.
Does not know: formats, or what the rows show.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pellucid.errors import OutputError
from pellucid.io.vips import vips
from pellucid.io.vips_stream import Feed

# How long an encoder is waited for once nobody wants its file any more.
_PATIENCE_S = 1.0


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
    """Encode a feed's image, in a thread of its own, while this one makes the rows.

    Parameters
    ----------
    operation : str
        libvips' name of the saver.
    feed : Feed
    target : stream or Spliced
    image : pyvips.Image, optional
        Made of the feed's image, to be saved in its place.
    keep : str
        What of the image's metadata is written.
    options
        Of the saver.

    Raises
    ------
    OutputError
        If the encoder gives up.
    BaseException
        What making a row or writing to the stream raised.
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
        thread.join(timeout=_PATIENCE_S)
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
