"""Diagrams, formulas and footnotes in answers: drawn, and without any effect beyond their place."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .conftest import Visits
from .visit import Tab

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Its agent repeats the message."""
    app = f"{Path(__file__).parent / 'echo_app.py'}:agent"
    server = ServerProcess(tmp_path_factory.mktemp("echo") / "data", app=app)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def echo(visits: Visits, server: ServerProcess) -> Tab:
    return await (await visits(f"http://127.0.0.1:{server.port}", server.token)).open()


DIAGRAMS = """```mermaid
flowchart LR
  A[Start] --> B[End]
```

```mermaid
flowchart ->
```
"""


async def test_a_diagram_is_drawn_and_its_source_can_be_shown(echo: Tab) -> None:
    await echo.start_chat(DIAGRAMS)
    await echo.wait_idle()
    good, bad = echo.page.get_by_test_id("diagram").first, echo.page.get_by_test_id("diagram").last
    await expect(good).to_have_attribute("data-state", "drawn", timeout=20_000)
    width = await good.locator("img").evaluate("async image => { await image.decode(); return image.naturalWidth; }")
    assert width > 50
    await echo.button("Show the source", of=good).click()
    await expect(good.locator("pre")).to_contain_text("A[Start] --> B[End]")
    await expect(bad).to_have_attribute("data-state", "failed", timeout=20_000)
    await expect(bad).to_contain_text("This diagram could not be drawn.")
    await expect(bad.locator("pre")).to_contain_text("flowchart ->")


async def test_a_diagram_is_drawn_without_access_to_the_page(echo: Tab) -> None:
    await echo.start_chat(DIAGRAMS)
    await expect(echo.page.get_by_test_id("diagram").first).to_have_attribute("data-state", "drawn", timeout=20_000)
    (frame,) = [frame for frame in echo.page.frames if frame.parent_frame]
    assert await frame.evaluate("origin") == "null"
    tried = "() => { try { return parent.document.title } catch (error) { return error.name } }"
    assert await frame.evaluate(tried) == "SecurityError"
    assert await frame.evaluate("fetch('/api/v1/session').catch(error => error.name)") == "TypeError"
    echo.visit.expected.append("Content Security Policy|connect-src")


HOSTILE = r"""
$\href{javascript:alert(1)}{x}$ $\unicode{<img src=x onerror=alert(1)>}$
$\includegraphics{https://example.org/x.png}$
$\style{background:url(https://example.org)}{x}$ $\label{app} x$
$\def\a{\a\a}\a$ $\class{hidden}{x}$ $<script>alert(1)</script>$

$$\begin{matrix} a & b \\ c & d \end{matrix}$$ and \(x^2\) and \[y_1\] and $5 and $6.

```mermaid
graph TD; A["<img src=x onerror=alert(1)>"] --> B; click A "javascript:alert(1)"
```

Note[^<b>] and[^1] and[^gone].

[^1]: <img src=x onerror=alert(1)> [a](javascript:alert(1))
[^<b>]: bold

👩‍👩‍👧‍👦 שלום
"""


async def test_formulas_diagrams_and_footnotes_run_nothing(echo: Tab) -> None:
    """A dialog, a request to another origin or a complaint of the browser fails the visit."""
    echo.visit.expected.append(
        "Executing inline event handler violates .*/vendor/mermaid.js"
    )  # in the frame: refused
    await echo.start_chat(HOSTILE)
    await echo.wait_idle()
    answer = echo.message("assistant")
    state = re.compile("drawn|failed")
    await expect(answer.get_by_test_id("diagram")).to_have_attribute("data-state", state, timeout=20_000)
    await expect(answer.locator("math").first).to_be_attached()
    unsafe = "[onerror], script, iframe, object, [id], [style*=url], a[href^=javascript]"
    await expect(answer.locator(unsafe)).to_have_count(0)
    await expect(answer.locator("img:not([src^='data:image/svg+xml'])")).to_have_count(0)
    await expect(answer).to_contain_text("$5 and $6")
