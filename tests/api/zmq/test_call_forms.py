"""Calls in the forms that other programs use: ids in upper case, an extra frame."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from antiphon.client.zmq import RemoteInstance
from support.waiting import DEADLINE_S

from .peers import Peer, open_endpoint

pytestmark = pytest.mark.anyio

PING = b'{"jsonrpc":"2.0","id":"p","method":"instance.ping"}'


@pytest.mark.parametrize(
    ("frames", "call_id"),
    [
        ([b"", PING, b"extra"], "p"),
        ([PING, b"extra"], "p"),
        ([b"", b"", PING], "p"),
        ([b"a", b"b", b"c", b"d"], None),
        ([b"", b"", b""], None),
        ([b"", b'{"jsonrpc":"2.0","method":"instance.ping"}', b""], None),
        ([b"x", PING], "p"),
    ],
)
async def test_a_call_with_a_wrong_number_of_frames_is_answered(
    tmp_path: Path, frames: list[bytes], call_id: Any
) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        await peer.rpc.send_multipart(frames)
        answer = await peer.answer()
        assert (answer["id"], answer["error"]["code"]) == (call_id, -32600)
        assert answer["error"]["message"].endswith(f"{len(frames)} came")
        assert (await peer.ask("instance.ping"))["status"] == "ok", "the next one is answered as ever"


async def test_an_id_in_upper_case_names_the_same_session(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        made = await peer.ask("session.create", {"id": "0B0B0B0B-1111-4222-8333-444444444444", "title": "t"})
        session_id, capitals = made["id"], made["id"].upper()
        assert session_id == capitals.lower()
        assert (await peer.ask("session.get", {"session_id": capitals}))["id"] == session_id
        await peer.ask("session.activate", {"session_id": capitals})
        assert (await peer.ask("state.sync"))["active_session_id"] == session_id
        await peer.ask("message.send", {"session_id": capitals, "content": "/say hi"})
        await peer.ask("antiphon.command", {"session_id": capitals, "command": "rename", "title": "u"})
        assert (await peer.ask("antiphon.read", {"session_id": capitals, "after": "0"}))["events"]
        path = f"/api/v1/chats/{capitals}"
        assert (await peer.ask("antiphon.request", {"method": "GET", "path": path}))["body"]["id"] == session_id
        await peer.ask("antiphon.request", {"method": "HEAD", "path": path})


async def test_a_session_is_followed_by_its_id_in_upper_case(tmp_path: Path) -> None:
    async with (
        open_endpoint(tmp_path / "data") as (_, endpoint),
        RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint) as remote,
    ):
        session_id = (await remote.create_session()).id
        seen = ""
        async with asyncio.timeout(DEADLINE_S), aclosing(remote.follow(session_id.upper())) as views:
            async for view in views:
                if not seen:
                    await remote.send(session_id.upper(), "/say one word\n/rate 50\n/tokens 20")
                seen = view.draft.text() or seen or " "
                if view.status == "waiting" and len(view.messages) == 2:
                    break
        assert json.dumps(view.messages[-1]["content"]).count("w20") == 1
