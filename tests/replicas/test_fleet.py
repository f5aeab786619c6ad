"""Several real replicas on one real database: each of them serves all chats."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from antiphon.core.draft import Draft
from antiphon.core.events import Delta, FactEvent
from antiphon.local.lock import read_instance_file, read_primary
from antiphon.wire.stream import decode_event
from api.zmq.peers import Peer
from support.nats import NatsServer
from support.waiting import DEADLINE_S, wait_until
from system.server_process import ServerProcess, SseStream

from .fleet import Replica, ReplicaFleet

pytestmark = pytest.mark.anyio

FAULTY_SERVER = str(Path(__file__).parent.parent / "system" / "faulty_bus_server.py")


class Follower:
    """The folded stream of one chat: the facts so far, and the open draft."""

    def __init__(self, stream: SseStream) -> None:
        self.stream = stream
        self.facts: list[FactEvent] = []
        self.draft = Draft(0)
        self.delta_times: list[float] = []

    async def next(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            raw = await self.stream.next()
        assert raw is not None
        event = decode_event(raw[2], cursor=raw[0])
        if isinstance(event, FactEvent):
            assert event.seq == (self.facts[-1].seq + 1 if self.facts else event.seq)
            self.facts.append(event)
            if event.draft != self.draft.name:
                self.draft = Draft(event.draft)
        elif isinstance(event, Delta):
            assert event.draft == self.draft.name
            assert event.from_ == self.draft.position, "no gap and no repetition"
            assert self.draft.apply(event)
            self.delta_times.append(asyncio.get_running_loop().time())
        return event

    async def until(self, kind: str) -> FactEvent:
        while True:
            event = await self.next()
            if isinstance(event, FactEvent) and event.type == kind:
                return event

    async def until_position(self, position: int) -> None:
        while self.draft.position < position:
            await self.next()


async def follow(member: ServerProcess, chat_id: str, token: str, cursor: str = "0") -> Follower:
    return Follower(await member.open_stream(f"/chats/{chat_id}/stream", cursor=cursor, token=token))


async def new_chat(fleet: ReplicaFleet, content: str, *, at: int = 0) -> str:
    status, chat = await fleet.members[at].ask("POST", "/chats", {"content": content}, token=fleet.token)
    assert status == 201
    return str(chat["id"])


async def test_every_replica_streams_the_tokens_of_a_turn(fleet: ReplicaFleet) -> None:
    chat_id = await new_chat(fleet, "/rate 15\n/tokens 60")
    followers = [await follow(member, chat_id, fleet.token) for member in fleet.members]
    seen = []
    for follower in followers:
        await follower.until("turn_ended")
        seen.append([(fact.seq, fact.type) for fact in follower.facts])
        assert len(follower.delta_times) > 2  # not in a single delta
    assert seen[0] == seen[1] == seen[2]
    for member in fleet.members:
        _, page = await member.ask("GET", f"/chats/{chat_id}/messages", token=fleet.token)
        assert len(page["messages"][-1]["content"][0]["text"].split()) == 60


async def test_a_turn_is_interrupted_queued_to_and_edited_from_any_replica(fleet: ReplicaFleet) -> None:
    chat_id = await new_chat(fleet, "/rate 20\n/tokens 4000")
    follower = await follow(fleet.members[2], chat_id, fleet.token)
    await follower.until_position(10)
    _, chat = await fleet.members[1].ask("GET", f"/chats/{chat_id}", token=fleet.token)
    body = {"content": "/tokens 3", "when_busy": "queue"}
    status, _ = await fleet.members[1].ask("POST", f"/chats/{chat_id}/messages", body, token=fleet.token)
    assert status == 202
    stop = {"turn_id": chat["turn_id"]}
    _, answer = await fleet.members[2].ask("POST", f"/chats/{chat_id}/interrupt", stop, token=fleet.token)
    assert answer["interrupted"]
    ended = await follower.until("turn_ended")
    assert ended.data["outcome"] == "interrupted"
    assert (await follower.until("turn_ended")).data["outcome"] == "answered"  # the queued one
    first = next(fact for fact in follower.facts if fact.type == "message_appended")
    path = f"/chats/{chat_id}/messages/{first.seq}"
    status, _ = await fleet.members[1].ask("PATCH", path, {"content": "/tokens 2"}, token=fleet.token)
    assert status == 201
    await follower.until("history_truncated")
    for member in fleet.members:
        _, page = await member.ask("GET", f"/chats/{chat_id}/messages", token=fleet.token)
        assert all(message["id"] > first.seq for message in page["messages"])


async def test_the_turn_of_a_killed_replica_continues_on_another_one_for_its_watchers(fleet: ReplicaFleet) -> None:
    chat_id = await new_chat(fleet, "/rate 50\n/tokens 60")
    followers = [await follow(member, chat_id, fleet.token) for member in fleet.members]
    started = [await follower.until("attempt_started") for follower in followers]
    holder = fleet.member(started[0].data["instance_id"])
    left = [f for f, member in zip(followers, fleet.members, strict=True) if member is not holder]
    for follower in left:
        await follower.until_position(5)
    await holder.kill()
    for follower in left:
        lost = await follower.until("attempt_lost")
        assert lost.data["reason"] == "dead"
        again = await follower.until("attempt_started")
        assert fleet.member(again.data["instance_id"]) is not holder
        assert (await follower.until("turn_ended")).data["outcome"] == "answered"


async def test_the_turn_of_a_killed_replica_continues_for_a_subscriber_of_another_one(
    fleet: ReplicaFleet,
) -> None:
    chat_id = await new_chat(fleet, "/rate 30\n/tokens 40")
    follower = await follow(fleet.members[0], chat_id, fleet.token)
    holder = fleet.member((await follower.until("attempt_started")).data["instance_id"])
    place = read_instance_file(fleet.others(holder)[0].data)
    assert place is not None
    async with Peer(place) as peer:
        assert (await peer.until("llm.token"))["instanceId"] == place.instance_id != holder.instance_id
        await holder.kill()
        last = (await peer.until("message.append", role="assistant"))["payload"]
        while last["content"].count("w") < 40:  # the partial one
            last = (await peer.until("message.append", role="assistant"))["payload"]
    assert len(peer.payloads("llm.start")) == len(peer.payloads("llm.end")) == 2
    tokens = [payload for payload in peer.payloads("llm.token") if payload["draft"] == last["draft"]]
    assert "".join(payload["token"] for payload in tokens) == last["content"]
    assert {event["sessionId"] for event in peer.seen if "sessionId" in event} == {chat_id}


async def test_a_frozen_replica_loses_its_turn_with_its_lease_and_changes_nothing_later(
    fleet: ReplicaFleet,
) -> None:
    chat_id = await new_chat(fleet, "/rate 20\n/tokens 400")
    outside = fleet.members[1]
    follower = await follow(outside, chat_id, fleet.token)
    started = await follower.until("attempt_started")
    holder = fleet.member(started.data["instance_id"])
    if holder is outside:
        outside = fleet.others(holder)[0]
        follower = await follow(outside, chat_id, fleet.token)
        await follower.until("attempt_started")
    await follower.until_position(5)
    holder.freeze()
    lost = await follower.until("attempt_lost")
    assert lost.data["reason"] == "lease"
    again = await follower.until("attempt_started")
    assert again.data["instance_id"] != holder.instance_id
    _, chat = await outside.ask("GET", f"/chats/{chat_id}", token=fleet.token)
    holder.wake()
    await wait_until(lambda: running_turns(holder, fleet.token), accept=lambda running: not running)
    stop = {"turn_id": chat["turn_id"]}
    await outside.ask("POST", f"/chats/{chat_id}/interrupt", stop, token=fleet.token)
    await follower.until("turn_ended")
    assert [fact.data["instance_id"] for fact in follower.facts if fact.type == "attempt_started"] == [
        holder.instance_id,
        again.data["instance_id"],
    ]


async def running_turns(member: ServerProcess, token: str) -> int:
    """The number of running turns in the metrics of an instance."""
    reader, writer = await asyncio.open_connection("127.0.0.1", member.port)
    head = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    text = (await reader.read()).decode()
    writer.transport.abort()
    line = next(line for line in text.splitlines() if line.startswith("antiphon_running_turns "))
    return int(float(line.split()[1]))


async def test_new_turns_are_distributed(fleet: ReplicaFleet) -> None:
    chats = [await new_chat(fleet, "/rate 1\n/tokens 100") for _ in range(24)]
    held: Counter[str] = Counter()
    for chat_id in chats:
        follower = await follow(fleet.members[1], chat_id, fleet.token)
        held[(await follower.until("attempt_started")).data["instance_id"]] += 1
    for chat_id in chats:
        await fleet.ask("DELETE", f"/chats/{chat_id}")
    assert len(held) == 3
    assert max(held.values()) <= 2 * min(held.values()), held


async def test_a_stopping_replica_hands_its_turns_over_at_once(fleet: ReplicaFleet) -> None:
    chat_id = await new_chat(fleet, "/rate 20\n/tokens 100")
    follower = await follow(fleet.members[1], chat_id, fleet.token)
    started = await follower.until("attempt_started")
    holder = fleet.member(started.data["instance_id"])
    if holder is not fleet.members[1]:
        await follower.until_position(5)
    holder.signal(signal.SIGTERM)
    if holder is fleet.members[1]:
        follower = await follow(fleet.members[0], chat_id, fleet.token)
        await follower.until("attempt_started")
    assert (await follower.until("turn_ended")).data["outcome"] == "answered"
    assert not any(fact.type == "attempt_lost" for fact in follower.facts)
    assert holder.process is not None
    async with asyncio.timeout(DEADLINE_S):
        assert await holder.process.wait() == 0


async def test_streams_of_a_revoked_token_end_on_every_replica(fleet: ReplicaFleet) -> None:
    _, made = await fleet.members[0].ask("POST", "/tokens", {"owner": "admin"}, token=fleet.token)
    chat_id = await new_chat(fleet, "hello")
    streams = [
        await member.open_stream(f"/chats/{chat_id}/stream", cursor="0", token=made["token"])
        for member in fleet.members
    ]
    await fleet.members[2].ask("DELETE", f"/tokens/{made['id']}", token=fleet.token)
    for stream in streams:
        async with asyncio.timeout(DEADLINE_S):
            while (event := await stream.next()) is not None:
                last = event
        assert json.loads(last[2])["reason"] == "revoked"


async def test_a_sign_out_ends_the_streams_of_the_session_on_every_replica(fleet: ReplicaFleet) -> None:
    chat_id = await new_chat(fleet, "hello")
    cookie = await _sign_in(fleet.members[0])
    streams = [await _open_with_cookie(member, f"/api/v1/chats/{chat_id}/stream", cookie) for member in fleet.members]
    assert await _status_with_cookie(fleet.members[2], "DELETE", "/api/v1/session", cookie) == 204
    for reader, writer in streams:
        async with asyncio.timeout(DEADLINE_S):
            assert (await reader.readuntil(b'"revoked"')).endswith(b'"reason":"revoked"')
        writer.close()
    for member in fleet.members:
        await wait_until(
            lambda member=member: _status_with_cookie(member, "GET", "/api/v1/chats", cookie),
            accept=lambda status: status == 401,
        )


async def _sign_in(member: Replica) -> str:
    body = json.dumps({"token": member.token}).encode()
    reader, writer = await _send_with_cookie(member, "POST", "/api/v1/session", "", body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    return head.split("set-cookie: ")[1].partition(";")[0].partition("=")[2]


async def _status_with_cookie(member: Replica, method: str, path: str, cookie: str) -> int:
    reader, writer = await _send_with_cookie(member, method, path, cookie)
    line = await reader.readline()
    writer.close()
    return int(line.split(b" ")[1])


async def _open_with_cookie(
    member: Replica, path: str, cookie: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await _send_with_cookie(member, "GET", path, cookie)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    return reader, writer


async def _send_with_cookie(
    member: Replica, method: str, path: str, cookie: str, body: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", member.port, limit=1 << 24)
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{member.port}\r\nContent-Length: {len(body)}\r\n"
        f"Cookie: antiphon_session_{member.port}={cookie}\r\n\r\n".encode()
        + body
    )
    return reader, writer


async def test_a_restart_of_the_database_expires_no_attempt(fleet: ReplicaFleet, postgres_server: Any) -> None:
    chat_id = await new_chat(fleet, "/rate 20\n/tokens 150")
    follower = await follow(fleet.members[1], chat_id, fleet.token)
    await follower.until_position(5)
    postgres_server.stop("fast")
    postgres_server.start()
    ended = await follower.until("turn_ended")
    assert ended.data["outcome"] == "answered"
    assert sum(fact.type == "attempt_started" for fact in follower.facts) == 1


async def test_without_nats_everything_works_but_is_degraded(
    nats_fleet: ReplicaFleet, nats_server: NatsServer
) -> None:
    first, second = nats_fleet.members

    async def ready(member: Replica) -> Any:
        return await member.get("/readyz")

    chat_id = await new_chat(nats_fleet, "/rate 30\n/tokens 60")
    follower = await follow(second, chat_id, nats_fleet.token)
    await follower.until("turn_ended")
    assert len(follower.delta_times) > 5, "drafts are relayed over NATS"
    nats_server.stop()
    await wait_until(lambda: ready(first), accept=lambda found: found.get("slowed") == ["hints"])
    body = {"content": "/say still here"}
    status, _ = await first.ask("POST", f"/chats/{chat_id}/messages", body, token=nats_fleet.token)
    assert status == 201
    assert (await follower.until("turn_ended")).data["outcome"] == "answered"
    nats_server.start()
    for member in (first, second):
        await wait_until(lambda member=member: ready(member), accept=lambda found: found["status"] == "ready")
    await first.ask("POST", f"/chats/{chat_id}/messages", {"content": "/rate 30\n/tokens 60"}, token=nats_fleet.token)
    seen = len(follower.delta_times)
    await follower.until("turn_ended")
    assert len(follower.delta_times) > seen + 5


async def test_all_replicas_are_listed_by_each(fleet: ReplicaFleet) -> None:
    async def listed(member: Replica) -> list[Any]:
        _, answer = await member.ask("GET", "/instances", token=fleet.token)
        found = [item for item in answer["instances"] if item["role"] == "replica" and not item["is_silent"]]
        return sorted(item["instance_id"] for item in found if item["instance_id"] in ids)

    ids = {member.instance_id for member in fleet.members}
    for member in fleet.members:
        await wait_until(lambda member=member: listed(member), accept=lambda found: found == sorted(ids))
    stopped = fleet.members[2]
    await stopped.stop()
    ids_left = ids - {stopped.instance_id}
    await wait_until(lambda: listed(fleet.members[0]), accept=lambda found: found == sorted(ids_left))


@pytest.mark.parametrize(
    "faults", ["1,0,0", "0.3,0.5,0.5"], ids=["every hint is lost", "hints are lost and reordered"]
)
async def test_every_replica_sees_everything_with_faulty_hints(
    tmp_path: Path, postgres_url: str, faults: str
) -> None:
    faulty = ReplicaFleet(tmp_path / "fleet", store=postgres_url, size=2, command=(FAULTY_SERVER,), FAULTS=faults)
    await faulty.start()
    try:
        chat_id = await new_chat(faulty, "/rate 50\n/tokens 40")
        follower = await follow(faulty.members[1], chat_id, faulty.token)
        assert (await follower.until("turn_ended")).data["outcome"] == "answered"
        _, chat = await faulty.members[1].ask("GET", f"/chats/{chat_id}", token=faulty.token)
        body = {"content": "/rate 20\n/tokens 4000"}
        await faulty.members[1].ask("POST", f"/chats/{chat_id}/messages", body, token=faulty.token)
        started = await follower.until("attempt_started")
        other = next(m for m in faulty.members if m.instance_id != started.data["instance_id"])
        _, chat = await other.ask("GET", f"/chats/{chat_id}", token=faulty.token)
        await other.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": chat["turn_id"]}, token=faulty.token)
        assert (await follower.until("turn_ended")).data["outcome"] == "interrupted"
    finally:
        await faulty.close_streams()
        await faulty.kill()


async def test_no_replica_shows_the_chats_of_another_owner(fleet: ReplicaFleet) -> None:
    _, made = await fleet.members[0].ask("POST", "/tokens", {"owner": "beth"}, token=fleet.token)
    chat_id = await new_chat(fleet, "/rate 20\n/tokens 400")
    holder_sees = await follow(fleet.members[0], chat_id, fleet.token)
    await holder_sees.until_position(5)
    for member in fleet.members:
        for path in (f"/chats/{chat_id}", f"/chats/{chat_id}/messages"):
            status, answer = await member.ask("GET", path, token=made["token"])
            assert (status, answer["error"]["code"]) == (404, "not_found")
        with pytest.raises(ConnectionRefusedError, match="404"):
            await member.open_stream(f"/chats/{chat_id}/stream", cursor="0", token=made["token"])
        _, listed = await member.ask("GET", "/chats", token=made["token"])
        assert listed["chats"] == []


async def test_an_instance_that_loses_its_sessions_but_responds_is_not_declared_dead(
    fleet: ReplicaFleet,
) -> None:
    chat_id = await new_chat(fleet, "/rate 20\n/tokens 140")
    follower = await follow(fleet.members[1], chat_id, fleet.token)
    await follower.until("attempt_started")
    connection = await asyncpg.connect(fleet.store)
    ended = asyncio.create_task(follower.until("turn_ended"))
    try:
        dropped = 0
        while not ended.done():  # all sessions that hold a lock, repeatedly, for longer than failure detection takes
            dropped += len(
                await connection.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    assert (await ended).data["outcome"] == "answered"
    assert dropped > 10
    assert sum(fact.type == "attempt_started" for fact in follower.facts) == 1


async def test_a_standby_without_a_store_refuses_the_data_directory_of_a_replica(
    fleet: ReplicaFleet,
) -> None:
    data = fleet.members[0].data
    await wait_for_sockets(data)
    command = [sys.executable, "-m", "antiphon.cli", "serve", "--data", str(data), "--port", "0"]
    env = {name: value for name, value in os.environ.items() if name != "ANTIPHON_STORE"}
    process = await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(DEADLINE_S):
        _, said = await process.communicate()
    assert process.returncode not in (0, None)
    assert b"the directory of a replica" in said
    assert b"--store" in said


async def wait_for_sockets(data: Path) -> None:
    await wait_until(lambda: read_primary(data) is not None)
