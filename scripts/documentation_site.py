"""MkDocs hooks that make one site of the project's documents.

- README, CHANGELOG, CONTRIBUTING and SECURITY lie at the root of the project and become pages of the site.
- A link from a page to another file of the project, such as an example or a test, leads to a copy of that file.
- A `mermaid` block becomes its picture from docs/diagrams, which scripts/diagrams.py renders. So a browser loads
  nothing from other servers.

Every link stays as it is in the Markdown files, so that they read well outside the site too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diagrams import BLOCK, picture_of
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")
KIND = re.compile(r"^(```\w+) [^\n]+$", re.MULTILINE)
"""The kind of a block after its language, for the tests that run it; MkDocs accepts a language only."""
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """List every decision in the navigation."""
    pages = sorted(f"decisions/{page.name}" for page in (ROOT / "docs" / "decisions").glob("*.md"))
    config.nav[-1]["Decisions"] = pages
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root and every project file that a page links to."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    for documentation_page in list(files.documentation_pages()):
        for target in _project_files(documentation_page):
            if files.get_file_from_path(f"source/{target}") is None:
                files.append(File.generated(config, f"source/{target}", abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to where their files are on the site, and put pictures in place of diagrams."""
    pictures = iter(range(1, 1 + len(BLOCK.findall(markdown))))
    home = posixpath.dirname(page.file.src_uri)

    def picture(_: re.Match[str]) -> str:
        file = picture_of(_source_of(page.file), next(pictures))
        return f"![Diagram]({posixpath.relpath(f'diagrams/{file.name}', home or '.')})"

    def link(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        if ":" in target:
            return match[0]
        place = _place(page.file, target)
        if place is None:
            return match[0]
        if place.endswith("/"):
            return label[1:-1]  # a folder has no page: its name alone
        return f"{label}({posixpath.relpath(place, home or '.')}{anchor})"

    markdown = KIND.sub(r"\1", BLOCK.sub(picture, markdown))
    return _outside_of_fences(markdown, lambda text: LINK.sub(link, text))


def _outside_of_fences(text: str, change: Any) -> str:
    pieces, reached = [], 0
    for fence in FENCE.finditer(text):
        pieces += [change(text[reached : fence.start()]), fence[0]]
        reached = fence.end()
    return "".join([*pieces, change(text[reached:])])


def _source_of(file: File) -> Path:
    """The Markdown file of a page, in the project."""
    for name, page in ROOT_PAGES.items():
        if page == file.src_uri:
            return ROOT / name
    return ROOT / "docs" / file.src_uri


def _place(file: File, target: str) -> str | None:
    """Where the site has what a page links to; ends in a slash for a folder, None where the link is left alone."""
    path = (_source_of(file).parent / target).resolve()
    if not path.exists() or not path.is_relative_to(ROOT):
        return None  # MkDocs reports it
    name = path.relative_to(ROOT).as_posix()
    if name in ROOT_PAGES:
        return ROOT_PAGES[name]
    if path.is_dir():
        return f"{name}/"
    return name.removeprefix("docs/") if name.startswith("docs/") else f"source/{name}"


def _project_files(file: File) -> Iterator[str]:
    for match in LINK.finditer(FENCE.sub("", file.content_string)):
        place = None if ":" in match[2] else _place(file, match[2])
        if place is not None and place.startswith("source/"):
            yield place.removeprefix("source/")
