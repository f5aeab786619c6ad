"""The admin of one instance observes and controls another on the same machine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.discovery import announced
from antiphon.edge import instances

from .door import Door
from .neighbour import open_neighbour

pytestmark = pytest.mark.anyio


@pytest.fixture
async def neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, str]]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with open_neighbour(tmp_path / "data") as told:
        yield told


async def ask(door: Door, method: str, path: str, body: Any = None) -> Any:
    answer = await door.ask(method, path, body, token=door.admin_token)
    assert answer.status == 200, answer
    return answer.json


async def test_it_is_listed_with_what_it_says_of_itself(door: Door, neighbour: tuple[str, str]) -> None:
    instance_id, session_id = neighbour
    (listed,) = (await ask(door, "GET", "/instances"))["instances"]
    assert (listed["instance_id"], listed["role"], listed["is_self"], listed["is_silent"]) == (
        instance_id,
        "primary",
        False,
        False,
    )
    assert (listed["session_count"], listed["active_session_id"]) == (1, None)
    assert "token" not in json.dumps(listed)
    one = await ask(door, "GET", f"/instances/{instance_id}")
    assert [session["id"] for session in one["sessions"]] == [session_id]


async def test_its_events_are_told_and_it_takes_commands(door: Door, neighbour: tuple[str, str]) -> None:
    instance_id, session_id = neighbour
    topics = "message.append,session.activated,llm.token,llm.end,instance.heartbeat"
    stream = await door.stream(f"/instances/{instance_id}/events?topic={topics}", token=door.admin_token)
    while (await stream.next()).type != "instance.heartbeat":
        pass  # it is heard
    await ask(door, "POST", f"/instances/{instance_id}/activate", {"session_id": session_id})
    sent = {"session_id": session_id, "content": "/say one \n/stall 600"}
    await ask(door, "POST", f"/instances/{instance_id}/messages", sent)
    seen: list[tuple[str, Any]] = []
    while not seen or seen[-1][1]["payload"].get("token") != "one ":
        event = await stream.next()
        seen.append((event.type, event.json))
    await ask(door, "POST", f"/instances/{instance_id}/interrupt", {"session_id": session_id})
    while seen[-1][0] != "llm.end":
        event = await stream.next()
        seen.append((event.type, event.json))
    await stream.close()
    told = [kind for kind, _ in seen]
    assert "session.activated" in told
    assert "message.append" in told
    assert all(data["type"] == kind == data["topic"] for kind, data in seen)
    assert all(data["instanceId"] == instance_id for _, data in seen)
    (listed,) = (await ask(door, "GET", "/instances"))["instances"]
    assert (listed["active_session_id"], listed["active_title"]) == (session_id, "next door")


async def test_what_is_not_there_is_not_found_and_what_does_not_answer_is_silent(
    door: Door, neighbour: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id, _ = neighbour
    answer = await door.ask("GET", "/instances/nobody", token=door.admin_token)
    assert (answer.status, answer.code) == (404, "not_found")
    answer = await door.ask("GET", f"/instances/{instance_id}/events?topic=moon", token=door.admin_token)
    assert (answer.status, answer.code) == (422, "invalid")
    answer = await door.ask(
        "POST", f"/instances/{instance_id}/messages", {"session_id": "none", "content": "x"}, token=door.admin_token
    )
    assert (answer.status, answer.code) == (404, "not_found")
    monkeypatch.setattr(instances, "ASK_S", 0.05)
    (found,) = announced()
    Path(found.rpc_endpoint.removeprefix("ipc://")).unlink()
    (listed,) = (await ask(door, "GET", "/instances"))["instances"]
    assert listed["is_silent"] is True


async def test_a_stream_ends_when_its_instance_is_gone(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name, value in (("LOOK_S", 0.05), ("SEND_S", 0.2)):
        monkeypatch.setattr(instances, name, value)
    async with open_neighbour(tmp_path / "data") as (instance_id, _):
        stream = await door.stream(f"/instances/{instance_id}/events", token=door.admin_token)
        assert (await stream.next()).type
    assert (await stream.rest())[-1].type == "bye"
    await stream.close()


async def test_a_reader_that_is_too_slow_is_told_how_much_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "WAITING_MAX", 2)
    stream = instances.InstanceEvents("admin", token_id="")
    for count in range(5):
        stream.put(instances._frame("instance.heartbeat", {"count": count}))
    first, *others = [json.loads(frame.data) for frame in await stream.take()]
    assert first == {"type": "left_out", "count": 3}
    assert [other["count"] for other in others] == [3, 4]
