"""Receive uploads into memory, within limits; the file names of clients are not used."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from pellucid.server.errors import ProblemError
from pellucid.server.settings import ServiceSettings

FORM, BYTES = "multipart/form-data", "application/octet-stream"
#: Memory for uploads (incoming, waiting or being denoised), in uploads of the largest size.
N_LARGEST = 4


class UploadBudget:
    """The memory that all uploads share."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._n_bytes = 0

    @contextmanager
    def upload(self) -> Iterator["Upload"]:
        """Reserve memory for one upload until its request is answered."""
        upload = Upload(self)
        try:
            yield upload
        finally:
            self._n_bytes -= upload.n_bytes

    def check(self, n_bytes: int) -> None:
        """Refuse an upload larger than allowed."""
        limit = self._settings.max_bytes
        if n_bytes > limit:
            raise ProblemError(413, f"upload: more than {limit} bytes; send a smaller file")

    def take(self, n_bytes: int) -> None:
        """Reserve memory for received bytes; refuse them if other uploads fill the budget."""
        if self._n_bytes + n_bytes > N_LARGEST * self._settings.max_bytes:
            raise ProblemError(429, "upload: too many others at once; send it again in 5 s", {"Retry-After": "5"})
        self._n_bytes += n_bytes


class Upload:
    """One upload and the memory reserved for it; made by `UploadBudget.upload`."""

    def __init__(self, budget: UploadBudget) -> None:
        self._budget = budget
        self.n_bytes = 0

    async def read(self, request: Request, time_limit_s: float) -> bytes:
        """Read the image from a request's body, which is the file or a form with one file.

        Raises
        ------
        ProblemError
            Too large (413), too slow (408), no image type (415), not exactly one file in a form (422), too many uploads
            at once (429).
        ClientDisconnect
            The client went away.
        """
        sink = _sink(request.headers.get("content-type", ""))
        declared = request.headers.get("content-length", "")
        self._budget.check(int(declared) if declared.isdecimal() else 0)
        try:
            async with asyncio.timeout(time_limit_s):
                async for chunk in request.stream():
                    self._budget.check(self.n_bytes + len(chunk))
                    self._budget.take(len(chunk))
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
    """Collects the only file of a form; other fields are ignored."""

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
            raise ProblemError(422, "form: truncated; send it again")
        if len(self._files) != 1:
            raise ProblemError(422, f"form: {len(self._files)} files; send one at a time")
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
            # A file name marks a file; the name itself is not used.
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
    """Choose how the body is read; the image's format is detected from its content, not from this header."""
    kind, options = parse_options_header(content_type)
    name = kind.decode("latin-1")
    if name == FORM:
        if not options.get(b"boundary"):
            raise ProblemError(422, "form: its Content-Type has no boundary; send it as browsers do")
        return _Form(options[b"boundary"])
    if name in {"", BYTES} or name.startswith("image/"):
        return _Body()
    raise ProblemError(415, f"Content-Type {name[:80]!r}: is not an image type; send image/jpeg, {BYTES} or {FORM}")
