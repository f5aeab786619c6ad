"""The web UI loads only its own files: vendored modules are unmodified, nothing is inline or remote."""

from __future__ import annotations

import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest

import antiphon

PAGE = Path(antiphon.__file__).parent / "page"
VENDOR = PAGE / "vendor"
OWN = sorted(
    path for path in PAGE.rglob("*") if path.suffix in {".js", ".css", ".html"} and VENDOR not in path.parents
)
SCRIPTS = [path for path in OWN if path.suffix == ".js"]
SERVICES = ["https://openrouter.ai/api/v1", "http://127.0.0.1:11434/v1"]
"""Addresses of providers that the settings offer: the server gets them, and the page loads nothing from them."""
SVG_NAMESPACE = "http://www.w3.org/2000/svg"

RENAMED = {
    'from"./preact.js"': 'from"preact"',
    'from"./preact-hooks.js"': 'from"preact/hooks"',
    'from"./signals-core.js"': 'from"@preact/signals-core"',
}


class Vendored(NamedTuple):
    digest: str
    file: str
    package: str
    version: str
    licence: str
    path: str
    shipped_digest: str


def rows() -> list[Vendored]:
    lines = (VENDOR / "CHECKSUMS").read_text().splitlines()
    return [Vendored(*line.split()) for line in lines if line and not line.startswith("#")]


def name(path: Path) -> str:
    return path.relative_to(PAGE).as_posix()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.file)
def test_a_vendored_module_differs_from_the_shipped_one_only_in_its_imports(row: Vendored) -> None:
    held = (VENDOR / row.file).read_bytes()
    assert sha256(held).hexdigest() == row.digest
    shipped = held.decode()
    if row.digest != row.shipped_digest:
        for ours, theirs in RENAMED.items():
            shipped = shipped.replace(ours, theirs)
    assert sha256(shipped.encode()).hexdigest() == row.shipped_digest


def test_every_vendored_file_is_listed_with_its_licence() -> None:
    assert {row.file for row in rows()} | {"CHECKSUMS"} == {path.name for path in VENDOR.iterdir() if path.is_file()}
    assert {row.licence for row in rows()} <= {"MIT", "Apache-2.0", "BSD-3-Clause"}
    for row in rows():
        stem = {"@highlightjs/cdn-assets": "highlightjs"}.get(row.package, row.package.rpartition("/")[2])
        assert (VENDOR / "licences" / f"{stem}.txt").stat().st_size > 500, row.package


class Loads(HTMLParser):
    """The files that an HTML page loads, and the parts of it that a strict CSP refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.refused: list[str] = []
        self._is_in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_in_script = tag == "script"
        self.loaded += [value or "" for key, value in attrs if key in {"src", "href"}]
        self.refused += [key for key, _ in attrs if key == "style" or key.startswith("on")]
        self.refused += [tag] if tag in {"style", "base"} else []

    def handle_data(self, data: str) -> None:
        if self._is_in_script and data.strip():
            self.refused.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._is_in_script = False


def test_the_html_has_nothing_inline_and_loads_only_its_own_files() -> None:
    page = Loads()
    page.feed((PAGE / "index.html").read_text())
    assert page.refused == []
    assert page.loaded
    for address in page.loaded:
        is_own = address.startswith(("assets/", "manifest."))
        assert is_own, "it is found from where the page is, which may be under a path"
        assert (PAGE / address.removeprefix("assets/")).is_file(), address


@pytest.mark.parametrize("path", OWN, ids=name)
def test_no_own_file_has_an_absolute_path(path: Path) -> None:
    """The server may be mounted under a path."""
    assert re.findall(r"[\"'`(]/(?:assets|api)\b", path.read_text()) == []


@pytest.mark.parametrize("path", OWN, ids=name)
def test_no_own_file_names_another_origin(path: Path) -> None:
    found = re.findall(r"https?://[^\s'\"`]+|[\"'`(]//\w", path.read_text())
    assert found == (SERVICES if name(path) == "services.js" else [])


def test_the_icon_loads_nothing() -> None:
    assert re.findall(r"https?://[^\"]+|<script|\bhref", (PAGE / "icon.svg").read_text()) == [SVG_NAMESPACE]


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_every_import_is_a_relative_path_to_a_file(path: Path) -> None:
    for target in re.findall(r"(?:from|import\(|^import)\s*'([^']+)'", path.read_text(), re.MULTILINE):
        assert target.startswith("."), target
        assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_no_script_builds_code_or_inline_styles(path: Path) -> None:
    """Both would be refused by the page's Content-Security-Policy, or weaken it."""
    assert re.findall(r"\beval\(|new Function|document\.write|\sstyle=|\son[a-z]+=[\"']", path.read_text()) == []


def test_html_is_set_only_where_markdown_was_sanitised() -> None:
    users = {
        name(path) for path in SCRIPTS if re.search("innerHTML|insertAdjacentHTML", path.read_text(), re.IGNORECASE)
    }
    assert users == {"components/code.js", "components/markdown.js"}
