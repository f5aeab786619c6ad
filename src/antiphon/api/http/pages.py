"""The web UI: static files with a strict Content-Security-Policy.

The page names its files below `/assets/<version>/`, where the version is a digest of all of them: a browser keeps
those for good, and a new version has new addresses. The page itself is asked for at each visit. Its modules and its
style sheets are sent as few bundles (`page_bundle`), which are made, like everything here, at the first request.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
import re
import threading
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response

from antiphon.api.http.page_bundle import FOLDER, bundle_name, bundles_of
from antiphon.errors import NotFound

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "vary": "accept-encoding",
}
FRAME_HEADERS = {
    "diagram.html": {
        "content-security-policy": (
            "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        ),
    },
    "diagram_frame.js": {"cross-origin-resource-policy": "cross-origin"},
    "vendor/mermaid.js": {"cross-origin-resource-policy": "cross-origin"},
}
"""Diagrams are drawn in a frame without an origin: it has no access to the page, and its scripts count as those of
another origin. The library writes styles into its pictures."""
CHECKED = "no-cache"
KEPT = "public, max-age=31536000, immutable"
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".webmanifest": "application/manifest+json",
}
ASSETS = "/assets/"
MAIN = "main.js"
STYLES = f"{FOLDER}/main.css"
AT_ROOT = ("manifest.webmanifest", "service_worker.js")
"""The files that are at the address of the page, besides the page: a service worker serves what is below its own."""
SMALL_BYTES = 1024
"""Size up to which a file is not compressed, in bytes."""
_CODINGS = {
    name: re.compile(rf"(?:^|[, ]){name}(?! *; *q=0(?:\.0*)? *(?:,|$))(?=[,; ]|$)", re.IGNORECASE)
    for name in ("br", "gzip")
}
"""An Accept-Encoding that has it, unless with the weight 0 (RFC 9110, section 12.5.3)."""
_STYLE_LINK = re.compile(r' *<link rel="stylesheet" href="assets/([^"]+)">\n')
_PRELOAD_LINK = re.compile(r'<link rel="modulepreload" href="assets/([^"]+)">')
_ENTRY = re.compile(r'<script type="module" src="assets/([^"]+)"></script>')


class _File:
    """A file, and its compressed forms, which are made at its first request."""

    def __init__(self, name: str, data: bytes) -> None:
        self.data = data
        self.kind = _type_of(name)
        self.headers = FRAME_HEADERS.get(name, {})
        self.tag = hashlib.sha256(data).hexdigest()[:32]
        self._made: dict[str, bytes] = {}
        self._is_being_made = False

    def encoded(self, accepted: str) -> tuple[bytes, str]:
        """The body and its coding; empty: none. Brotli takes a while, so the first answers are in gzip."""
        if len(self.data) <= SMALL_BYTES:
            return self.data, ""
        if _CODINGS["br"].search(accepted):
            if (made := self._made.get("br")) is not None:
                return made, "br"
            self._make_brotli()
        if not _CODINGS["gzip"].search(accepted):
            return self.data, ""
        if "gzip" not in self._made:
            self._made["gzip"] = gzip.compress(self.data, 9, mtime=0)
        return self._made["gzip"], "gzip"

    def _make_brotli(self) -> None:
        if not self._is_being_made:
            self._is_being_made = True
            threading.Thread(target=self._compress, name="brotli", daemon=True).start()

    def _compress(self) -> None:
        import brotli  # needed by the first browser only

        self._made["br"] = brotli.compress(self.data)


class _Site:
    """All files of the web UI by their names, and their version."""

    def __init__(self, found: dict[str, bytes]) -> None:
        digest = hashlib.sha256()
        for name in sorted(found):
            digest.update(name.encode() + b"\0" + hashlib.sha256(found[name]).digest())
        self.version = digest.hexdigest()[:16]
        self.files = {name: _File(name, data) for name, data in found.items()}
        if "index.html" in found:
            self._bundle(found)

    def _bundle(self, found: dict[str, bytes]) -> None:
        """Add the bundles, and the page and the service worker that name them."""
        place = f"assets/{self.version}/"
        index = found["index.html"].decode()
        bundles = bundles_of(found, MAIN)
        bundles[STYLES] = b"".join(found[name] for name in _STYLE_LINK.findall(index))
        index = _STYLE_LINK.sub("", index)
        index = index.replace("<script", f'<link rel="stylesheet" href="assets/{STYLES}">\n    <script', 1)
        for link in (_PRELOAD_LINK, _ENTRY):
            index = link.sub(lambda found: found[0].replace(found[1], bundle_name(found[1])), index)
        index = index.replace('"assets/', f'"{place}')
        worker = found.get(AT_ROOT[1], b"").decode()
        kept = ["./", *sorted(set(re.findall(rf'"({place}[^"]+)"', index)))]
        worker = worker.replace("'__VERSION__'", json.dumps(self.version)).replace("['__FILES__']", json.dumps(kept))
        made = bundles | {"index.html": index.encode(), AT_ROOT[1]: worker.encode()}
        self.files |= {name: _File(name, data) for name, data in made.items()}


class Pages:
    """Serves `/` and `/assets/…`. The files are read once, at the first request; no path of a request reaches the
    disk."""

    @cached_property
    def _site(self) -> _Site:
        found: dict[str, bytes] = {}
        _collect(files("antiphon") / "page", "", found)
        return _Site(found)

    @property
    def version(self) -> str:
        return self._site.version

    def get(self, method: str, path: str, headers: Headers) -> Response:
        file, caching = self._find(path)
        if file is None:
            raise NotFound("address")
        if method not in ("GET", "HEAD"):
            raise HTTPException(405, f"{method} is not possible here; possible: GET, HEAD.", {"allow": "GET, HEAD"})
        body, coding = file.encoded(headers.get("accept-encoding", ""))
        tag = f'"{file.tag}{"-" if coding else ""}{coding}"'
        sent = {**HEADERS, **file.headers, "etag": tag, "content-type": file.kind, "cache-control": caching}
        if file.tag in headers.get("if-none-match", ""):
            return Response(status_code=304, headers=sent)
        return Response(body, headers=sent | ({"content-encoding": coding} if coding else {}))

    def _find(self, path: str) -> tuple[_File | None, str]:
        """A file, and how long it may be kept. A file of another version is this version's, and is not kept: a page
        that was opened before an update loads a module late."""
        if path == "/":
            return self._site.files.get("index.html"), CHECKED
        if path[1:] in AT_ROOT:
            return self._site.files.get(path[1:]), CHECKED
        if not path.startswith(ASSETS):
            return None, ""
        name = path.removeprefix(ASSETS)
        version, _, rest = name.partition("/")
        if version == self.version:
            return self._site.files.get(rest), KEPT
        return self._site.files.get(rest if re.fullmatch("[0-9a-f]{16}", version) else name), CHECKED


def _collect(folder: Traversable, prefix: str, found: dict[str, bytes]) -> None:
    for item in folder.iterdir():
        if item.is_dir():
            _collect(item, f"{prefix}{item.name}/", found)
        elif item.is_file():
            found[prefix + item.name] = item.read_bytes()


def _type_of(name: str) -> str:
    suffix = "." + name.rsplit(".", 1)[-1]
    kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "text/plain"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
