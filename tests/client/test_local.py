"""A client over ZeroMQ: the same methods and results as over HTTP, also across a takeover."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.client import AsyncClient, Client
from antiphon.client.local import Endpoints
from antiphon.core.events import Bye, CaughtUp, Event, FactEvent
from antiphon.core.view import View
from antiphon.errors import Conflict, Forbidden, Invalid, NotFound
from antiphon.local.lock import read_instance_file
from support.waiting import wait_until_sync

from .servers import ServerProcess


def endpoints(server: ServerProcess) -> Endpoints:
    found = read_instance_file(server.data)
    assert found is not None
    found_endpoints = Endpoints.of(found.pub_endpoint, found.rpc_endpoint, found.keys)
    assert found_endpoints is not None
    return found_endpoints


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("local") / "data", "--drain-s", "0")
    yield running
    assert running.stop() == 0


@pytest.fixture
def local(server: ServerProcess) -> Iterator[Client]:
    with Client.local(endpoints(server)) as client:
        yield client


@pytest.fixture
def remote(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url, server.token) as client:
        yield client


def watched(client: Client, chat_id: str, **how: object) -> list[Event]:
    with contextlib.closing(client.watch(chat_id, until_idle=True, **how)) as events:  # type: ignore[arg-type]
        return list(events)


def test_both_transports_give_the_same_results(local: Client, remote: Client) -> None:
    chat = local.create_chat("/say one", title="first", labels={"a": "b"})
    watched(local, chat["id"])
    assert local.chat(chat["id"]) == remote.chat(chat["id"])
    assert local.messages(chat["id"]) == remote.messages(chat["id"])
    assert local.chats(title="first") == remote.chats(title="first")
    assert local.update_chat(chat["id"], title="second")["title"] == "second"
    with pytest.raises(Forbidden):
        local.tokens()


def test_both_transports_refuse_the_same(local: Client, remote: Client) -> None:
    chat = local.create_chat()
    for client in (local, remote):
        with pytest.raises(NotFound):
            client.chat("nothing")
        with pytest.raises(Invalid):
            client.send(chat["id"], "x", when_busy="never")  # type: ignore[arg-type]
        with pytest.raises(NotFound):
            client.edit_queued(chat["id"], 99, "x")
        client.send(chat["id"], "/say x", client_message_id="one")
        with pytest.raises(Conflict):
            client.send(chat["id"], "/say y", client_message_id="one")
    local.delete_chat(chat["id"])
    with pytest.raises(NotFound):
        watched(local, chat["id"])


def test_a_watch_yields_the_events_of_the_stream(local: Client, remote: Client) -> None:
    chat = local.create_chat("/say one two")
    watched(local, chat["id"])
    one, other = (watched(client, chat["id"], after="0") for client in (local, remote))
    assert [event for event in one if isinstance(event, FactEvent)] == [
        event for event in other if isinstance(event, FactEvent)
    ]
    assert isinstance(one[-1], Bye)
    assert one[-1].reason == "idle"
    assert sum(isinstance(event, CaughtUp) for event in one) == 1
    cursor = one[2].cursor
    assert [e.seq for e in watched(local, chat["id"], after=cursor) if isinstance(e, FactEvent)] == [
        e.seq for e in watched(remote, chat["id"], after=cursor) if isinstance(e, FactEvent)
    ]
    views = []
    for client in (local, remote):
        with contextlib.closing(client.watch_view(chat["id"], until_idle=True)) as shown:
            views.append(list(shown)[-1])
    assert views[0].messages == views[1].messages


def test_a_queued_message_is_yielded_while_text_is_streamed(local: Client, remote: Client) -> None:
    """No topic of the reference protocol has it."""
    chat = remote.create_chat("/rate 50\n/tokens 100000")
    view = View()
    with contextlib.closing(local.watch(chat["id"])) as events:
        for event in events:
            view.apply(event)
            if len(view.draft.text()) > 20 and not view.queued_messages:
                remote.send(chat["id"], "/say behind")
                break
        for event in events:
            view.apply(event)
            if view.queued_messages:
                break
    assert view.turn_id is not None
    remote.interrupt(chat["id"], view.turn_id, clear_queue=True)


def test_a_client_continues_with_the_instance_that_takes_over(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--drain-s", "0")
    with Client.local(endpoints(server)) as client:
        chat = client.create_chat("/rate 40\n/tokens 60")
        events: list[Event] = []
        reading = threading.Thread(target=lambda: events.extend(_watch_apart(server, chat["id"])))
        reading.start()
        wait_until_sync(lambda: client.chat(chat["id"])["seq"] >= 3, what="it is answered")
        server.kill()
        other = ServerProcess(tmp_path / "data", "--drain-s", "0")
        try:
            sent = client.send(chat["id"], "/say and on")
            assert "seq" in sent
            reading.join(30)
            assert not reading.is_alive()
            seqs = [event.seq for event in events if isinstance(event, FactEvent)]
            assert seqs == list(range(1, len(seqs) + 1))
            texts = [m["content"][0]["text"] for m in client.messages(chat["id"])["messages"]]
            assert texts[-1] == "and on"
        finally:
            other.stop()


def _watch_apart(server: ServerProcess, chat_id: str) -> list[Event]:
    """From the beginning, until `and on` was answered."""
    with Client.local(endpoints(server)) as client, contextlib.closing(client.watch(chat_id, after="0")) as events:
        seen = []
        for event in events:
            seen.append(event)
            if isinstance(event, FactEvent) and event.type == "message_appended":
                message = event.data["message"]
                if message["role"] == "assistant" and message["content"][0].get("text") == "and on":
                    return seen
    raise AssertionError("a watch goes on")


@pytest.mark.anyio
async def test_a_feed_is_only_available_over_http(server: ServerProcess) -> None:
    async with AsyncClient.local(endpoints(server)) as client:
        assert (await client.create_chat(title="async"))["title"] == "async"
        with pytest.raises(Invalid):
            await anext(client.feed())
