"""Our client against a server that knows nothing but the reference document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from antiphon.client import AsyncClient
from antiphon.client.errors import MethodMissing
from antiphon.client.local import Endpoints
from antiphon.client.zmq import RemoteInstance
from antiphon.core.events import CaughtUp, Delta, FactEvent, Resync
from antiphon.core.view import View
from antiphon.errors import PeerError, Refused
from support.waiting import DEADLINE_S, wait_until

from .peers import open_endpoint
from .reference_server import METHODS, ReferenceServer

pytestmark = pytest.mark.anyio


def remote_of(server: ReferenceServer) -> RemoteInstance:
    return RemoteInstance(server.pub_endpoint, server.rpc_endpoint, timeout_s=DEADLINE_S)


async def test_every_method_of_the_reference_works() -> None:
    with ReferenceServer() as server:
        async with remote_of(server) as remote:
            assert await remote.sessions() == ()
            session_id = server.add_session("One")
            assert (await remote.ping()).uptime == "1m5s"
            assert [item.title for item in await remote.sessions()] == ["One"]
            assert (await remote.session(session_id)).title == "One"
            assert await remote.messages(session_id) == ()
            await remote.activate(session_id)
            await remote.send(session_id, "hello")
            await remote.interrupt(session_id)
            assert [item.content for item in await remote.messages(session_id)] == ["hello"]
            assert (await remote.state_sync()).active_session_id == session_id
            about = await remote.about()
            assert (about.instance_id, about.active_session_id) == (server.instance_id, session_id)
        assert {request["method"] for request in server.requests} >= set(METHODS)
        assert all(isinstance(request["id"], str) for request in server.requests)


async def test_a_missing_method_and_a_refusal_are_reported_in_the_servers_words() -> None:
    with ReferenceServer() as server:
        async with remote_of(server) as remote:
            with pytest.raises(MethodMissing, match=r"antiphon\.read.*ipc: method not found"):
                await remote.read("any")
            with pytest.raises(PeerError, match="session not found"):
                await remote.session("missing")


@pytest.mark.parametrize("missing", [("state.sync",), ("state.sync", "instance.info"), ("instance.info",)])
async def test_what_is_missing_is_asked_for_in_another_way(missing: tuple[str, ...]) -> None:
    with ReferenceServer(without=missing) as server:
        session_id = server.add_session("One")
        async with remote_of(server) as remote:
            state = await remote.state_sync()
            assert ([item.id for item in state.sessions or ()], state.instance_id) == (
                [session_id],
                server.instance_id,
            )
            assert (await remote.about()).session_count == 1


@pytest.mark.parametrize("call_id", ["", None])
async def test_an_error_without_an_id_ends_the_oldest_call_with_its_words(call_id: str | None) -> None:
    context = zmq.asyncio.Context()
    rpc = context.socket(zmq.ROUTER)
    rpc.bind("tcp://127.0.0.1:*")
    endpoint = rpc.getsockopt_string(zmq.LAST_ENDPOINT)
    try:
        async with RemoteInstance(endpoint, endpoint, timeout_s=DEADLINE_S) as remote:
            first = asyncio.create_task(remote.call("one"))
            identity, _, _ = await rpc.recv_multipart()
            second = asyncio.create_task(remote.call("two"))
            _, _, request = await rpc.recv_multipart()
            refusal = {"jsonrpc": "2.0", "id": call_id, "error": {"code": -32700, "message": "the words"}}
            await rpc.send_multipart([identity, b"", json.dumps(refusal).encode()])
            with pytest.raises(PeerError, match="the words"):
                await first
            assert not second.done()
            answer = {"jsonrpc": "2.0", "id": json.loads(request)["id"], "result": 2}
            await rpc.send_multipart([identity, b"", json.dumps(answer).encode()])
            assert await second == 2
    finally:
        rpc.close(linger=0)
        context.term()


async def shown_when(remote: RemoteInstance, session_id: str, *texts: str) -> View:
    async with asyncio.timeout(DEADLINE_S), aclosing(remote.follow(session_id)) as views:
        async for view in views:
            if tuple(message["content"][0]["text"] for message in view.messages) == texts:
                return view
    raise AssertionError("a follower goes on")


async def test_a_session_is_followed_without_filling_and_marked_so() -> None:
    with ReferenceServer(without=("state.sync",)) as server:
        session_id = server.add_session("One")
        server.add_message(session_id, "user", "before")
        server.on_send = lambda session, content: server.answer(session, "wor", "ds")
        previews: list[str] = []
        async with remote_of(server) as remote, aclosing(remote.watch(session_id)) as events:
            view = View()
            async with asyncio.timeout(DEADLINE_S):
                async for event in events:
                    view.apply(event)
                    if isinstance(event, Resync):
                        assert event.may_have_gaps
                        await remote.send(session_id, "now")
                    if isinstance(event, Delta):
                        previews.append(view.draft.text())
                    assert not event.cursor, "there is no place to resume from"
                    if view.messages and view.messages[-1]["role"] == "assistant" and view.status == "waiting":
                        break
        assert view.may_have_gaps
        assert [message["content"][0]["text"] for message in view.messages] == ["before", "now", "words"]
        assert previews == ["wor", "words"]
        assert view.draft.text() == ""


async def test_lost_messages_are_found_by_their_count() -> None:
    with ReferenceServer() as server:
        session_id = server.add_session("One")
        async with remote_of(server) as remote:
            following = asyncio.create_task(shown_when(remote, session_id, "lost", "seen"))
            await wait_until(lambda: any(r["method"] == "message.list" for r in server.requests))
            server.add_message(session_id, "user", "lost", is_published=False)
            server.add_message(session_id, "user", "seen")
            assert (await following).may_have_gaps


@asynccontextmanager
async def steady_tokens(server: ReferenceServer, session_id: str) -> AsyncIterator[None]:
    """A model call of a session that does not end."""

    async def work() -> None:
        while True:
            server.say("llm.token", session_id, {"session_id": session_id, "token": "t"})
            await asyncio.sleep(0.02)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()


@pytest.mark.parametrize("is_own", [False, True])
@pytest.mark.parametrize("lost", [1, 3])
async def test_lost_messages_are_found_while_a_session_streams(is_own: bool, lost: int) -> None:
    with ReferenceServer() as server:
        session_id, other = server.add_session("One"), server.add_session("Two")
        server.add_message(session_id, "user", "first", is_published=False)
        async with remote_of(server) as remote, steady_tokens(server, session_id if is_own else other):
            texts = [f"lost {number}" for number in range(lost)]
            following = asyncio.create_task(shown_when(remote, session_id, "first", *texts))
            await wait_until(lambda: server.subscriptions > 0)
            for text in texts:
                server.add_message(session_id, "user", text, is_published=False)
            await following


@pytest.mark.parametrize("unanswered", [["session.get"], ["message.list"], ["instance.info", "session.get"]])
async def test_the_state_of_a_restarted_server_is_read_until_it_answers(unanswered: list[str]) -> None:
    with ReferenceServer() as server:
        session_id = server.add_session("One")
        server.add_message(session_id, "user", "before", is_published=False)
        async with (
            RemoteInstance(server.pub_endpoint, server.rpc_endpoint, timeout_s=0.5) as remote,
            aclosing(remote.follow(session_id)) as views,
            asyncio.timeout(DEADLINE_S),
        ):
            await anext(views)
            await wait_until(lambda: server.subscriptions > 0)
            server.say("llm.token", session_id, {"session_id": session_id, "token": "t"})
            async for view in views:
                if view.status == "running":
                    break
            server.messages[session_id][0] |= {"id": "other", "content": "after"}
            server.unanswered = list(unanswered)
            server.instance_id = "another"
            server.say("instance.heartbeat", "", {})
            async for view in views:
                if [message["content"][0]["text"] for message in view.messages] == ["after"]:
                    break
            assert view.status == "waiting", "the turn ended with its server"
        assert server.unanswered == []


async def test_a_watch_and_a_client_use_the_log_once_the_server_is_upgraded(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_endpoint(data) as (instance, endpoint):
        endpoints = (endpoint.pub_endpoint, endpoint.rpc_endpoint)
        session_id = (await instance.chats.create(title="Real")).chat_id
    local = Endpoints(pub=endpoints[0], rpc=endpoints[1])
    async with (
        RemoteInstance(*endpoints, timeout_s=1) as remote,
        AsyncClient.local(local) as client,
        aclosing(remote.watch(session_id)) as events,
        asyncio.timeout(DEADLINE_S),
    ):
        with ReferenceServer(endpoints=endpoints) as server:
            server.sessions[session_id] = server.sessions.pop(server.add_session("Plain")) | {"id": session_id}
            server.messages[session_id] = []
            async for event in events:
                if isinstance(event, CaughtUp):
                    break
            assert [chat["title"] for chat in (await client.chats())["chats"]] == ["Plain"]
        async with open_endpoint(data) as (instance, _):
            async for event in events:
                if isinstance(event, Resync) and not event.may_have_gaps:
                    break
            await instance.chats.send(session_id, "hello")
            async for event in events:
                if event.cursor and isinstance(event, FactEvent):
                    break
            assert (await client.chats())["chats"][0]["title"] == "Real"
            await client.delete_chat(session_id)


async def test_a_shorter_history_is_read_again_as_a_whole() -> None:
    with ReferenceServer() as server:
        session_id = server.add_session("One")
        for text in ("a", "b"):
            server.add_message(session_id, "user", text, is_published=False)
        async with remote_of(server) as remote:
            following = asyncio.create_task(shown_when(remote, session_id, "c"))
            await wait_until(lambda: server.subscriptions > 0)
            server.messages[session_id].clear()
            server.sessions[session_id]["message_count"] = 0
            server.add_message(session_id, "user", "c", is_published=False)
            await following


async def test_without_a_list_of_messages_only_what_comes_is_shown() -> None:
    with ReferenceServer(without=("message.list", "state.sync", "instance.info")) as server:
        session_id = server.add_session("One")
        server.add_message(session_id, "user", "before", is_published=False)
        async with remote_of(server) as remote:
            following = asyncio.create_task(shown_when(remote, session_id, "after"))
            await wait_until(lambda: server.subscriptions > 0)
            server.add_message(session_id, "user", "after")
            view = await following
            assert view.has_more, "earlier messages are not shown"


async def test_an_interrupted_call_keeps_what_was_sent_and_ends_the_turn() -> None:
    with ReferenceServer() as server:
        session_id = server.add_session("One")
        async with remote_of(server) as remote, aclosing(remote.watch(session_id)) as events:
            view = View()
            async with asyncio.timeout(DEADLINE_S):
                async for event in events:
                    view.apply(event)
                    if isinstance(event, Resync):
                        server.say("llm.start", session_id, {"session_id": session_id})
                        server.say("llm.token", session_id, {"session_id": session_id, "token": "par"})
                    if isinstance(event, Delta):
                        assert view.status == "running"
                        assert view.turn_id is not None
                        server.say("llm.end", session_id, {"session_id": session_id})
                    if isinstance(event, FactEvent) and event.type == "turn_ended":
                        break
            assert (view.status, view.draft.text()) == ("waiting", "par")


async def test_a_session_that_is_gone_ends_the_watch_and_a_false_deletion_does_not() -> None:
    with ReferenceServer() as server:
        session_id = server.add_session("One")
        async with remote_of(server) as remote, aclosing(remote.watch(session_id)) as events:
            async with asyncio.timeout(DEADLINE_S):
                async for event in events:
                    if isinstance(event, Resync):
                        server.say("session.deleted", session_id, server.sessions[session_id])
                        server.add_message(session_id, "user", "still here")
                    if isinstance(event, FactEvent):
                        gone = server.sessions.pop(session_id)
                        server.say("session.deleted", session_id, gone)
            assert event.type == "bye"


async def test_a_client_of_such_a_server_does_what_it_can_and_refuses_the_rest_by_name() -> None:
    with ReferenceServer() as server:
        session_id = server.add_session("One")
        local = Endpoints(pub=server.pub_endpoint, rpc=server.rpc_endpoint)
        async with AsyncClient.local(local) as client:
            assert [chat["title"] for chat in (await client.chats())["chats"]] == ["One"]
            assert (await client.chat(session_id))["id"] == session_id
            await client.send(session_id, "hello")
            page = await client.messages(session_id)
            assert [message["content"] for message in page["messages"]] == [[{"type": "text", "text": "hello"}]]
            await client.interrupt(session_id, 1)
            assert server.interrupted == [session_id]
            with pytest.raises(Refused, match="DELETE"):
                await client.delete_chat(session_id)
            with pytest.raises(Refused, match="text"):
                await client.send(session_id, [{"type": "file", "media_type": "text/plain", "data": "aGk="}])
