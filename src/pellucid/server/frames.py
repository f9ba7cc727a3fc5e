"""Messages between the service and its workers: JSON and bytes on a pipe."""

import asyncio
import json
import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO

_HEAD = struct.Struct(">IQ")


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes
    ----------
    fields : dict
        JSON values.
    content : bytes
        An image file, or nothing.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    content: bytes = b""

    def head(self) -> bytes:
        """Serialize everything but the content, which is large and written separately."""
        described = json.dumps(self.fields).encode()
        return _HEAD.pack(len(described), len(self.content)) + described


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Write a frame and flush.

    Raises
    ------
    BrokenPipeError
        The other side has closed the pipe.
    """
    stream.write(frame.head())
    stream.write(frame.content)
    stream.flush()


def read_frame(stream: BinaryIO) -> Frame | None:
    """Read a frame; None where the stream ends, even in the middle of one."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    n_described, n_content = _HEAD.unpack(head)
    described, content = stream.read(n_described), stream.read(n_content)
    if len(described) + len(content) < n_described + n_content:
        return None
    return Frame(json.loads(described), content)


async def send_frame(stream: asyncio.StreamWriter, frame: Frame) -> None:
    """Write a frame without blocking the event loop.

    Raises
    ------
    ConnectionError
        The other side has closed the pipe.
    """
    stream.write(frame.head())
    stream.write(frame.content)
    await stream.drain()


async def receive_frame(stream: asyncio.StreamReader) -> Frame:
    """Read a frame without blocking the event loop.

    Raises
    ------
    asyncio.IncompleteReadError
        The stream has ended.
    """
    n_described, n_content = _HEAD.unpack(await stream.readexactly(_HEAD.size))
    described = await stream.readexactly(n_described)
    return Frame(json.loads(described), await stream.readexactly(n_content))
