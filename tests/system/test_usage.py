"""A server that dies in the middle of a turn neither loses nor doubles what the turn has used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.waiting import wait_until

from .server_process import APP, ServerProcess

pytestmark = pytest.mark.anyio

CONFIG = """
[prices]
currency = "EUR"

[prices.rehearsal]
input = 1
output = 3
"""
SCRIPT = '/call note {"text": "x"}\n/say done'
POINTS = (
    "tool-before-commit:1",  # the model was called, nothing is stored: the call is repeated
    "tool-result-after-append:1",  # the first call is stored, the turn goes on
    "after-append:5",  # the end of the turn is stored, with what it has used
)
MORE_POINTS = (
    *("after-append:2", "after-append:3", "after-append:4", "before-append:5", "commit-after-append:1"),
    *("commit-before-append:1", "tool-after-run:1", "before-append:4", "model-after-stream:1"),
)


async def turn_of(server: ServerProcess, *, dies: bool = False) -> Any:
    """The usage of a new chat, once its turn has ended; with `dies` the server is started again meanwhile."""
    _, chat = await server.ask("POST", "/chats", {})
    try:
        await server.ask("POST", f"/chats/{chat['id']}/messages", {"content": SCRIPT, "client_message_id": "a"})
    except OSError:
        assert dies
    if dies:
        await wait_until(lambda: not server.is_running, "the server dies", deadline_s=20)
        await server.start()
        await server.ask("POST", f"/chats/{chat['id']}/messages", {"content": SCRIPT, "client_message_id": "a"})

    async def ended() -> Any:
        _, shown = await server.ask("GET", f"/chats/{chat['id']}")
        return shown["usage"] if shown["status"] == "waiting" and shown["usage"] else None

    return await wait_until(ended)


async def trial(folder: Path, points: tuple[str, ...]) -> None:
    folder.joinpath("antiphon.toml").write_text(CONFIG)
    server = ServerProcess(
        folder / "data",
        app=APP,
        options=("--config", str(folder / "antiphon.toml"), "--drain-s", "0"),
        TRIAL_TOOL_LOG=str(folder / "tools.log"),
    )
    try:
        await server.start()
        whole = await turn_of(server)
        assert whole["cost_micros"] > 0
        assert whole["priced_tokens"] == whole["input_tokens"] + whole["output_tokens"]
        for count, point in enumerate(points, start=2):
            await server.kill()
            await server.start(ANTIPHON_CRASH_AT=point)
            assert await turn_of(server, dies=True) == whole, point
            _, usage = await server.ask("GET", "/usage")
            assert usage["currency"] == "EUR"
            total = usage["total"]
            names = ("input_tokens", "output_tokens", "cost_micros")
            assert {name: total[name] for name in names} == {name: count * whole[name] for name in names}, point
            assert (total["turns"], total["unpriced_tokens"]) == (count, 0), point
    finally:
        await server.kill()


async def test_a_kill_in_the_middle_of_a_turn_counts_its_usage_once(tmp_path: Path) -> None:
    await trial(tmp_path, POINTS)


@pytest.mark.slow
async def test_a_kill_at_many_points_of_a_turn_counts_its_usage_once(tmp_path: Path) -> None:
    await trial(tmp_path, MORE_POINTS)
