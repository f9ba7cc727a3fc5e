"""Counters of the service, for Prometheus."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
#: Paths that are counted by name; clients could make up any number of others.
PATHS = frozenset(
    {"/", "/v1/denoise", "/v1/estimate", "/v1/models", "/healthz", "/readyz", "/metrics", "/openapi.json"}
)
_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


class Metrics:
    """Requests by path and status (499: the client had gone), their seconds, replaced workers, denoised pixels."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("pellucid_requests", "Requests answered.", ("path", "status"), registry=self._registry)
        self.seconds = Histogram(
            "pellucid_request_seconds", "Time to answer.", ("path",), buckets=_BUCKETS_S, registry=self._registry
        )
        self.restarts = Counter("pellucid_workers_restarted", "Workers replaced.", ("reason",), registry=self._registry)
        self.pixels = Counter("pellucid_pixels", "Pixels denoised.", registry=self._registry)

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is computed when it is read."""
        Gauge(name, description, registry=self._registry).set_function(value)

    def render(self) -> bytes:
        """Render everything in Prometheus' text format."""
        return generate_latest(self._registry)


class Measured:
    """Counts the requests that pass to an app, and their seconds."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _counted_path(scope["path"])
        start = time.perf_counter()
        status = 499

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - start)


def _counted_path(path: str) -> str:
    if path.startswith("/static/"):
        return "/static"
    return path if path in PATHS else "other"
