"""Calls and watches of a remote instance: limits, key files, lost connections and silent peers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zmq
import zmq.asyncio

from antiphon.client.errors import AnswerLost
from antiphon.client.follow import FollowChat
from antiphon.client.local import AsyncLocalConnection, Endpoints
from antiphon.client.zmq import RemoteInstance
from antiphon.core.events import Bye, Event
from antiphon.errors import AntiphonError, Invalid, TooLarge
from antiphon.local import discovery
from antiphon.local.discovery import Announcement, announce
from antiphon.local.keys import Keys, create_keys, read_keys, write_keys
from support.waiting import DEADLINE_S, wait_until

from .peers import Peer, open_endpoint

pytestmark = pytest.mark.anyio

ANSWER_BYTES_MAX = 16 * 1024 * 1024


async def test_a_batch_answer_stays_below_the_answer_limit(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint) as peer:
        instance.worker.pause()
        done = await instance.chats.create(content="x" * 3_000_000)
        call = {"jsonrpc": "2.0", "id": 1, "method": "message.list", "params": {"session_id": done.chat_id}}
        await peer.send([call] * 8)
        async with asyncio.timeout(DEADLINE_S):
            answer = (await peer.rpc.recv_multipart())[-1]
        assert len(answer) <= ANSWER_BYTES_MAX


async def test_every_request_is_answered_with_json(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        answer = await peer.ask("antiphon.request", {"method": "GET", "path": "/metrics"})
        assert answer["status"] in (200, 404)


async def test_a_remote_instance_may_be_closed_twice(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint):
        remote = RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint)
        await remote.ping()
        await remote.aclose()
        await remote.aclose()


class LateStatus(AsyncLocalConnection):
    """Its second question arrives after the turn has ended."""

    async def _status(self, chat_id: str, cursor: str) -> str:
        while (await self._remote.request("GET", f"/api/v1/chats/{chat_id}")).body["status"] == "running":
            await asyncio.sleep(0.01)
        return await super()._status(chat_id, cursor)


async def test_a_watch_until_idle_ends_with_the_last_fact(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint):
        endpoints = Endpoints(pub=endpoint.pub_endpoint, rpc=endpoint.rpc_endpoint)
        chat_id = (await instance.chats.create(content="/rate 20\n/tokens 8")).chat_id
        async with RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint) as remote:
            await wait_until(lambda: (draft := instance.drafts.get(chat_id)) is not None and draft.position > 1)
            cursor = (await remote.read(chat_id, "0")).cursor
        local = LateStatus(endpoints)
        try:
            stream = FollowChat(chat_id, after=cursor, until_idle=True, by_ref=False, random=Random(1))
            seen: list[Event] = []
            async with asyncio.timeout(DEADLINE_S):
                async for event in local.follow(stream):
                    seen.append(event)
        finally:
            await local.aclose()
        assert isinstance(seen[-1], Bye)
        chat = await instance.chats.get(chat_id)
        assert max(int(event.cursor.split(".")[0]) for event in seen if event.cursor) == chat.seq


async def test_a_message_count_older_than_an_append_is_discarded(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint) as peer:
        await peer.wait_subscribed(endpoint)
        await wait_until(lambda: not endpoint.publisher._is_list_changed)
        instance.worker.pause()
        done = await instance.chats.create(title="counted")
        await peer.until("session.update", id=done.chat_id)
        endpoint.publisher._counts.clear()  # as after a restart
        store, read, goes_on = instance.store, asyncio.Event(), asyncio.Event()
        real = store.count_messages

        async def count_slowly(chat_id: str) -> int:
            count = await real(chat_id)
            is_first = not read.is_set()
            read.set()
            if is_first:
                await goes_on.wait()
            else:
                goes_on.set()
                await asyncio.sleep(0.05)
            return count

        store.count_messages = count_slowly  # type: ignore[method-assign]
        first = asyncio.create_task(endpoint.publisher.payload_of(done.chat_id, done.chat))
        await read.wait()
        await instance.chats.send(done.chat_id, "one more")
        await first
        await wait_until(lambda: endpoint.publisher._counts.get(done.chat_id) is not None)
        session = await peer.ask("session.get", {"session_id": done.chat_id})
        assert session["message_count"] == await real(done.chat_id)


async def test_an_invalid_key_is_reported(tmp_path: Path) -> None:
    """Forty characters of the alphabet need not be 32 bytes."""
    file = tmp_path / "keys"
    write_keys(file, Keys(public="#" * 40, secret="#" * 40))
    with pytest.raises(Invalid):
        read_keys(file)


async def test_a_repaired_keys_file_admits_its_peers_again(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys = create_keys(file)
    whole = file.read_bytes()
    async with open_endpoint(tmp_path / "data", bus_tcp=True, keys=str(file)) as (_, endpoint):

        async def is_let_in() -> bool:
            remote = RemoteInstance(
                endpoint.pub_endpoint, endpoint.rpc_endpoint, timeout_s=2, keys=keys, server_key=keys.public
            )
            async with remote:
                with contextlib.suppress(AntiphonError):
                    return (await remote.ping()).status == "ok"
            return False

        await wait_until(is_let_in)
        file.write_bytes(b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"," + whole[1:])
        await is_let_in()
        file.write_bytes(whole)
        await wait_until(is_let_in)


async def test_an_unsent_call_survives_a_broken_connection(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint):
        behind, front, connections = endpoint.rpc_endpoint.removeprefix("ipc://"), str(tmp_path / "front"), 0

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
            writer.close()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            if connections == 1:  # it is gone before it has greeted
                await asyncio.sleep(0.2)
                writer.close()
                return
            inner_reader, inner_writer = await asyncio.open_unix_connection(behind)
            await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

        server = await asyncio.start_unix_server(accept, front)
        try:
            async with RemoteInstance(endpoint.pub_endpoint, f"ipc://{front}") as remote:
                try:
                    await remote.create_session(title="once")
                except AnswerLost:
                    pytest.fail("it was not sent yet, and is sent afterwards")
        finally:
            server.close()


def free_pair() -> tuple[int, int]:
    """Two ports beneath those that connections are given, so that they stay free while no socket is bound to them."""
    rnd = Random()
    while True:
        port = rnd.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 1))
            return port, port + 1


async def test_an_instance_of_another_project_at_the_same_address_deletes_no_chats(tmp_path: Path) -> None:
    ports = free_pair()
    seen: list[Event] = []
    async with contextlib.AsyncExitStack() as stack:
        async with open_endpoint(tmp_path / "one" / "data", bus_tcp=True, bus_ports=ports) as (instance, endpoint):
            chat_id = (await instance.chats.create(title="here")).chat_id
            remote = await stack.enter_async_context(
                RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint, timeout_s=2)
            )

            async def watch() -> None:
                async for event in remote.watch(chat_id):
                    seen.append(event)

            watching = asyncio.create_task(watch())
            await wait_until(lambda: len(seen) >= 2)
        try:
            async with open_endpoint(tmp_path / "two" / "data", bus_tcp=True, bus_ports=ports):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        await asyncio.shield(watching)
            assert not any(isinstance(event, Bye) for event in seen)
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def test_a_request_too_large_for_the_socket_is_refused_as_over_http(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint):
        chat_id = (await instance.chats.create(title="small")).chat_id
        async with RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint) as remote:
            with pytest.raises(TooLarge):
                await remote.send(chat_id, "x" * 10_000_000)


def test_an_unreadable_announcement_of_a_live_process_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor left, say: only what is readable and wrong, or whose process is gone, may go."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    about = {"role": "primary", "version": "0", "project_id": "/", "data": "/x", "started_at": "2026"}
    announce(Announcement(instance_id="3f6a3b9e", pid=os.getpid(), **about))

    def out_of_descriptors(path: Path, kind: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as scarce:
        scarce.setattr(discovery, "read_value", out_of_descriptors)
        discovery.announced()
    assert [item.instance_id for item in discovery.announced()] == ["3f6a3b9e"]


@asynccontextmanager
async def silent_instance(folder: Path) -> AsyncIterator[str]:
    """One that is announced and connected to, and answers nothing."""
    context: Any = zmq.asyncio.Context()
    sockets = [context.socket(zmq.PUB), context.socket(zmq.ROUTER)]
    for bound, name in zip(sockets, ("p", "r"), strict=True):
        bound.bind(f"ipc://{folder / name}")
    about = {"role": "primary", "version": "0", "project_id": "/", "data": "/x", "started_at": "2026"}
    instance_id = "3f6a3b9e-0000-4000-8000-0000000051e7"
    announce(
        Announcement(
            instance_id=instance_id,
            pid=os.getpid(),
            pub_endpoint=f"ipc://{folder / 'p'}",
            rpc_endpoint=f"ipc://{folder / 'r'}",
            **about,
        )
    )
    try:
        yield instance_id
    finally:
        context.destroy(linger=0)


async def test_calls_about_a_silent_instance_delay_no_other_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runtime := tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    async with (
        open_endpoint(tmp_path / "data") as (_, endpoint),
        silent_instance(tmp_path) as silent,
        Peer(endpoint) as slow,
        Peer(endpoint) as quick,
    ):
        await quick.ask("instance.ping")
        path, body = f"/api/v1/instances/{silent}/activate", {"session_id": "x"}
        params = {"method": "POST", "path": path, "body": body}
        for number in range(70):
            await slow.send({"jsonrpc": "2.0", "id": number, "method": "antiphon.request", "params": params})
        await quick.ask("instance.ping")
        for _ in range(70):
            answer = await slow.answer()
            assert (answer["result"]["status"], answer["result"]["body"]["error"]["code"]) == (403, "forbidden")


async def test_an_answer_is_read_although_its_wake_up_is_lost(tmp_path: Path) -> None:
    """The descriptor's number was another socket's before, and the loop does not hear of it."""
    async with (
        open_endpoint(tmp_path / "data") as (instance, endpoint),
        RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint, timeout_s=DEADLINE_S) as remote,
    ):
        await remote.ping()
        remote._calls._socket._clear_io_state()  # type: ignore[no-untyped-call]
        assert (await remote.ping()).instance_id == instance.instance_id
