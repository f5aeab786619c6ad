"""Files in messages and tool results: images in place, everything else to download, and nothing of a file runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .conftest import Visits
from .file_app import SVG, png
from .visit import Tab, Visit

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    app = f"{Path(__file__).parent / 'file_app.py'}:agent"
    server = ServerProcess(tmp_path_factory.mktemp("files") / "data", app=app)
    await server.start()
    yield server
    await server.kill()


async def uploaded(tab: Tab, data: bytes, media_type: str, name: str) -> dict[str, Any]:
    """The part for a file that the page's session has uploaded."""
    response = await tab.page.request.post(
        f"{tab.visit.url}/api/v1/files",
        data=data,
        headers={"content-type": media_type, "x-filename": name, "origin": tab.visit.url},
    )
    assert response.status == 201, await response.text()
    return {"type": "file-reference", "file_id": (await response.json())["file_id"]}


async def shown_chat(tab: Tab, server: ServerProcess, content: list[Any] | str) -> str:
    status, made = await server.ask("POST", "/chats", {"content": content})
    assert status == 201, made
    await tab.page.goto(f"{tab.visit.url}/#/chat/{made['id']}")
    await tab.message("assistant").first.wait_for()
    await tab.wait_idle()
    return str(made["id"])


async def test_images_and_downloads_are_shown_in_messages_and_results(tab: Tab, server: ServerProcess) -> None:
    image = await uploaded(tab, png(300, 200), "image/png", "cat.png")
    text = await uploaded(tab, b"hello", "text/plain", "notes.txt")
    words = {"type": "text", "text": "/call chart {}"}
    await shown_chat(tab, server, [words, image, text])
    question, result = tab.message("user"), tab.page.locator(".call-frame")

    picture = question.get_by_role("img", name="cat.png")
    await expect(picture).to_have_js_property("naturalWidth", 300)
    await expect(picture).to_have_attribute("width", "300")
    await expect(picture).to_have_attribute("height", "200")
    await expect(picture).to_have_attribute("loading", "lazy")
    row = question.get_by_test_id("download")
    await expect(row).to_contain_text("notes.txt")
    await expect(row).to_contain_text("text/plain · 5 B")

    chart = result.get_by_role("img", name="sales by month.png")
    await expect(chart).to_have_js_property("naturalWidth", 1600)
    await expect(chart).to_have_attribute("width", "512")
    await expect(chart).to_have_attribute("height", "256")
    report = result.get_by_test_id("download")
    await expect(report).to_contain_text("report <b>2026.pdf")
    await expect(report).to_contain_text("application/pdf · 1.5 MB")
    async with tab.page.expect_download() as downloading:
        await report.click()
    download = await downloading.value
    assert Path(await download.path()).stat().st_size == 1_500_008

    tab.visit.expected.append("Applying inline style")  # Chromium's own page around an image
    async with tab.page.context.expect_page() as opening:
        await result.get_by_test_id("picture").click()
    opened = await opening.value
    await opened.wait_for_load_state()
    assert "/api/v1/files/" in opened.url
    await opened.close()


async def test_an_image_takes_its_place_before_it_is_loaded(visit: Visit, server: ServerProcess) -> None:
    tab = await visit.open()
    image = await uploaded(tab, png(400, 300), "image/png", "slow.png")
    await tab.page.route("**/api/v1/files/*", lambda route: None)  # it never arrives
    await shown_chat(tab, server, [{"type": "text", "text": "see"}, image])
    box = await tab.message("user").get_by_test_id("picture").bounding_box()
    assert box is not None
    assert (round(box["width"]), round(box["height"])) == (400, 300)
    await tab.page.unroute_all(behavior="ignoreErrors")


async def test_a_file_that_is_gone_is_a_row(tab: Tab, server: ServerProcess) -> None:
    tab.visit.expected.append("404")
    image = await uploaded(tab, png(40, 30), "image/png", "gone.png")
    await tab.page.route("**/api/v1/files/*", lambda route: route.fulfill(status=404))
    await shown_chat(tab, server, [{"type": "text", "text": "see"}, image])
    await expect(tab.message("user").get_by_test_id("download")).to_contain_text("gone.png")
    await tab.page.unroute_all(behavior="ignoreErrors")


async def test_an_svg_with_a_script_is_downloaded_and_never_runs(tab: Tab, server: ServerProcess) -> None:
    """Neither in the chat, nor when its address is opened. (A dialog, or a request to
    another origin, fails the visit.)"""
    await shown_chat(tab, server, "/call drawing {}")
    row = tab.page.locator(".call-frame").get_by_test_id("download")
    await expect(row).to_contain_text("drawing.svg")
    await expect(tab.page.locator(".call-frame").get_by_role("img")).to_have_count(0)
    async with tab.page.expect_download() as downloading:
        await row.click()
    assert Path(await (await downloading.value).path()).read_bytes() == SVG
    address = f"{tab.visit.url}{await row.get_attribute('href')}"
    second = await tab.page.context.new_page()
    async with second.expect_download():
        with pytest.raises(Exception, match=r"Download is starting|ERR_ABORTED"):
            await second.goto(address)
    await second.close()
    response = await tab.page.request.get(address)
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert await tab.page.title() != "pwned"


async def test_files_fit_a_phone(visits: Visits, server: ServerProcess) -> None:
    visit = await visits(
        f"http://127.0.0.1:{server.port}", server.token, viewport={"width": 360, "height": 740}, has_touch=True
    )
    tab = await visit.open()
    await shown_chat(tab, server, "/call chart {}")
    for row in (
        tab.page.locator(".call-frame").get_by_test_id("picture"),
        tab.page.locator(".call-frame").get_by_test_id("download"),
    ):
        box = await row.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360
