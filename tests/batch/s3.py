"""An S3 server on this machine that fails now and then, as real ones do, and counts what it is asked."""

import json
import random
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pellucid.batch.storage import ObjectStore

BUCKET = "pictures"
_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>injected</Message></Error>"
_FAILURES = [("500 Internal Server Error", "InternalError"), ("503 Slow Down", "SlowDown"), ("503 Busy", "Busy")]


class Faulty:
    """Pass requests on to a server, but for a share of them, which fail before or after they have had their effect.

    Which ones is settled by what is asked and how often it has been: not by the order in which threads ask.
    """

    def __init__(self, server: Callable[..., Iterable[bytes]]) -> None:
        self._server, self._lock = server, threading.Lock()
        self.share = 0.0
        self.n_failed = 0
        self.counts: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            kind = "LIST" if method == "GET" and path.strip("/") == BUCKET else method
            self.counts[kind] += 1
            request = f"{method} {path}?{environ.get('QUERY_STRING', '')}"
            self._asked[request] += 1
            chance = random.Random(f"{request} {self._asked[request]}")  # noqa: S311
            fails = chance.random() < self.share
            self.n_failed += fails
            line, code = chance.choice(_FAILURES)
            is_late = chance.random() < 0.5
        if not fails:
            return self._server(environ, start)
        if is_late:
            list(self._server(environ, lambda *_: None))
        else:
            # What is not read would be taken for the next request.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = b"" if method == "HEAD" else _ERROR.format(code).encode()
        start(line, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


def access(address: str) -> dict[str, str]:
    """Give the environment that leads clients to the server."""
    return {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        # Ours are tested, not the library's.
        "AWS_MAX_ATTEMPTS": "1",
    }


@contextmanager
def serving() -> Iterator[tuple[Faulty, str]]:
    """Serve an empty bucket; give the server and its address."""
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *_: object) -> None: ...

    faulty = Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faulty, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        client = boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id="key",
            aws_secret_access_key="secret",  # noqa: S106
            region_name="us-east-1",
        )
        # Servers of one process share their buckets.
        urllib.request.urlopen(f"{address}/moto-api/reset", data=b"").close()  # noqa: S310
        client.create_bucket(Bucket=BUCKET)
        client.close()
        faulty.counts.clear()
        yield faulty, address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def upload(folder: Path, url: str) -> None:
    store = ObjectStore(url)
    for path in folder.rglob("*.*"):
        assert store.create(path.relative_to(folder).as_posix(), path.read_bytes())


def contents(url: str) -> dict[str, bytes]:
    store = ObjectStore(url)
    return {path: store.read(path) for path, _ in store.list() if not path.startswith("report/")}


def rows(url: str) -> list[dict[str, object]]:
    store = ObjectStore(url)
    return [json.loads(line) for path, _ in store.list("report") for line in store.read(path).splitlines()]
