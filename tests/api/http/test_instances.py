"""The admin of one instance observes and controls another on the same machine."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.http import instances
from antiphon.api.http.limits import HttpLimits
from antiphon.client.zmq_calls import MESSAGE_BYTES_MAX
from antiphon.local.discovery import Announcement, announce, announced, withdraw
from api.zmq.reference_server import ReferenceServer

from .api_client import ApiClient, open_api
from .neighbour import open_neighbour

pytestmark = pytest.mark.anyio


@pytest.fixture
async def neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, str]]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with open_neighbour(tmp_path / "data") as opened:
        yield opened


async def ask(api: ApiClient, method: str, path: str, body: Any = None) -> Any:
    answer = await api.ask(method, path, body, token=api.admin_token)
    assert answer.status == 200, answer
    return answer.json


async def test_it_is_listed_with_what_it_says_of_itself(api: ApiClient, neighbour: tuple[str, str]) -> None:
    instance_id, session_id = neighbour
    (listed,) = (await ask(api, "GET", "/instances"))["instances"]
    assert (listed["instance_id"], listed["role"], listed["is_self"], listed["is_silent"]) == (
        instance_id,
        "primary",
        False,
        False,
    )
    assert (listed["session_count"], listed["active_session_id"]) == (1, None)
    assert "token" not in json.dumps(listed)
    one = await ask(api, "GET", f"/instances/{instance_id}")
    assert [session["id"] for session in one["sessions"]] == [session_id]


async def test_events_of_an_instance_are_streamed_and_commands_are_executed(
    api: ApiClient, neighbour: tuple[str, str]
) -> None:
    instance_id, session_id = neighbour
    topics = "message.append,session.activated,llm.token,llm.end,instance.heartbeat"
    stream = await api.stream(f"/instances/{instance_id}/events?topic={topics}", token=api.admin_token)
    while (await stream.next()).type != "instance.heartbeat":
        pass  # events arrive
    await ask(api, "POST", f"/instances/{instance_id}/activate", {"session_id": session_id})
    sent = {"session_id": session_id, "content": "/say one \n/stall 600"}
    await ask(api, "POST", f"/instances/{instance_id}/messages", sent)
    seen: list[tuple[str, Any]] = []
    while not seen or seen[-1][1]["payload"].get("token") != "one ":
        event = await stream.next()
        seen.append((event.type, event.json))
    await ask(api, "POST", f"/instances/{instance_id}/interrupt", {"session_id": session_id})
    while seen[-1][0] != "llm.end":
        event = await stream.next()
        seen.append((event.type, event.json))
    await stream.close()
    kinds = [kind for kind, _ in seen]
    assert "session.activated" in kinds
    assert "message.append" in kinds
    assert all(data["type"] == kind == data["topic"] for kind, data in seen)
    assert all(data["instanceId"] == instance_id for _, data in seen)
    (listed,) = (await ask(api, "GET", "/instances"))["instances"]
    assert (listed["active_session_id"], listed["active_title"]) == (session_id, "other instance")


async def test_what_is_not_there_is_not_found_and_what_does_not_answer_is_silent(
    api: ApiClient, neighbour: tuple[str, str]
) -> None:
    instance_id, _ = neighbour
    answer = await api.ask("GET", "/instances/unknown", token=api.admin_token)
    assert (answer.status, answer.code) == (404, "not_found")
    answer = await api.ask("GET", f"/instances/{instance_id}/events?topic=moon", token=api.admin_token)
    assert (answer.status, answer.code) == (422, "invalid")
    answer = await api.ask(
        "POST", f"/instances/{instance_id}/messages", {"session_id": "none", "content": "x"}, token=api.admin_token
    )
    assert (answer.status, answer.code) == (404, "not_found")
    (found,) = announced()
    Path(found.rpc_endpoint.removeprefix("ipc://")).unlink()
    (listed,) = (await ask(api, "GET", "/instances"))["instances"]
    assert listed["is_silent"] is True


LIMIT_BYTES = 1024 * 1024


@pytest.mark.parametrize("method", ["instance.ping", "instance.info", "state.sync"])
@pytest.mark.parametrize(("size", "is_silent"), [(LIMIT_BYTES // 2, False), (LIMIT_BYTES + 1, True)])
async def test_an_instance_whose_response_exceeds_the_limit_is_shown_as_silent(
    neighbour: tuple[str, str], method: str, size: int, is_silent: bool
) -> None:
    limits = HttpLimits(instance_message_bytes_max=LIMIT_BYTES)
    async with open_api(http_limits=limits) as api:
        with ReferenceServer() as server:
            answer = server.methods[method]
            server.methods[method] = lambda params: answer(params) | {"padding": "x" * size}
            other = announcement_of(server)
            announce(other)
            try:
                shown = {item["instance_id"]: item for item in (await ask(api, "GET", "/instances"))["instances"]}
            finally:
                withdraw(other.instance_id)
        assert method in {request["method"] for request in server.requests}
    assert shown[other.instance_id]["is_silent"] is is_silent
    assert shown[neighbour[0]]["is_silent"] is False, "the others are not affected"


async def test_a_response_is_read_only_up_to_the_limit(
    api: ApiClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with ReferenceServer() as server:
        server.methods["instance.ping"] = lambda params: {"status": "ok", "uptime": "x" * (2 * MESSAGE_BYTES_MAX)}
        other = announcement_of(server)
        announce(other)
        try:
            (listed,) = (await ask(api, "GET", "/instances"))["instances"]
        finally:
            withdraw(other.instance_id)
    assert listed["is_silent"] is True
    assert len(json.dumps(listed)) < 10_000


def announcement_of(server: ReferenceServer) -> Announcement:
    return Announcement(
        instance_id=server.instance_id,
        pid=os.getpid(),
        role="primary",
        version="0.0.0",
        project_id=server.project_id,
        data=f"{server.project_id}/data",
        started_at="2026-01-01T00:00:00Z",
        pub_endpoint=server.pub_endpoint,
        rpc_endpoint=server.rpc_endpoint,
    )


async def test_a_stream_ends_when_its_instance_stops_responding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    limits = HttpLimits(instance_check_s=0.05, instance_command_s=0.2)
    async with open_api(http_limits=limits) as api:
        async with open_neighbour(tmp_path / "data") as (instance_id, _):
            stream = await api.stream(f"/instances/{instance_id}/events", token=api.admin_token)
            assert (await stream.next()).type
        assert (await stream.rest())[-1].type == "bye"
        await stream.close()


async def test_an_event_counts_the_events_that_a_slow_client_has_missed() -> None:
    stream = instances.InstanceEvents("admin", token_id="", limits=HttpLimits(events_max=2))
    for count in range(5):
        stream.put(instances._frame("instance.heartbeat", {"count": count}))
    first, *others = [json.loads(frame.data) for frame in await stream.next_batch()]
    assert first == {"type": "left_out", "count": 3}
    assert [other["count"] for other in others] == [3, 4]
