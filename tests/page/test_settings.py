"""The settings of the web UI, by a person who has only the page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from playwright.async_api import Locator, Page, expect

from antiphon.models.secret_box import make_key
from antiphon.testing.model_server import FakeModelServer
from support.ports import free_port
from system.server_process import ServerProcess

from .visit import NO_SESSION, Tab, Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server that may call this machine, and can store keys."""
    folder = tmp_path_factory.mktemp("page")
    server = ServerProcess(folder / "data", options=("--allow-outbound", "127.0.0.1"), ANTIPHON_SECRET_KEY=make_key())
    await server.start()
    yield server
    await server.kill()


async def open_section(tab: Tab, name: str) -> Locator:
    section = tab.page.get_by_test_id(f"settings-{name.lower()}")
    if not await tab.page.get_by_test_id("sections").is_visible():
        await tab.page.get_by_test_id("to-settings").click()
    await tab.page.get_by_role("link", name=name, exact=True).click()
    await section.get_by_role("heading", level=2, name=name).wait_for()
    return section


async def connect(page: Page, address: str, key: str) -> None:
    form = page.get_by_test_id("connect")
    await form.get_by_label("Service").select_option("other")
    await form.get_by_label("Name").fill("acme")
    await form.get_by_label("Address").fill(address)
    await form.get_by_label("Key").fill(key)
    await form.get_by_role("button", name="Continue").click()


async def test_a_real_model_is_connected_from_the_page_of_a_new_chat(tab: Tab, server: ServerProcess) -> None:
    async with FakeModelServer() as models:
        page = tab.page
        await page.get_by_test_id("setup").get_by_text("The demo model answers").wait_for()
        await tab.button("Connect a model").click()
        await expect(page.get_by_label("Service")).to_be_focused()
        await connect(page, f"http://127.0.0.1:{free_port()}/v1", "right")
        await page.get_by_test_id("connect").get_by_role("alert").wait_for()
        await page.get_by_label("Address").fill(models.base_url)  # what was typed is still there
        await tab.button("Continue").click()
        await page.get_by_role("heading", name="Choose the model").wait_for()
        await page.get_by_label("Model", exact=True).fill("large")
        await tab.button("Use this model").click()
        await expect(page.get_by_test_id("toast")).to_contain_text("New chats are answered by large.")
        await expect(page.get_by_test_id("setup")).to_have_count(0)
        await expect(tab.composer).to_be_focused()
        await tab.send("hello")
        await tab.message("assistant").wait_for()
        await tab.wait_idle()
        assert models.requests[-1].body["model"] == "large"
        assert models.requests[-1].headers["authorization"] == "Bearer right"

        section = await open_section(tab, "Models")
        await expect(section.get_by_test_id("default-model").locator("option:checked")).to_have_text(
            "large (acme:large)"
        )
        provider = section.get_by_test_id("providers").locator("li")
        await expect(provider).to_contain_text("key is set")
        await provider.get_by_role("button", name="Check").click()
        await expect(provider.get_by_role("status")).to_contain_text("It answers")
        await section.get_by_test_id("default-model").select_option("")
        await section.get_by_text("The demo model").wait_for(state="attached")
        _, shown = await server.ask("GET", "/models")
        assert shown["default"] == "rehearsal"


async def test_a_member_gets_a_link_signs_in_and_loses_the_access(
    tab: Tab, visits: Visits, server: ServerProcess
) -> None:
    section = await open_section(tab, "Members")
    await section.get_by_label("Name").fill("Ada")
    await tab.button("Make a sign-in link").click()
    link = await section.get_by_label("Sign-in link").locator("visible=true").last.input_value()
    other = await visits(tab.visit.url, "")
    other.expected.append(NO_SESSION)
    page = await other.context.new_page()
    await page.goto(link)
    member = Tab(other, page)
    await member.composer.wait_for()
    assert "token" not in page.url

    # what needs an admin is not offered, and says so where an address leads there
    await open_section(member, "Models")
    await page.get_by_text("An admin of this server connects models.").wait_for()
    await expect(member.button("Connect a provider")).to_have_count(0)
    await expect(page.get_by_role("link", name="Members")).to_have_count(0)
    await page.goto(f"{other.url}/#/settings/members")
    await page.get_by_text("Only an admin can see this section.").wait_for()

    await tab.button("Done").click()
    await expect(section.get_by_label("Sign-in link")).to_have_count(0)
    await tab.button("Withdraw the access of Ada").click()
    await tab.button("Withdraw", of=tab.page.get_by_role("dialog")).click()
    await expect(section.get_by_test_id("members").get_by_text("Ada")).to_have_count(0)
    await page.get_by_label("Token").wait_for()


async def test_prompt_appearance_usage_and_health(tab: Tab, server: ServerProcess) -> None:
    page = tab.page
    section = await open_section(tab, "Prompt")
    await section.get_by_label("Your prompt").fill("Be brief.")
    await tab.button("Save").click()
    await section.get_by_text("Saved.").wait_for()
    assert (await server.ask("GET", "/me/prompt"))[1]["prompt"] == "Be brief."
    await page.reload()
    await expect(page.get_by_label("Your prompt")).to_have_value("Be brief.")

    section = await open_section(tab, "Appearance")
    await section.get_by_label("Dark").check()
    await section.get_by_label("Largest").check()
    await page.reload()
    await section.get_by_role("heading", level=2).wait_for()
    style = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.documentElement).fontSize]"
    assert await page.evaluate(style) == ["rgb(23, 25, 23)", "21px"]
    await section.get_by_label("As the system").check()
    assert (await page.evaluate(style))[0] == "rgb(251, 250, 247)"

    await server.ask("POST", "/chats", {"content": "/say five words are in here", "model": "rehearsal"})
    section = await open_section(tab, "Usage")
    await expect(section.get_by_test_id("usage-by-model")).to_contain_text("demo model")
    await expect(section.get_by_test_id("usage-chart")).to_have_accessible_name(re.compile("^Tokens by day from"))
    section = await open_section(tab, "Tools")
    await section.get_by_text("No MCP server is set up.").wait_for()
    section = await open_section(tab, "About")
    await expect(section.get_by_test_id("health")).to_have_text("The server is ready and everything works.")
