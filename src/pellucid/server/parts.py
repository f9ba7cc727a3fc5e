"""Write multipart/mixed answers (RFC 2046, 5.1.3)."""

import json
import secrets
from typing import Any

from pellucid.server.errors import ProblemError
from pellucid.server.frames import Frame

MEDIA_TYPE = "multipart/mixed"


class Parts:
    """Writes parts; each tells its length, so that a reader need not search for the boundary.

    Attributes
    ----------
    media_type : str
        With the boundary.
    """

    def __init__(self) -> None:
        # Random, so that no image can hold it.
        self._boundary = secrets.token_hex(16)
        self.media_type = f"{MEDIA_TYPE}; boundary={self._boundary}"

    def frame(self, frame: Frame) -> bytes:
        """Write one frame of a worker's answer, as it is to reach the client."""
        kind = frame.fields["kind"]
        if kind == "progress":
            return self._json({"done": frame.fields["done"], "total": frame.fields["total"]})
        if kind == "result":
            return self._json(frame.fields["result"])
        disposition = f'Content-Disposition: inline; name="{frame.fields["name"]}"\r\n'
        return self._part(frame.fields["type"], disposition, frame.content)

    def problem(self, problem: ProblemError) -> bytes:
        """Write what went wrong after the answer had begun."""
        return self._json({"problem": problem.as_dict()})

    def end(self) -> bytes:
        """Write the end."""
        return f"--{self._boundary}--\r\n".encode()

    def _json(self, value: dict[str, Any]) -> bytes:
        return self._part("application/json", "", json.dumps(value).encode())

    def _part(self, media_type: str, disposition: str, content: bytes) -> bytes:
        head = (
            f"--{self._boundary}\r\nContent-Type: {media_type}\r\n{disposition}Content-Length: {len(content)}\r\n\r\n"
        )
        return b"".join((head.encode(), content, b"\r\n"))
