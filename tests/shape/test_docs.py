"""The documents are correct: their code runs, their generated parts are up to date, their links have targets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from antiphon.api.http.operations import OPERATIONS
from antiphon.core.facts import KINDS
from cli.terminals import Terminal
from programs import needs_program
from support.waiting import DEADLINE_S, wait_until_sync

from .clean_shell import CleanShell

ROOT = Path(__file__).parent.parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
RUN_HERE = [page for page in PAGES if page.parent.name != "how-to"]
"""Pages whose blocks run here. The blocks of the how-to pages run in tests/how_to."""
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = ("run-server", "by-hand")
"""Kinds of shell blocks that are not run: the server of the other blocks; what needs a network, a key or a person."""


PUBLIC_NAMES = [
    "antiphon.open_instance",
    "antiphon.Agent",
    "antiphon.Turn",
    "antiphon.client.AsyncClient",
    "antiphon.client.Client",
    "antiphon.client.zmq.RemoteInstance",
    "antiphon.ports.Store",
    "antiphon.ports.Bus",
]


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    return [(m[2].strip(), m[3]) for m in BLOCK.finditer(page.read_text()) if m[1] == language]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> CleanShell:
    return CleanShell(tmp_path_factory.mktemp("newcomer"))


@pytest.fixture(scope="module")
def port(shell: CleanShell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the server that the tutorial's first command starts."""
    (command,) = (code for kind, code in blocks(ROOT / "docs" / "tutorial.md", "sh") if kind == "run-server")
    log = tmp_path_factory.mktemp("server") / "log"
    process = shell.start(command, log)
    try:
        found = wait_until_sync(
            lambda: process.poll() or shell.instance_of("my-chats", process), what="the server is ready"
        )
        assert not isinstance(found, int), log.read_text()
        yield urlsplit(found.http_url).port or 0
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def exports() -> str:
    """The tutorial's lines that set a program's address and token."""
    code = next(code for _, code in blocks(ROOT / "docs" / "tutorial.md", "sh") if "export ANTIPHON_URL" in code)
    return "".join(line for line in code.splitlines(keepends=True) if line.startswith("export "))


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.name)
def test_every_python_block_runs(page: Path, shell: CleanShell, port: int, tmp_path: Path) -> None:
    for number, (_, code) in enumerate(blocks(page, "python")):
        file = tmp_path / f"block{number}.py"
        file.write_text(code)
        done = shell.run(f"{exports()}cd {tmp_path}\npython -W error {file}", port=port)
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stderr}"


def shell_code(page: Path) -> str:
    return "".join(code for kind, code in blocks(page, "sh") if kind not in NOT_RUN)


def with_programs(page: Path) -> Any:
    return pytest.param(page, id=page.name, marks=[needs_program("curl")] if "curl " in shell_code(page) else [])


@pytest.mark.parametrize("page", [with_programs(page) for page in RUN_HERE])
def test_every_shell_command_works_as_typed_in_one_clean_shell(page: Path, shell: CleanShell, port: int) -> None:
    code = shell_code(page)
    if code and page.name != "tutorial.md":
        code = exports() + code
    done = shell.run(code, port=port)
    assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"


AGENTS = [("app.py:echo", "hey you", "HEY YOU"), ("app.py:agent", '/call add {"a": 1, "b": 2}', "3"),
          ("sums.py:agent", "go", "3.0 and 7.0"),
          ("notes.py:agent", "milk", "Question 1: 'milk' is in notes of"),
          ("team.py:agent", "go", "All about bees. All about honey.")]  # fmt: skip


@pytest.mark.parametrize(("agent", "question", "answer"), AGENTS, ids=[agent for agent, _, _ in AGENTS])
def test_each_agent_of_the_tutorial_is_served_as_typed(
    shell: CleanShell, tmp_path: Path, agent: str, question: str, answer: str
) -> None:
    tutorial = ROOT / "docs" / "tutorial.md"
    assert f"`./dev run {agent}`" in tutorial.read_text() or agent == "app.py:agent"
    name = agent.partition(":")[0]
    code = next(code for _, code in blocks(tutorial, "python") if code.startswith(f"# {name}\n"))
    (shell.clone / name).write_text(code)
    data = f"data of {agent}"
    process = shell.start(f"./dev run {agent} --data '{data}'", log := tmp_path / "log")
    try:
        wait_until_sync(lambda: process.poll() or shell.instance_of(data, process), what="the server is ready")
        done = shell.run(f"antiphon chat {shlex.quote(question)} --json --data '{data}'", port=0)
        assert done.returncode == 0, done.stderr + log.read_text()
        assert answer in done.stdout
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def test_the_installed_command_and_the_clone_have_the_same_version(shell: CleanShell, port: int) -> None:
    done = shell.run("antiphon --version; ./dev exec antiphon --version", port=port)
    assert done.returncode == 0, done.stderr
    installed, cloned = done.stdout.split()
    assert installed == cloned


def test_serve_prints_the_exports_that_programs_need(shell: CleanShell, port: int) -> None:
    """The printed lines, run in a new shell, reach the server."""
    with Terminal(
        shell.clone, "serve", "--port", "0", "--data", "printed chats", columns=200, **shell.env
    ) as terminal:
        terminal.wait_for("Ctrl-C stops it.")
        lines = [line.strip() for line in terminal.text.splitlines() if line.strip().startswith("export ")]
        script = "\n".join([*lines, 'antiphon ls --url "$ANTIPHON_URL"'])
        done = shell.run(script, port=port)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of scripts/ can be imported."""
    monkeypatch.syspath_prepend(ROOT / "scripts")


@pytest.mark.usefixtures("scripts")
def test_parts_generated_from_the_code_are_up_to_date() -> None:
    from reference import made

    for page in (ROOT / "docs").glob("*.md"):
        assert made(page.read_text()) == page.read_text(), f"{page.name} is stale: run ./dev docs"


@pytest.mark.usefixtures("scripts")
def test_the_picture_of_every_diagram_is_up_to_date() -> None:
    from diagrams import stale_pictures

    assert stale_pictures() == [], "run ./dev docs --diagrams"


@pytest.mark.slow
def test_the_documentation_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    api = (tmp_path / "site" / "python.html").read_text()
    missing = [name for name in PUBLIC_NAMES if f'id="{name}"' not in api]
    assert not missing, "the API reference lacks them"
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link)\b[^>]*(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert not loaded, f"{page.name} loads from the network"
        assert "```" not in page.read_text(), f"{page.name} has a block that was not rendered"


def test_the_reference_names_every_route_and_fact() -> None:
    text = (ROOT / "docs" / "http.md").read_text()
    missing = [op.full_path for op in OPERATIONS if f"`{op.method} {op.full_path}`" not in text]
    missing += [kind for kind in KINDS if f"`{kind}`" not in text]
    assert not missing


def test_every_how_to_page_has_its_tests() -> None:
    for page in (ROOT / "docs" / "how-to").glob("*.md"):
        assert (ROOT / "tests" / "how_to" / f"test_{page.stem.replace('-', '_')}.py").exists(), page.name


def test_every_link_has_a_target() -> None:
    broken = [link for page in PAGES for link in broken_links(page)]
    assert broken == []


def broken_links(page: Path) -> Iterator[str]:
    """Each link of a page to a file or heading that does not exist, as file:line and target."""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", line):
            if target.startswith("http"):
                continue
            found = page.parent / target if target else page
            if not found.exists():
                yield f"{page.relative_to(ROOT)}:{number} links to {target}"
            elif heading and heading not in headings(found):
                yield f"{page.relative_to(ROOT)}:{number} links to {target}#{heading}"


def headings(page: Path) -> list[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found]
