"""Makes the picture of `antiphon tui` from a real run: a server, a chat, and the window as Textual exports it.

Run it: ./dev exec python scripts/tui_picture.py
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prompt_toolkit.history import InMemoryHistory

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.instance import InstanceAccess
from antiphon.cli.tui.app import AntiphonTui
from antiphon.cli.tui.themes import ThemeFile
from antiphon.client import AsyncClient

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.server import BenchServer

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "tui.svg"
AGENT = '''
from antiphon import Reasoning, ToolCall, tool

ANSWER = """The worker takes 40 messages at a time and waits for **all** of them:

```python
async for batch in queue.batches(size=40):
    await gather(*map(handle, batch))   # the slowest one decides
```

1. Begin the next message when any of them ends.
2. Give each handler a limit of its own.
"""

@tool
def read_metrics(queue: str, minutes: int) -> dict:
    """Read the metrics of a queue."""
    return {"depth": 1240, "p99_ms": 8100}

@tool(needs_approval=True)
def restart_worker(name: str, drain: bool) -> str:
    """Restart a worker."""
    return "restarted"

async def agent(turn):
    yield Reasoning("Depth and latency first.")
    await turn.call(ToolCall("read_metrics", {"queue": "mail", "minutes": 30}))
    yield ANSWER
    await turn.call(ToolCall("restart_worker", {"name": "mail-2", "drain": True}))
'''
TITLES = ("Release notes for 2.4", "Plan for the offsite", "Rename the billing fields", "A regex for log lines")
SIZE = (112, 34)
WAIT_S = 30.0


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["XDG_RUNTIME_DIR"] = folder  # no other server of this machine is in the picture
        (place / "app.py").write_text(AGENT)
        with BenchServer(options=(f"{place / 'app.py'}:agent",)) as server:
            await _show(f"http://127.0.0.1:{server.port}", server.token, place)


async def _show(url: str, token: str, place: Path) -> None:
    async with AsyncClient(url, token) as client:
        for title in TITLES:
            await client.create_chat(title=title)
        pinned = (await client.chats(title=TITLES[1]))["chats"][0]["id"]
        await client.update_chat(pinned, pin_order=1)
    app = AntiphonTui(
        history=InMemoryHistory(), theme_file=ThemeFile(place / "theme"), options=ChatOptions(title="A slow queue")
    )
    app.servers.add_access("work", "work", InstanceAccess(url=url, token=token))
    async with app.run_test(size=SIZE) as pilot:
        await _until(lambda: app.talk, pilot.pause)
        app.pane.composer.insert("Why is the mail queue slow?")
        await pilot.press("enter")
        await _until(lambda: app.talk is not None and app.talk.open_calls.asked, pilot.pause)
        app.pane.composer.insert("And what would a second worker cost?")
        await pilot.pause(1.5)
        picture = app.export_screenshot(title="antiphon tui")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(re.sub(r"\n\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL))


async def _until(condition: Callable[[], Any], pause: Callable[[float], Any]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the picture's chat has not come so far"
        await pause(0.05)


asyncio.run(main())
