"""The web UI: static files with a strict Content-Security-Policy.

The page names its files below `/assets/<version>/`, where the version is a digest of all of them: a browser keeps
those for good, and a new version has new addresses. The page itself is asked for at each visit. Modules import each
other by relative addresses, so they need no change; the page preloads all that are needed at the start, so a browser
does not find them one after another.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import posixpath
import re
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
    "vary": "accept-encoding",
}
CHECKED = "no-cache"
KEPT = "public, max-age=31536000, immutable"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
ASSETS = "/assets/"
MAIN = "main.js"
SMALL_BYTES = 1024
"""Size up to which a file is not compressed, in bytes."""
_GZIP = re.compile(r"(?:^|[, ])gzip(?! *; *q=0(?:\.0*)? *(?:,|$))", re.IGNORECASE)
"""An Accept-Encoding that has it, unless with the weight 0 (RFC 9110, section 12.5.3)."""
_IMPORT = re.compile(rb"""^\s*(?:import|export)\b[^'"();]*?(?:\bfrom\s*)?['"](\.{1,2}/[^'"]+)['"]""", re.MULTILINE)
"""A static import of a module. `import(…)` is one that is loaded when it is needed."""


class _File:
    """A file, and its compressed form, which is made at its first request."""

    def __init__(self, name: str, data: bytes) -> None:
        self.data = data
        self.kind = _type_of(name)
        self.tag = hashlib.sha256(data).hexdigest()[:32]
        self._gzipped: bytes | None = None

    def encoded(self, accepted: str) -> tuple[bytes, str]:
        """The body and its coding; empty: none."""
        if len(self.data) <= SMALL_BYTES or not _GZIP.search(accepted):
            return self.data, ""
        if self._gzipped is None:
            self._gzipped = gzip.compress(self.data, 9, mtime=0)
        return self._gzipped, "gzip"


class Pages:
    """Serves `/` and `/assets/…`. The files are read once, at the start; no path of a request reaches the disk."""

    def __init__(self) -> None:
        found: dict[str, bytes] = {}
        _collect(files("antiphon") / "page", "", found)
        digest = hashlib.sha256()
        for name in sorted(found):
            digest.update(name.encode() + b"\0" + hashlib.sha256(found[name]).digest())
        self.version = digest.hexdigest()[:16]
        self._files = {name: _File(name, data) for name, data in found.items()}
        if "index.html" in found:
            index = _versioned(found["index.html"], self.version, modules_of(found))
            self._files["index.html"] = _File("index.html", index)

    def get(self, method: str, path: str, headers: Headers) -> Response:
        file, caching = self._find(path)
        if file is None:
            raise NotFound("address")
        if method not in ("GET", "HEAD"):
            raise HTTPException(405, f"{method} is not possible here; possible: GET, HEAD.", {"allow": "GET, HEAD"})
        body, coding = file.encoded(headers.get("accept-encoding", ""))
        tag = f'"{file.tag}{"-" if coding else ""}{coding}"'
        sent = {**HEADERS, "etag": tag, "content-type": file.kind, "cache-control": caching}
        if tag in headers.get("if-none-match", ""):
            return Response(status_code=304, headers=sent)
        return Response(body, headers=sent | ({"content-encoding": coding} if coding else {}))

    def _find(self, path: str) -> tuple[_File | None, str]:
        """A file, and how long it may be kept. A file of another version is this version's, and is not kept: a page
        that was opened before an update loads a module late."""
        if path == "/":
            return self._files.get("index.html"), CHECKED
        if not path.startswith(ASSETS):
            return None, ""
        name = path.removeprefix(ASSETS)
        version, _, rest = name.partition("/")
        if version == self.version:
            return self._files.get(rest), KEPT
        return self._files.get(rest if re.fullmatch("[0-9a-f]{16}", version) else name), CHECKED


def modules_of(found: dict[str, bytes]) -> list[str]:
    """The modules that the page needs at its start, each before those that import it are parsed."""
    names: dict[str, None] = {}
    waiting = [MAIN]
    while waiting:
        name = waiting.pop(0)
        if name in names or name not in found:
            continue
        names[name] = None
        folder = posixpath.dirname(name)
        waiting += [posixpath.normpath(posixpath.join(folder, at.decode())) for at in _IMPORT.findall(found[name])]
    return list(names)


def _versioned(index: bytes, version: str, modules: list[str]) -> bytes:
    """The page with addresses of this version, and with the modules that it preloads."""
    place = f"assets/{version}/"
    links = "".join(f'    <link rel="modulepreload" href="{place}{name}">\n' for name in modules if name != MAIN)
    text = re.sub(r' *<link rel="modulepreload"[^>]*>\n', "", index.decode()).replace('"assets/', f'"{place}')
    return re.sub(r"( *<script type=\"module\")", lambda found: links + found[1], text, count=1).encode()


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
