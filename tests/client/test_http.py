"""The clients' requests against a real server."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from pathlib import Path
from random import Random

import pytest

from antiphon import errors as e
from antiphon.client import AnswerLost, AsyncClient, Client
from antiphon.client.errors import NoUpstream
from antiphon.core.parts import FileReference, Text
from support.ports import free_port

from .servers import Proxy, ServerProcess, script

pytestmark = pytest.mark.anyio

SLOW = script("/rate 20", "/tokens 2000")


async def settled(client: AsyncClient, chat_id: str) -> list[str]:
    """The texts of all messages, once the chat is idle."""
    async for _ in client.watch(chat_id, until_idle=True):
        pass
    return texts((await client.messages(chat_id))["messages"])


def texts(messages: list) -> list[str]:
    return ["".join(part.get("text", "") for part in message["content"]) for message in messages]


async def test_a_chat_is_made_answered_listed_changed_and_deleted(client: AsyncClient) -> None:
    chat = await client.create_chat("/say Hello", title="A title", labels={"kind": "test"}, system="Be kind")
    assert await settled(client, chat["id"]) == ["/say Hello", "Hello"]
    assert (await client.chat(chat["id"]))["status"] == "waiting"
    assert await client.state(chat["id"]) == {"state": {}, "seq": 0}

    changed = await client.update_chat(chat["id"], title="", labels={"kind": "other"}, pin_order=3)
    assert (changed["title"], changed["labels"], changed["pin_order"]) == ("", {"kind": "other"}, 3)
    page = await client.chats(label="kind:other", limit=1)
    assert [found["id"] for found in page["chats"]] == [chat["id"]]
    await client.update_chat(chat["id"], archived=True)
    assert (await client.chats(label="kind:other"))["chats"] == []
    assert len((await client.chats(label="kind:other", archived=True))["chats"]) == 1

    await client.delete_chat(chat["id"])
    with pytest.raises(e.NotFound):
        await client.chat(chat["id"])


async def test_lists_have_pages(client: AsyncClient) -> None:
    made = [(await client.create_chat(title=f"paged {i}"))["id"] for i in range(5)]
    found, after = [], None
    for _ in range(3):
        page = await client.chats(title="paged", limit=2, after=after)
        found += [chat["id"] for chat in page["chats"]]
        after = page["next"]
    assert found == made[::-1]
    assert after is None


async def test_messages_have_pages(client: AsyncClient) -> None:
    chat_id = (await client.create_chat())["id"]
    for i in range(3):
        await client.send(chat_id, f"/say {i}")
        await settled(client, chat_id)
    newest = await client.messages(chat_id, limit=2)
    assert (texts(newest["messages"]), newest["has_more"]) == (["/say 2", "2"], True)
    before = await client.messages(chat_id, before_id=newest["messages"][0]["id"], limit=10)
    assert (texts(before["messages"]), before["has_more"]) == (["/say 0", "0", "/say 1", "1"], False)
    after = await client.messages(chat_id, after_id=before["messages"][-1]["id"])
    assert texts(after["messages"]) == ["/say 2", "2"]


async def test_content_may_be_parts_or_their_json(client: AsyncClient) -> None:
    chat_id = (await client.create_chat())["id"]
    reference = FileReference(file_name="a.py", start_line=1, end_line=2, content="x = 1")
    sent = await client.send(chat_id, [Text("/say ok"), reference])
    assert [part["type"] for part in sent["message"]["content"]] == ["text", "file-reference"]
    await settled(client, chat_id)
    again = await client.send(chat_id, [{"type": "text", "text": "/say \ud800"}, {"type": "input_text", "text": "x"}])
    assert [part["text"] for part in again["message"]["content"]] == ["/say \ufffd", "x"]
    with pytest.raises(e.Invalid, match="not 'newer'"):
        await client.send(chat_id, [{"type": "newer", "x": 1}])


async def test_the_queue_is_edited_moved_promoted_and_emptied(client: AsyncClient) -> None:
    chat_id = (await client.create_chat(SLOW))["id"]
    ids = [(await client.send(chat_id, f"/say {name}"))["queued_message"]["id"] for name in "abcd"]
    await client.edit_queued(chat_id, ids[0], "/say A")
    await client.move_queued(chat_id, ids[0])
    await client.move_queued(chat_id, ids[2], before=ids[1])
    await client.delete_queued(chat_id, ids[3])
    waiting = (await client.messages(chat_id))["queued_messages"]
    assert texts(waiting) == ["/say c", "/say b", "/say A"]
    await client.promote_queued(chat_id, ids[1])
    assert (await settled(client, chat_id))[-6:] == ["/say b", "b", "/say c", "c", "/say A", "A"]
    with pytest.raises(e.AlreadyDelivered) as refused:
        await client.edit_queued(chat_id, ids[1], "too late")
    assert refused.value.queued_id == ids[1]


async def test_turns_are_interrupted_retried_and_edited(client: AsyncClient) -> None:
    chat = await client.create_chat(SLOW)
    chat_id, turn_id = chat["id"], chat["turn_id"] or 2
    assert (await client.interrupt(chat_id, turn_id + 100))["interrupted"] is False
    assert (await client.interrupt(chat_id, turn_id))["interrupted"] is True
    await settled(client, chat_id)
    edited = await client.edit(chat_id, turn_id, "/say better")
    assert await settled(client, chat_id) == ["/say better", "better"]
    again = await client.retry(chat_id)
    assert again["turn_id"] == edited["message"]["id"]
    assert await settled(client, chat_id) == ["/say better", "better"]


async def test_refusals_are_the_classes_their_codes_name(client: AsyncClient, server: ServerProcess) -> None:
    chat_id = (await client.create_chat(SLOW))["id"]
    with pytest.raises(e.Busy) as busy:
        await client.send(chat_id, "now", when_busy="reject")
    assert busy.value.status == "running"
    assert str(busy.value) == str(e.Busy("running"))
    with pytest.raises(e.Busy):
        await client.retry(chat_id)
    with pytest.raises(e.TooLarge) as large:
        await client.send(chat_id, "x" * (4 * 1024 * 1024))
    assert large.value.limit == 4 * 1024 * 1024
    with pytest.raises(e.Invalid) as invalid:
        await client.send(chat_id, "")
    assert invalid.value.field == "content"
    with pytest.raises(e.NotFound):
        await client.chat("../../healthz")
    with pytest.raises(e.CursorInvalid):
        async for _ in client.watch(chat_id, after="999"):
            pass
    with pytest.raises(e.NotFound):
        async for _ in client.watch(str(uuid.uuid4())):
            pass
    async with AsyncClient(server.url, "wrong") as stranger:
        with pytest.raises(e.Unauthenticated):
            await stranger.chats()
        with pytest.raises(e.Unauthenticated):
            async for _ in stranger.watch(chat_id):
                pass
    await client.interrupt(chat_id, 2)


async def test_tokens_are_the_admins(client: AsyncClient, server: ServerProcess) -> None:
    made = await client.create_token("bob")
    async with AsyncClient(server.url, made["token"]) as bob:
        assert (await bob.chats())["chats"] == []
        with pytest.raises(e.Forbidden):
            await bob.tokens()
        await client.revoke_token(made["id"])
        with pytest.raises(e.Unauthenticated):
            await bob.chats()
    listed = {token["id"]: token for token in await client.tokens()}
    assert listed[made["id"]]["revoked_at"] is not None
    assert "token" not in listed[made["id"]]


async def test_configuration_is_read_by_all_and_written_by_admins(client: AsyncClient, server: ServerProcess) -> None:
    provider = await client.create_provider("acme", base_url="https://models.example.com", secret="env:K")
    assert provider["has_secret"]
    moved = await client.change_provider(provider["id"], base_url="https://other.example.com", is_enabled=False)
    assert (moved["has_secret"], moved["is_enabled"], moved["name"]) == (False, False, "acme")
    config = await client.create_model_config("careful", "acme:large", parameters={"temperature": 0})
    changed = await client.change_model_config(config["id"], is_default=True)
    assert changed == config | {"is_default": True, "updated_at": changed["updated_at"]}
    made = await client.create_token("dora")
    async with AsyncClient(server.url, made["token"]) as dora:
        assert [item["name"] for item in await dora.providers()] == ["acme"]
        assert await dora.model_configs() == [changed]
        with pytest.raises(e.Forbidden):
            await dora.create_provider("mine", kind="rehearsal")
        assert (await dora.set_prompt("Be brief."))["prompt"] == "Be brief."
    assert (await client.prompt())["prompt"] == ""
    await client.delete_prompt()
    await client.delete_model_config(config["id"])
    await client.delete_provider(provider["id"])
    with pytest.raises(e.NotFound):
        await client.delete_provider(provider["id"])


def test_the_blocking_client_configures_with_the_same_methods(blocking: Client) -> None:
    provider = blocking.create_provider("blocked", kind="rehearsal")
    config = blocking.create_model_config("Blocked", "blocked:any")
    assert blocking.change_provider(provider["id"], name="b")["name"] == "b"
    assert blocking.change_model_config(config["id"], model="b:any")["model"] == "b:any"
    assert provider["id"] in [item["id"] for item in blocking.providers()]
    assert config["id"] in [item["id"] for item in blocking.model_configs()]
    assert blocking.set_prompt("Be brief.") == blocking.prompt()
    blocking.delete_prompt()
    blocking.delete_model_config(config["id"])
    blocking.delete_provider(provider["id"])


async def test_a_client_id_makes_a_repeated_request_idempotent(client: AsyncClient) -> None:
    chat_id = str(uuid.uuid4())
    first = await client.create_chat("/say once", id=chat_id)
    assert (await client.create_chat("/say once", id=chat_id))["id"] == first["id"] == chat_id
    sent = await client.send(chat_id, "/say twice", client_message_id="mine")
    assert await client.send(chat_id, "/say twice", client_message_id="mine") == sent
    with pytest.raises(e.Conflict):
        await client.send(chat_id, "/say other", client_message_id="mine")
    assert (await settled(client, chat_id)).count("/say twice") == 1


async def test_a_send_is_repeated_until_it_is_answered_and_arrives_once(server: ServerProcess) -> None:
    """The first connections are broken before, in, and after the answer's first byte."""
    cuts = iter([1, 30, 100, 1, 30])
    with Proxy(server.port, lambda: next(cuts, None)) as proxy:
        async with AsyncClient(proxy.url, server.token, random=Random(2)) as client:
            chat_id = (await client.create_chat())["id"]
            sent = await client.send(chat_id, "/say once")
            assert "message" in sent
            assert proxy.connections >= 6
            assert await settled(client, chat_id) == ["/say once", "once"]


async def test_other_commands_are_not_repeated(server: ServerProcess) -> None:
    with Proxy(server.port, lambda: 1) as proxy:
        async with AsyncClient(proxy.url, server.token) as client:
            with pytest.raises(AnswerLost):
                await client.interrupt(str(uuid.uuid4()), 2)
            with pytest.raises(AnswerLost):
                await client.chats()
            assert proxy.connections == 2


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_read_that_a_proxy_answered_is_repeated_and_a_command_is_not(status: int) -> None:
    """As while replicas are exchanged behind a proxy."""
    bad = b"HTTP/1.1 %d Bad\r\ncontent-length: 5\r\nconnection: close\r\n\r\n<html" % status
    body = b'{"chats":[],"next":null}'
    good = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    answers = [bad, bad, good, bad]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, AsyncClient(url, "t", random=Random(1)) as client:
        assert await client.chats() == {"chats": [], "next": None}
        with pytest.raises(NoUpstream, match=str(status)):
            await client.interrupt(str(uuid.uuid4()), 2)
        assert answers == []


async def test_a_missing_instance_is_reported_at_once_or_after_the_retries() -> None:
    async with AsyncClient(f"http://127.0.0.1:{free_port()}", "t", retry_s=0.3) as client:
        with pytest.raises(e.InstanceMissing, match="no instance answers"):
            await client.healthz()
        with pytest.raises(e.InstanceMissing):
            await client.send("abc", "hello")


async def test_an_answer_that_does_not_come_is_lost(server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        proxy.holds_back = True
        async with AsyncClient(proxy.url, server.token, timeout_s=0.2) as client:
            with pytest.raises(AnswerLost, match="did not respond in time"):
                await client.healthz()


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://x", "http://", "http://a:b:c"])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(e.Invalid):
        AsyncClient(url)


async def test_proxies_of_the_environment_are_not_used_on_this_machine(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
    async with AsyncClient(server.url + "/", server.token) as client:
        assert (await client.healthz())["instance_id"] == server.instance_id


def test_the_blocking_client_does_the_same(blocking: Client) -> None:
    chat = blocking.create_chat("/say Hello")
    events = list(blocking.watch(chat["id"], after="0", until_idle=True))
    assert [event.reason for event in events if hasattr(event, "reason")] == ["idle"]
    assert texts(blocking.messages(chat["id"])["messages"]) == ["/say Hello", "Hello"]
    with pytest.raises(e.NotFound):
        blocking.chat(str(uuid.uuid4()))


async def test_https_is_checked(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for i, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(tmp_path / "cert.pem", append=i > 0)
    options = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    server = ServerProcess(tmp_path / "data", *options)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    try:
        async with AsyncClient(server.url, server.token, verify=context) as client:
            assert (await client.healthz())["instance_id"] == server.instance_id
        async with AsyncClient(server.url, server.token) as client:
            with pytest.raises(e.InstanceMissing, match="certificate"):
                await client.healthz()
    finally:
        server.stop()
