"""The instance protocol over real sockets, driven by a peer that knows nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest
import zmq

from antiphon import Agent, Turn, tool
from antiphon.api.zmq.limits import SocketLimits
from antiphon.chats.owned import OwnedChats
from antiphon.core import commands as c
from antiphon.core.commands import SetLabels
from antiphon.core.model import Status
from antiphon.errors import Invalid
from antiphon.observe.metrics import METRICS
from antiphon.wire import instance as i
from support.waiting import DEADLINE_S, wait_until

from .peers import Peer, open_endpoint

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


METHODS = {value for name, value in vars(i).items() if name.startswith("METHOD_")}
TOPICS = {value for name, value in vars(i).items() if name.startswith("TOPIC_")} - {i.TOPIC_APPEND}


async def test_every_method_answers_and_every_topic_is_published(tmp_path: Path) -> None:
    asked: set[str] = set()
    async with (
        open_endpoint(tmp_path / "data", agent=Agent(tools=[add])) as (instance, endpoint),
        Peer(endpoint) as peer,
    ):

        async def ask(method: str, params: Any = None) -> Any:
            asked.add(method)
            return await peer.ask(method, params)

        await peer.wait_subscribed(endpoint)
        ping = await ask("instance.ping")
        assert ping == {"status": "ok", "instance_id": instance.instance_id, "uptime": ping["uptime"]}
        info = await ask("instance.info", {})
        assert info["project_id"] == str(tmp_path)
        assert (info["role"], info["pid"]) == ("primary", os.getpid())
        assert (info["pub_endpoint"], info["rpc_endpoint"]) == (endpoint.pub_endpoint, endpoint.rpc_endpoint)
        made = await ask("session.create", {"title": "One"})
        session_id = made["id"]
        assert made == {"id": session_id, "title": "One", "updated_at": made["updated_at"], "message_count": 0}
        assert await ask("session.activate", {"session_id": session_id}) == {"ok": True}
        text = '/say hello \n/call add {"a": 1, "b": 2}\n/think hm\n/say bye'
        assert await ask("message.send", {"session_id": session_id, "content": text}) == {"ok": True}
        await peer.until("session.update", message_count=3)
        messages = await ask("message.list", {"session_id": session_id})
        assert [(m["role"], m["content"]) for m in messages] == [
            ("user", text),
            ("assistant", "hello "),
            ("assistant", "bye"),
        ]
        assert [int(m["id"]) for m in messages] == sorted(int(m["id"]) for m in messages)
        assert (await ask("session.get", {"session_id": session_id}))["message_count"] == 3
        (listed,) = await ask("session.list")
        assert listed == await ask("session.get", {"session_id": session_id})
        state = await ask("state.sync", {"project_id": str(tmp_path)})
        assert state == {"sessions": [listed], "active_session_id": session_id, "instance_id": instance.instance_id}
        read = await ask("antiphon.read", {"session_id": session_id, "after": "0"})
        assert [event["seq"] for event in read["events"]] == list(range(1, len(read["events"]) + 1))
        assert read["caught_up"] is True
        await ask("message.send", {"session_id": session_id, "content": "/say x\n/stall 60"})
        await peer.until("llm.token", token="x")
        assert await ask("session.interrupt", {"session_id": session_id}) == {"ok": True}
        await peer.until("llm.end")
        renamed = await ask("antiphon.command", {"session_id": session_id, "command": "rename", "title": "Two"})
        assert renamed["title"] == "Two"
        await peer.until("session.update", title="Two")
        one = {"method": "GET", "path": f"/api/v1/chats/{session_id}"}
        answer = await ask("antiphon.request", one)
        assert (answer["status"], answer["body"]["title"]) == (200, "Two")
        await ask("antiphon.command", {"session_id": session_id, "command": "delete"})
        await peer.until("session.deleted", id=session_id)
        await peer.until("session.list", sessions=[])
        await peer.until("instance.heartbeat")
        endpoint.publisher.publish_shutdown("test")
        await peer.until("instance.shutdown", reason="test")
    assert asked == METHODS
    assert {event["topic"] for event in peer.seen} == TOPICS
    tokens = [payload["token"] for payload in peer.payloads("llm.token") if payload["token"]]
    assert "".join(tokens) == "hello byex"
    assert len(peer.payloads("llm.start")) == len(peer.payloads("llm.end")) == 3
    (started,), (ended,) = peer.payloads("tool.start"), peer.payloads("tool.end")
    assert (started["tool_name"], json.loads(started["params"])) == ("add", {"a": 1, "b": 2})
    assert (ended["call_id"], ended["is_error"], ended["result"]) == (started["call_id"], False, "3")


async def test_a_frames_keys_have_their_order_and_a_session_is_filtered_by_prefix(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint, "nothing") as peer:
        ids = [(await peer.ask("session.create", {}))["id"] for _ in range(2)]
        head = i.frame_head("message.append", instance.instance_id, str(tmp_path), ids[1])
        peer.sub.setsockopt(zmq.SUBSCRIBE, head)
        await wait_until(lambda: len(endpoint._sockets.subscriptions) >= 2)
        for session_id in ids:
            await peer.ask("message.send", {"session_id": session_id, "content": "hi"})
        async with asyncio.timeout(DEADLINE_S):
            frame = await peer.sub.recv()
        assert frame.startswith(head)
        envelope = frame.partition(b"\0")[2]
        assert list(json.loads(envelope)) == ["instanceId", "projectId", "sessionId", "topic", "timestamp", "payload"]
        assert b'": ' not in envelope.replace(b'"hi', b"")
        assert json.loads(envelope)["payload"]["session_id"] == ids[1]


@pytest.mark.parametrize("call_id", [1, "a", None, 1.5, ""])
async def test_an_id_of_any_kind_is_echoed(tmp_path: Path, call_id: Any) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        await peer.send({"jsonrpc": "2.0", "id": call_id, "method": "instance.ping"})
        answer = await peer.answer()
        assert (answer["id"], answer["result"]["status"]) == (call_id, "ok")


async def test_errors_have_their_codes_and_notifications_no_answer(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "instance.ping"}
        for message, code in (
            (b"{", -32700),
            (b"\xff\xfe", -32700),
            ([], -32600),
            (5, -32600),
            ({"id": 1, "method": "instance.ping"}, -32600),
            ({"jsonrpc": "2.0", "id": 1, "method": 5}, -32600),
            ({"jsonrpc": "2.0", "id": {}, "method": "instance.ping"}, -32600),
            (ping | {"params": 5}, -32600),
            (ping | {"params": [1]}, -32602),
            (ping | {"method": "no.such"}, -32601),
            (ping | {"method": "session.get", "params": {"session_id": 5}}, -32602),
            (ping | {"method": "session.get", "params": {"session_id": "x"}}, -32000),
            (ping | {"method": "state.sync", "params": {"project_id": "/else"}}, -32602),
            (ping | {"method": "antiphon.read", "params": {"session_id": "x", "after": "9.x"}}, -32000),
            (ping | {"method": "antiphon.command", "params": {"session_id": "x", "command": "fly"}}, -32000),
        ):
            await peer.send(message)
            answer = await peer.answer()
            assert answer["error"]["code"] == code, (message, answer)
            if code == -32601:
                assert answer["error"]["message"] == "ipc: method not found"
            if code == -32000:
                assert answer["error"]["data"]["code"] == "not_found"
        for silent in ({"jsonrpc": "2.0", "method": "instance.ping"}, {"jsonrpc": "2.0", "method": "no.such"}):
            await peer.send(silent)
        await peer.send([ping, {"jsonrpc": "2.0", "method": "instance.ping"}, ping | {"id": 2}, 7])
        batch = await peer.answer()
        assert [answer["id"] for answer in batch] == [1, 2, None], "nothing answered the notifications"
        await peer.rpc.send_multipart([json.dumps(ping).encode()])
        assert (await peer.answer())["id"] == 1, "the empty frame may be left out"


async def test_calls_are_handled_concurrently_and_malformed_ones_affect_no_other_peer(tmp_path: Path) -> None:
    async with (
        open_endpoint(tmp_path / "data") as (instance, endpoint),
        Peer(endpoint) as peer,
        Peer(endpoint) as other,
    ):
        for garbage in ([b""], [b"", b"", b""], [b"\x80\x04pickle"], [os.urandom(1000)], [b"a", b"b", b"c", b"d"]):
            await other.rpc.send_multipart(garbage)
        held = asyncio.Event()
        real = instance.store.list_chats

        async def slow(*args: Any, **how: Any) -> Any:
            await held.wait()
            return await real(*args, **how)

        instance.store.list_chats = slow  # type: ignore[method-assign]
        await peer.send({"jsonrpc": "2.0", "id": "slow", "method": "session.list"})
        await peer.send({"jsonrpc": "2.0", "id": "fast", "method": "instance.ping"})
        assert (await peer.answer())["id"] == "fast"
        held.set()
        assert (await peer.answer())["id"] == "slow"


async def test_each_model_call_ends_once_however_it_ends(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        await peer.wait_subscribed(endpoint)
        session_id = (await peer.ask("session.create", {}))["id"]
        await peer.ask("message.send", {"session_id": session_id, "content": "/fail overloaded\n/say once"})
        await peer.until("message.append", role="assistant")
        await peer.ask("message.send", {"session_id": session_id, "content": "/say a\n/fail auth"})
        await peer.until("llm.end")
        await peer.ask("message.send", {"session_id": session_id, "content": "/say b\n/stall 60"})
        await peer.until("llm.token", token="b")
        await peer.ask("session.interrupt", {"session_id": session_id})
        await peer.until("llm.end")
        starts = [e["topic"] for e in peer.seen if e["topic"] in ("llm.start", "llm.end")]
        assert starts == ["llm.start", "llm.end"] * 4
        used = [payload["tokens_out"] for payload in peer.payloads("llm.end")]
        assert (used[0], used[1], used[3]) == (0, 1, 1), "with what was used"


async def test_it_speaks_for_the_admin_alone(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint) as peer:
        await peer.wait_subscribed(endpoint)
        other = OwnedChats(
            instance.service, store=instance.store, owner_id=await instance.store.create_owner("other")
        )
        theirs = (await other.create(content="/say canary")).chat_id
        await wait_until(lambda: other.get(theirs), accept=lambda chat: chat.status is Status.WAITING)
        mine = (await peer.ask("session.create", {"content": "/say mine"}))["id"]
        await peer.until("message.append", role="assistant")
        assert "canary" not in json.dumps(peer.seen)
        assert theirs not in json.dumps(peer.seen)
        assert [session["id"] for session in await peer.ask("session.list")] == [mine]
        missing = str(uuid.uuid4())
        for method in ("session.get", "session.activate", "session.interrupt", "message.list", "antiphon.read"):
            answers = [await peer.call(method, {"session_id": session_id}) for session_id in (theirs, missing)]
            assert answers[0] == answers[1]
            assert answers[0]["error"]["data"]["code"] == "not_found"


async def test_the_active_session_survives_a_restart_and_is_in_every_heartbeat(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        session_id = (await peer.ask("session.create", {}))["id"]
        await peer.ask("session.activate", {"session_id": session_id})
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint, "instance.heartbeat") as peer:
        assert (await peer.ask("state.sync"))["active_session_id"] == session_id
        beat = await peer.until("instance.heartbeat")
        assert beat["payload"]["active_session_id"] == session_id


async def test_the_last_frame_is_delivered(tmp_path: Path) -> None:
    for _ in range(5):
        async with open_endpoint(tmp_path / "data") as (_, endpoint):
            peer = Peer(endpoint, "instance.shutdown")
            await peer.wait_subscribed(endpoint)
        async with peer:
            assert (await peer.next_event())["payload"]["reason"] == "stopped"


async def test_a_path_too_long_for_a_socket_moves_its_sockets_to_the_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / ("x" * 100) / ("y" * 50)
    with tempfile.TemporaryDirectory(prefix="run") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        async with open_endpoint(data) as (_, endpoint), Peer(endpoint) as peer:
            assert f"{runtime}/antiphon" in endpoint.pub_endpoint
            assert (await peer.ask("instance.ping"))["status"] == "ok"
            folder = Path(endpoint.pub_endpoint.removeprefix("ipc://")).parent
            assert folder.stat().st_mode & 0o777 == 0o700


async def test_over_tcp_it_has_the_projects_ports_or_the_next_free_ones(tmp_path: Path) -> None:
    project = project_with_free_ports(tmp_path)
    pub, rpc = i.default_ports(str(project))
    async with open_endpoint(project / "data", bus_tcp=True) as (_, endpoint), Peer(endpoint) as peer:
        assert (endpoint.pub_endpoint, endpoint.rpc_endpoint) == (f"tcp://127.0.0.1:{pub}", f"tcp://127.0.0.1:{rpc}")
        assert (await peer.ask("instance.ping"))["status"] == "ok"
        async with open_endpoint(project / "other", bus_tcp=True) as (_, second):
            assert second.pub_endpoint == f"tcp://127.0.0.1:{pub + 2}"


def project_with_free_ports(folder: Path) -> Path:
    """A folder whose ports and the next pair are free: another program of the machine may use some."""
    for number in range(100):
        project = folder / str(number)
        pub, rpc = i.default_ports(str(project))
        if all(is_free(port) for port in (pub, rpc, pub + 2, rpc + 2)):
            project.mkdir()
            return project
    raise AssertionError("no free ports")


def is_free(port: int) -> bool:
    with socket.socket() as end:
        try:
            end.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def test_keyless_tcp_is_refused_where_there_are_several_owners(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, _):
        await instance.store.create_owner("other")
    with pytest.raises(Invalid, match="several owners"):
        async with open_endpoint(tmp_path / "data", bus_tcp=True):
            pass


async def test_a_draft_older_than_the_first_subscription_is_published_from_its_start(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def agent(turn: Turn) -> Any:
        yield "before "
        await go_on.wait()
        yield "after"

    async with open_endpoint(tmp_path / "data", agent=agent) as (instance, endpoint):
        chat_id = (await instance.chats.create(content="hi")).chat_id
        await wait_until(lambda: instance.drafts.get(chat_id), accept=lambda draft: draft and draft.position)
        async with Peer(endpoint, "llm.token", "message.append") as peer:
            await peer.wait_subscribed(endpoint)
            go_on.set()
            await peer.until("message.append", role="assistant")
            assert "".join(payload["token"] for payload in peer.payloads("llm.token")) == "before after"


async def test_a_deleted_session_is_not_the_active_one_any_more(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint, "instance.heartbeat") as peer:
        ids = [(await peer.ask("session.create", {}))["id"] for _ in range(3)]
        await peer.ask("session.activate", {"session_id": ids[0]})
        await peer.ask("antiphon.command", {"session_id": ids[0], "command": "delete"})
        assert "active_session_id" not in await peer.ask("state.sync")
        await peer.wait_subscribed(endpoint)
        await endpoint.publisher.publish_heartbeat()
        beat = await peer.until("instance.heartbeat", session_count=2)
        assert "active_session_id" not in beat["payload"]
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        assert "active_session_id" not in await peer.ask("state.sync")


async def test_messages_are_counted_once_for_a_chat_and_then_kept_up_with(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        for n in range(3):
            await peer.ask("session.create", {"title": f"{n}"})
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint) as peer:
        counted: list[str] = []
        real = instance.store.count_messages

        async def count(chat_id: str) -> int:
            counted.append(chat_id)
            return await real(chat_id)

        instance.store.count_messages = count  # type: ignore[method-assign]
        listed = await peer.ask("session.list")
        known = len(counted)
        for _ in range(3):
            assert await peer.ask("session.list") == listed
        assert len(counted) == known, "not again for chats in which nothing happens"
        chat_id = listed[0]["id"]
        before = (await peer.ask("session.get", {"session_id": chat_id}))["message_count"]
        await peer.ask("message.send", {"session_id": chat_id, "content": "/stall 60"})
        assert (await peer.ask("session.get", {"session_id": chat_id}))["message_count"] == before + 1
        assert len(counted) == known


@pytest.mark.parametrize("over_tcp", [False, True])
async def test_a_flood_of_subscriptions_is_dropped_and_honest_subscribers_come_back(
    tmp_path: Path, over_tcp: bool
) -> None:
    limits = SocketLimits(subscriptions_max=2_000)
    async with (
        open_endpoint(tmp_path / "data", bus_tcp=over_tcp, socket_limits=limits) as (_, endpoint),
        Peer(endpoint, "instance.heartbeat") as honest,
        Peer(endpoint, "nothing") as flood,
    ):
        dropped = METRICS.unexpected.labels("dropped_subscriptions")
        before = dropped._value.get()
        flood.sub.close(linger=0)
        flood.sub = flood._context.socket(zmq.SUB)
        flood.sub.setsockopt(zmq.SNDHWM, 0)
        flood.sub.connect(endpoint.pub_endpoint)
        for n in range(5_000):
            flood.sub.setsockopt(zmq.SUBSCRIBE, b"%d" % n)
        await wait_until(lambda: dropped._value.get() != before)
        flood.sub.close(linger=0)
        async with asyncio.timeout(DEADLINE_S):
            while not any(event["payload"]["session_count"] == 1 for event in honest.seen):
                if not honest.seen:
                    await honest.ask("session.create", {"id": str(uuid.UUID(int=7, version=4))})
                await endpoint.publisher.publish_heartbeat()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await honest.next_event()
        assert (await honest.ask("instance.ping"))["status"] == "ok"


async def test_a_session_whose_facts_cannot_be_read_for_a_while_is_published_to_its_newest_state(
    tmp_path: Path,
) -> None:
    async with (
        open_endpoint(tmp_path / "data") as (instance, endpoint),
        Peer(endpoint, "message.append", "session.update") as peer,
    ):
        await peer.wait_subscribed(endpoint)
        chat_id = (await peer.ask("session.create", {"content": "/say a"}))["id"]
        await peer.until("message.append", role="assistant")
        held = asyncio.Event()
        real = instance.store.read_entries

        async def read(*args: Any, **kwargs: Any) -> Any:
            await held.wait()
            return await real(*args, **kwargs)

        instance.store.read_entries = read  # type: ignore[method-assign]
        stalled = await instance.chats.send(chat_id, "/stall 60")
        await instance.chats.send(chat_id, "/say queued")
        await instance.chats.interrupt(chat_id, stalled.chat.turn_id)
        for n in range(20):
            await instance.chats.change(chat_id, c.Rename(title=f"t{n}"))
        held.set()
        await peer.until("session.update", title="t19")


async def test_every_append_is_published_to_subscribers_of_its_topic(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint, i.TOPIC_APPEND) as peer:
        await peer.wait_subscribed(endpoint)
        done = await instance.chats.create(title="one")
        await peer.until(i.TOPIC_APPEND, session_id=done.chat_id, seq=1)
        await instance.chats.change(done.chat_id, SetLabels(labels={"a": "b"}))
        await peer.until(i.TOPIC_APPEND, session_id=done.chat_id, seq=2)


async def test_a_state_sync_has_the_open_calls_of_child_chats(tmp_path: Path) -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield str(await turn.ask("Which one?"))
        else:
            yield (await turn.spawn("choose")).text

    async with open_endpoint(tmp_path / "data", agent=agent) as (instance, endpoint), Peer(endpoint) as peer:
        parent_id = (await peer.ask("session.create", {}))["id"]
        await peer.ask("message.send", {"session_id": parent_id, "content": "hi"})

        async def open_calls() -> Any:
            return (await peer.ask("state.sync")).get("antiphon", {}).get("open_calls")

        (child_id,) = await wait_until(open_calls)
        (child,) = await instance.chats.list(parent=parent_id)
        assert child.chat_id == child_id
        assert [session["id"] for session in await peer.ask("session.list")] == [parent_id]
