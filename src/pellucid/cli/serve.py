"""The command ``pellucid serve``."""

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.errors import ParameterError, require_extra

if TYPE_CHECKING:
    from pellucid.server.settings import ServiceSettings

#: A token shorter than this could be guessed.
MIN_TOKEN_LENGTH = 16
TOKEN_VARIABLE = "PELLUCID_TOKEN"  # noqa: S105 (the name of a variable)
_EXTRA = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve_command(
    *,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", metavar="N", min=0, max=65535, help="0 takes any free port.")
    ] = 8080,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Worker processes. Default: one for two processors."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            envvar="PELLUCID_NUM_THREADS",
            help="Processor threads that the workers share. Default: all.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help=f"File with the bearer token; or set {TOKEN_VARIABLE}."),
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Listen on other addresses without a token.")] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Host name to accept, for use behind a proxy."),
    ] = None,
    max_bytes: Annotated[int, typer.Option("--max-bytes", metavar="N", min=1, help="Largest upload.")] = 200_000_000,
    max_pixels: Annotated[
        int,
        typer.Option("--max-pixels", metavar="N", min=1, envvar="PELLUCID_MAX_PIXELS", help="Largest image."),
    ] = 100_000_000,
    time_limit: Annotated[
        float,
        typer.Option("--time-limit", metavar="S", min=1, help="Seconds for an upload, and for the work on it."),
    ] = 120.0,
    memory_limit: Annotated[
        int, typer.Option("--memory-limit", metavar="MB", min=500, help="Memory limit of a worker.")
    ] = 3000,
    queue: Annotated[int, typer.Option("--queue", metavar="N", min=1, help="Largest number of waiting requests.")] = 32,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a web page that denoises photographs, and an HTTP API.

    Prints its address and runs until interrupted. It listens on this machine only, unless --host says otherwise;
    then a token is required. The API is described at /openapi.json.

    Examples:

      pellucid serve --open

      curl -T night.jpg -X POST http://127.0.0.1:8080/v1/denoise -o clean.jpg

      pellucid serve --host 0.0.0.0 --token-file token.txt --workers 8
    """
    require_extra("the service", "serve", *_EXTRA)
    from pellucid.inference.engine import default_threads  # noqa: PLC0415
    from pellucid.server.settings import ServiceSettings  # noqa: PLC0415

    is_local = _is_loopback(host)
    token = _read_token(token_file)
    if not (is_local or token or no_token):
        raise ParameterError(
            f"--host {host}: other machines could reach it: give --token-file or {TOKEN_VARIABLE}, or --no-token"
        )
    n_threads = threads or default_threads()
    n_workers = workers or max(1, n_threads // 2)
    settings = ServiceSettings(
        n_workers=n_workers,
        n_threads=max(1, n_threads // n_workers),
        n_waiting=queue,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        time_limit_s=time_limit,
        memory_limit_mb=memory_limit,
        token=token,
        hosts=_allowed_hosts(host, allow_host or []) if is_local else None,
    )
    _serve(settings, host, port, open_page=open_page)


def _serve(settings: "ServiceSettings", host: str, port: int, *, open_page: bool) -> None:
    from pellucid.server.settings import bind  # noqa: PLC0415

    shown = f"[{host}]" if ":" in host else host
    try:
        with bind(host, port) as listener:
            address = f"http://{shown}:{listener.getsockname()[1]}/"
            typer.echo(address)
            if open_page:
                typer.launch(address)
            from pellucid.server.app import run  # noqa: PLC0415 (takes a second, and the address is known before)

            run(settings, listener)
    except KeyboardInterrupt:
        typer.echo("pellucid: stopped", err=True)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _allowed_hosts(host: str, names: list[str]) -> frozenset[str]:
    from pellucid.server.settings import LOOPBACK_NAMES  # noqa: PLC0415

    return LOOPBACK_NAMES | {host.lower(), *(name.lower() for name in names)}


def _read_token(path: Path | None) -> str | None:
    try:
        token = os.environ.get(TOKEN_VARIABLE, "") if path is None else path.read_text()
    except (OSError, UnicodeDecodeError):
        raise ParameterError(f"{path}: cannot be read as text: name a file that holds the token") from None
    token = token.strip()
    if not token and path is None:
        return None
    if len(token) < MIN_TOKEN_LENGTH:
        raise ParameterError(
            f"{path or TOKEN_VARIABLE}: too short a token: give at least {MIN_TOKEN_LENGTH} characters"
        )
    return token
