"""Take an upload in: as it comes, no more than allowed, never on disk.

A request enters, the bytes of one image file leave, or a ProblemError. It knows nothing of image formats, and uses no
file name that a client sends.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from pellucid.server.errors import ProblemError
from pellucid.server.settings import ServiceSettings

FORM, BYTES = "multipart/form-data", "application/octet-stream"
#: Uploads of the largest size that may be in hand at once, whether they come in, wait or are worked on.
N_LARGEST = 4


class Intake:
    """The memory that all uploads share.

    Parameters
    ----------
    settings : ServiceSettings
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._n_bytes = 0

    @contextmanager
    def shelf(self) -> Iterator["Shelf"]:
        """Make room for one upload; the room is given back when the request is answered."""
        shelf = Shelf(self)
        try:
            yield shelf
        finally:
            self._n_bytes -= shelf.n_bytes

    def check(self, n_bytes: int) -> None:
        """Refuse an upload larger than allowed.

        Raises
        ------
        ProblemError
        """
        limit = self._settings.max_bytes
        if n_bytes > limit:
            raise ProblemError(413, f"upload: more than {limit} bytes; send a smaller file")

    def take(self, n_bytes: int) -> None:
        """Take room for bytes that have come in.

        Raises
        ------
        ProblemError
            Other uploads fill it.
        """
        if self._n_bytes + n_bytes > N_LARGEST * self._settings.max_bytes:
            raise ProblemError(429, "upload: too many others at once; send it again in 5 s", {"Retry-After": "5"})
        self._n_bytes += n_bytes


class Shelf:
    """Where one upload lies while its request is answered; made by `Intake.shelf`.

    Attributes
    ----------
    n_bytes : int
        Taken from the intake so far.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.n_bytes = 0

    async def read(self, request: Request, time_limit_s: float) -> bytes:
        """Read the image out of a request's body.

        Parameters
        ----------
        request : Request
            The body is the file, or a form with one file in it.
        time_limit_s : float

        Returns
        -------
        bytes

        Raises
        ------
        ProblemError
            Too large (413), too slow (408), of a type that is no image (415), a form without just one file (422), no
            room (429).
        ClientDisconnect
            The client went away.
        """
        sink = _sink(request.headers.get("content-type", ""))
        declared = request.headers.get("content-length", "")
        self._intake.check(int(declared) if declared.isdecimal() else 0)
        try:
            async with asyncio.timeout(time_limit_s):
                async for chunk in request.stream():
                    self._intake.check(self.n_bytes + len(chunk))
                    self._intake.take(len(chunk))
                    self.n_bytes += len(chunk)
                    sink.write(chunk)
        except TimeoutError:
            raise ProblemError(408, f"upload: not complete within {time_limit_s:g} s; send it faster") from None
        return sink.finish()


class _Body:
    """Collects a body that is the file itself."""

    def __init__(self) -> None:
        self._content = bytearray()

    def write(self, chunk: bytes) -> None:
        self._content += chunk

    def finish(self) -> bytes:
        return bytes(self._content)


class _Form:
    """Collects the one file of a form; whatever else is in it is passed over."""

    def __init__(self, boundary: bytes) -> None:
        self._files: list[bytearray] = []
        self._field, self._value, self._is_file, self._is_complete = b"", b"", False, False
        callbacks: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin_part,
            "on_header_begin": self._begin_header,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_data,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }
        with _form_errors():
            self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]

    def write(self, chunk: bytes) -> None:
        with _form_errors():
            self._parser.write(chunk)

    def finish(self) -> bytes:
        if not self._is_complete:
            raise ProblemError(422, "form: it ends too early; send it again")
        if len(self._files) != 1:
            raise ProblemError(422, f"form: {len(self._files)} files in it; send one at a time")
        return bytes(self._files[0])

    def _begin_part(self) -> None:
        self._is_file = False

    def _begin_header(self) -> None:
        self._field, self._value = b"", b""

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            # That there is a file name makes it a file; the name itself is of no use to anyone.
            self._is_file = b"filename" in parse_options_header(self._value)[1]

    def _begin_data(self) -> None:
        if self._is_file:
            self._files.append(bytearray())

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._files[-1] += data[start:end]

    def _end(self) -> None:
        self._is_complete = True


@contextmanager
def _form_errors() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise ProblemError(422, f"form: cannot be read ({error}); send one file in it") from None


def _sink(content_type: str) -> _Body | _Form:
    """Choose how the body is read. What is in it decides the image's format, never this header."""
    kind, options = parse_options_header(content_type)
    name = kind.decode("latin-1")
    if name == FORM:
        if not options.get(b"boundary"):
            raise ProblemError(422, "form: its Content-Type has no boundary; send it as browsers do")
        return _Form(options[b"boundary"])
    if name in {"", BYTES} or name.startswith("image/"):
        return _Body()
    raise ProblemError(415, f"Content-Type {name[:80]!r}: is no image; send image/jpeg, {BYTES} or {FORM}")
