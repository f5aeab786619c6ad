"""Servers that come, end and move while the window is open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antiphon.client import AsyncClient
from antiphon.local.lock import read_instance_file
from client.servers import ServerProcess

from .windows import open_window

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.chdir(tmp_path)


def start(data: Path) -> ServerProcess:
    return ServerProcess(data, "--drain-s", "0")


async def test_a_server_killed_in_the_middle_of_an_answer_loses_nothing_when_it_comes_back_at_another_address(
    tmp_path: Path,
) -> None:
    data = tmp_path / "place" / ".antiphon"
    data.parent.mkdir()
    first = start(data)
    async with open_window(tmp_path, data) as window:
        await window.send("/rate 30\n/tokens 90")
        await window.shows("w20 ")
        first.kill()
        await window.shows("the server has not responded for", "place · does not respond")
        await window.send("typed while it was away")
        await window.shows("not sent yet: typed while it was away")
        await window.type("half a line")
        second = start(data)
        assert second.url != first.url
        await window.until(lambda: len(window.talk.chat.transcript.view.messages) == 4)
        await window.answered()
        shown = await window.shows("That makes 2 messages")
        assert shown.count("▌ typed while it was away") == 2, "the message, and the demo model's quotation"
        assert [int(number) for number in re.findall(r"\bw(\d+)\b", shown)] == list(range(1, 91))
        assert window.app.pane.composer.text == "half a line"
        await window.shows("connected", "place\n")
        async with AsyncClient(second.url, second.token) as client:
            messages = (await client.messages(window.chat_id))["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    second.stop()


async def test_announced_servers_are_listed_and_leave_the_list_when_they_end(tmp_path: Path) -> None:
    folders = [tmp_path / name / ".antiphon" for name in ("one", "two")]
    for folder in folders:
        folder.parent.mkdir()
    one, two = map(start, folders)
    async with open_window(tmp_path) as window:
        await window.shows("▾ one", "▸ two · 0 chats")
        async with AsyncClient(two.url, two.token) as client:
            await client.create_chat("/say Hello", title="Another")
        await window.shows("two · 1 chat")
        two.stop()
        await window.shows_no("two")
        assert read_instance_file(folders[0]) is not None
    one.stop()
