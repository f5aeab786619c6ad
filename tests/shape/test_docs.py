"""The documents are true: their code runs, their made parts are fresh, their links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.bench.server import BenchServer
from antiphon.core.facts import KINDS
from antiphon.edge.http import OPERATIONS

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN_HERE = [page for page in PAGES if page.parent.name != "how-to"]
"""What the how-to pages show is run by tests of their own, in tests/how_to."""
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = ("./dev test", "serve --model openai", "antiphon chat   ")
"""Blocks of shell that need a key, a person, or are this very test."""


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    return [(m[2].strip(), m[3]) for m in BLOCK.finditer(page.read_text()) if m[1] == language]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchServer]:
    with BenchServer(data=tmp_path_factory.mktemp("docs") / "data") as running:
        yield running


def environment(server: BenchServer) -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "ANTIPHON_URL": f"http://127.0.0.1:{server.port}",
        "ANTIPHON_TOKEN": server.token,
    }


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.name)
def test_every_python_block_runs(page: Path, server: BenchServer, tmp_path: Path) -> None:
    for _, code in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env=environment(server),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stderr}"


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.name)
def test_every_shell_block_runs(page: Path, server: BenchServer, tmp_path: Path) -> None:
    for kind, code in blocks(page, "sh"):
        if kind == "run-server" or any(words in code for words in NOT_RUN):
            continue
        url = ["--url", environment(server)["ANTIPHON_URL"]]
        code = re.sub(
            r"^antiphon (\w+)(?: (create|list))?", rf"antiphon \1 \2 {' '.join(url)}", code, flags=re.MULTILINE
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=tmp_path,
            env=environment(server),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"


def test_what_is_made_from_the_code_is_fresh() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from reference import made
    finally:
        sys.path.pop(0)
    for page in (ROOT / "docs").glob("*.md"):
        assert made(page.read_text()) == page.read_text(), f"{page.name} is stale: run ./dev docs"


def test_the_reference_names_every_route_and_fact() -> None:
    text = (ROOT / "docs" / "http.md").read_text()
    missing = [op.full_path for op in OPERATIONS if f"`{op.method} {op.full_path}`" not in text]
    missing += [kind for kind in KINDS if f"`{kind}`" not in text]
    assert not missing


def test_every_how_to_page_has_its_tests() -> None:
    for page in (ROOT / "docs" / "how-to").glob("*.md"):
        assert (ROOT / "tests" / "how_to" / f"test_{page.stem.replace('-', '_')}.py").exists(), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text()):
        if target.startswith("http"):
            continue
        found = page.parent / target if target else page
        assert found.exists(), f"{page.name} links to {target}"
        assert not heading or heading in headings(found), f"{page.name} links to {target}#{heading}"


def headings(page: Path) -> list[str]:
    """The names under which a page's headings are linked to."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found]
