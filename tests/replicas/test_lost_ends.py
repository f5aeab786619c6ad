"""The holder of a turn dies after its last flush: clients at another replica have more than is stored, and take it
back without a new request."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.agui.conftest import CLIENT as AGUI_SCRIPT
from api.agui.conftest import NodeClient as AgUiNode
from api.ui_stream.conftest import CLIENT as UI_SCRIPT
from api.ui_stream.conftest import NodeClient as UiNode
from how_to.node import node_marks
from support.waiting import wait_until
from system.every_protocol.node_clients import AgUi, UseChat
from system.every_protocol.transcript import Said, of_messages

from .fleet import ReplicaFleet
from .test_protocols import holder_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow, *node_marks()]

SHOWN = 400
"""How much of the answer each client has when the holder dies, in characters: more than one flush."""


@pytest.mark.parametrize("number", range(3))
async def test_clients_at_another_replica_show_what_is_stored(tmp_path: Path, postgres_url: str, number: int) -> None:
    options = ("--on-worker-lost", "keep")
    fleet = ReplicaFleet(tmp_path / "fleet", store=postgres_url, size=2, options=options)
    await fleet.start()
    ui_node, agui_node = await UiNode.start(UI_SCRIPT), await AgUiNode.start(AGUI_SCRIPT)
    try:
        await fleet.wait_whole()
        _, chat = await fleet.ask("POST", "/chats", {"content": "/tokens 400\n/rate 150"})
        holder = fleet.member(await wait_until(lambda: holder_of(fleet, chat["id"]), "a replica has the turn"))
        (other,) = fleet.others(holder)
        access = f"http://127.0.0.1:{other.port}", fleet.token
        use_chat = UseChat(await ui_node.open(*access, chat["id"]))
        ag_ui = AgUi(await agui_node.open(*access, chat["id"]))
        use_chat.resume()
        ag_ui.join()
        for client in (use_chat, ag_ui):
            await wait_until(client.said, f"{client.name} shows text", accept=lambda said: _length(said) > SHOWN)
        await holder.kill()
        seen, run = await use_chat.ended(), await ag_ui.ended()
        assert (seen.status, seen.error, run.failure) == ("ready", None, None)
        status, page = await other.ask("GET", f"/chats/{chat['id']}/messages", token=fleet.token)
        assert status == 200
        stored = of_messages(page["messages"])
        assert page["messages"][1]["interrupted"]
        assert await use_chat.said() == stored[1:], "a page that resumes has only the answer"
        assert await ag_ui.said() == stored
    finally:
        await ui_node.close()
        await agui_node.close()
        await fleet.kill()


def _length(said: Said) -> int:
    return len(said[-1][1]) if said else 0
