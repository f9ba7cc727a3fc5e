"""Denoise a file with a running ``pellucid serve``, using the standard library only.

pellucid serve &
python examples/http_client.py night.jpg clean.jpg --url http://127.0.0.1:8080
"""

import argparse
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from pathlib import Path


def post(url: str, body: bytes, token: str | None) -> tuple[bytes, Message]:
    """Send a body, and return the answer's body and headers."""
    if not url.startswith(("http://", "https://")):
        raise SystemExit(f"{url}: give an address that begins with http:// or https://")
    headers = {"Content-Type": "application/octet-stream"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 (checked above)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        # Errors are application/problem+json (RFC 9457).
        problem = json.loads(error.read() or b"{}")
        raise SystemExit(f"{error.code}: {problem.get('detail', error.reason)}") from None


def main() -> None:
    """Estimate the noise of an image, denoise it, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--sigma", type=float, help="noise level on the 0..255 scale; default: estimated")
    parser.add_argument("--strength", type=float, default=100.0, help="in percent")
    options = parser.parse_args()
    token = os.environ.get("PELLUCID_TOKEN")
    image = options.source.read_bytes()

    estimate, _ = post(f"{options.url}/v1/estimate", image, token)
    print("estimate:", json.loads(estimate))

    query = {"strength": options.strength} | ({} if options.sigma is None else {"sigma": options.sigma})
    denoised, headers = post(f"{options.url}/v1/denoise?{urllib.parse.urlencode(query)}", image, token)
    options.target.write_bytes(denoised)
    print(f"{options.target}: model {headers.get('X-Pellucid-Model')}, {headers.get('X-Pellucid-Seconds')} s")


if __name__ == "__main__":
    main()
