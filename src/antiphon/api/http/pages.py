"""The web UI: static files with ETags and a strict Content-Security-Policy."""

from __future__ import annotations

import hashlib
import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response

from antiphon.errors import NotFound

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
ASSETS = "/assets/"


class Pages:
    """Serves `/` and `/assets/…`. The files are read once, at the start; no path of a request reaches the disk."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        self._collect(files("antiphon") / "page", ASSETS)
        index = self._files.get(ASSETS + "index.html")
        if index is not None:
            self._files["/"] = index

    def _collect(self, folder: Traversable, prefix: str) -> None:
        for item in folder.iterdir():
            if item.is_dir():
                self._collect(item, f"{prefix}{item.name}/")
            elif item.is_file():
                data = item.read_bytes()
                self._files[prefix + item.name] = (data, _type_of(item.name), hashlib.sha256(data).hexdigest()[:32])

    def get(self, method: str, path: str, headers: Headers) -> Response:
        found = self._files.get(path)
        if found is None:
            raise NotFound("address")
        if method not in ("GET", "HEAD"):
            raise HTTPException(405, f"{method} is not possible here; possible: GET, HEAD.", {"allow": "GET, HEAD"})
        data, kind, tag = found
        sent = {**HEADERS, "etag": f'"{tag}"', "content-type": kind}
        if tag in headers.get("if-none-match", ""):
            return Response(status_code=304, headers=sent)
        return Response(data, headers=sent)


def _type_of(name: str) -> str:
    suffix = "." + name.rsplit(".", 1)[-1]
    kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "text/plain"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
