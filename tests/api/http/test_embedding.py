"""An instance inside another program: typed values, all commands, tokens, and the program's own sign-in."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from antiphon import Text, Turn, open_instance
from antiphon.api.embedded import EmbeddedChats
from antiphon.api.http.operations import OPERATIONS
from antiphon.core.events import Bye, CaughtUp, Delta, FactEvent, Resync
from antiphon.core.model import Status
from antiphon.core.parts import Role
from antiphon.core.view import View
from antiphon.errors import Forbidden, NotFound
from antiphon.options import GivenOptions, Options

pytestmark = pytest.mark.anyio

LOCAL = "http://127.0.0.1"


async def echo(turn: Turn):
    yield "You said: "
    yield turn.messages[-1].content[0].text


def client_of(app: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=LOCAL)


# --- typed values


async def test_messages_in_process_are_typed_values() -> None:
    async with open_instance(agent=echo, drain_s=0) as antiphon:
        started = await antiphon.chats.create(content="hi")
        events = [event async for event in antiphon.chats.watch(started.chat_id, until_idle=True)]
        page = await antiphon.chats.messages(started.chat_id)
    asked, answer = page.messages
    assert (asked.role, asked.content, asked.text) == (Role.USER, (Text("hi"),), "hi")
    assert (answer.role, answer.text, answer.turn_id) == (Role.ASSISTANT, "You said: hi", asked.id)
    assert isinstance(events[0], Resync)
    assert all(isinstance(event, Resync | Delta | FactEvent | CaughtUp | Bye) for event in events)
    assert isinstance(events[-1], Bye)


async def test_events_in_process_fold_into_a_view_and_resume_by_their_cursor() -> None:
    async with open_instance(agent=echo, drain_s=0) as antiphon:
        started = await antiphon.chats.create(content="hi")
        events = [event async for event in antiphon.chats.watch(started.chat_id, after="0", until_idle=True)]
        view = View()
        for event in events:
            view.apply(event)
        assert view.messages[-1]["content"][0]["text"] == "You said: hi"
        cursor = next(event.cursor for event in reversed(events) if event.cursor)
        rest = [event async for event in antiphon.chats.watch(started.chat_id, after=cursor, until_idle=True)]
        assert [event.type for event in rest] == ["caught_up", "bye"]


async def test_queued_messages_in_process_are_typed_values() -> None:
    async with open_instance(drain_s=0) as antiphon:
        started = await antiphon.chats.create(content="/stall 600")
        await antiphon.chats.send(started.chat_id, "waits")
        (queued,) = (await antiphon.chats.messages(started.chat_id)).queued
        assert (queued.text, queued.promoted) == ("waits", False)


# --- all commands


NAMES = {
    "create_chat": "create",
    "list_chats": "list",
    "get_chat": "get",
    "get_state": "state",
    "delete_chat": "delete",
    "list_messages": "messages",
    "send_message": "send",
    "edit_message": "edit",
    "stream": "watch",
    "decide_call": "approve",
    "read_chat": "mark_read",
    "change_chat": "rename",
    "fork_chat": "fork",
    "list_versions": "versions",
    "export_chat": "iter_messages",
}
"""Where a route and its method have different names."""


def test_every_route_of_a_chat_has_a_method_in_process() -> None:
    routes = [operation for operation in OPERATIONS if re.match(r"/chats\b", operation.path)]
    assert len(routes) > 15
    missing = [o.name for o in routes if not callable(getattr(EmbeddedChats, NAMES.get(o.name, o.name), None))]
    assert missing == []


async def test_commands_in_process_do_what_the_routes_do() -> None:
    async with open_instance(drain_s=0) as antiphon:
        chats = antiphon.chats
        chat_id = (await chats.create(content="/stall 600")).chat_id
        first, second = [(await chats.send(chat_id, text)).entries[-1].seq for text in ("/stall 601", "two")]
        await chats.move_queued(chat_id, first, None)
        await chats.delete_queued(chat_id, second)
        assert [item.id for item in (await chats.messages(chat_id)).queued] == [first]
        await chats.promote_queued(chat_id, first)
        await chats.rename(chat_id, "a title")
        await chats.set_labels(chat_id, {"k": "v"})
        await chats.set_pin(chat_id, 3)
        await chats.set_model(chat_id, "rehearsal")
        await chats.set_system(chat_id, "be brief")
        chat = await chats.get(chat_id)
        assert (chat.title, chat.labels, chat.pin_order, chat.model, chat.system) == (
            "a title", {"k": "v"}, 3, "rehearsal", "be brief",
        )  # fmt: skip
        assert await chats.mark_read(chat_id) == chat.seq
        alice = antiphon.chats_of(await antiphon.owner_id_of("alice"))
        with pytest.raises(NotFound):
            await alice.rename(chat_id, "mine")
        with pytest.raises(NotFound):
            await anext(alice.watch(chat_id))
        await chats.delete(chat_id)


async def test_a_failed_turn_is_retried_in_process() -> None:
    async with open_instance(drain_s=0) as antiphon:
        chat_id = (await antiphon.chats.create(content="/fail auth\n/say fine")).chat_id
        async for _ in antiphon.chats.watch(chat_id, until_idle=True):
            pass
        assert (await antiphon.chats.get(chat_id)).status is Status.ERROR
        await antiphon.chats.retry(chat_id)
        async for _ in antiphon.chats.watch(chat_id, until_idle=True):
            pass
        assert (await antiphon.chats.messages(chat_id)).messages[-1].text == "fine"


def test_the_keyword_arguments_of_open_instance_are_the_options() -> None:
    assert set(GivenOptions.__annotations__) | {"store", "bus"} == set(Options.__struct_fields__)


# --- tokens and the program's own sign-in


async def test_a_token_made_in_process_opens_the_api_for_its_owner() -> None:
    async with open_instance(agent=echo, drain_s=0) as antiphon:
        new = await antiphon.create_token("alice")
        async with client_of(antiphon.asgi) as http:
            headers = {"authorization": f"Bearer {new.secret}"}
            shown = (await http.get("/api/v1/session", headers=headers)).json()
            assert (shown["owner"], shown["admin"]) == ("alice", False)
            await antiphon.tokens.revoke(new.token.token_id)
            assert (await http.get("/api/v1/session", headers=headers)).status_code == 401


async def by_cookie(request: Request) -> str | None:
    return {"a": "alice", "b": "bob", "root": "admin"}.get(request.cookies.get("session", ""))


async def test_the_sign_in_of_the_host_application_names_the_owner() -> None:
    async with open_instance(agent=echo, drain_s=0, authenticate=by_cookie) as antiphon:
        app = Starlette(routes=[Mount("/chat", app=antiphon.asgi)])
        async with client_of(app) as http:

            async def ask(cookie: str, method: str, path: str, **more: Any) -> httpx2.Response:
                headers = {"cookie": f"session={cookie}"} if cookie else {}
                return await http.request(method, f"/chat/api/v1{path}", headers=headers, **more)

            made = await ask("a", "POST", "/chats", json={"title": "of alice"})
            assert made.status_code == 201
            chat_id = made.json()["id"]
            assert (await ask("a", "GET", f"/chats/{chat_id}")).json()["title"] == "of alice"
            assert (await ask("b", "GET", f"/chats/{chat_id}")).status_code == 404
            assert (await ask("b", "GET", "/tokens")).status_code == 403
            assert (await ask("root", "GET", "/tokens")).status_code == 200
            assert (await ask("b", "GET", "/session")).json()["owner"] == "bob"
            for cookie in ("", "unknown"):
                assert (await ask(cookie, "GET", "/chats")).status_code == 401


async def test_without_a_name_from_the_hook_a_token_is_still_accepted() -> None:
    async with open_instance(drain_s=0, authenticate=by_cookie) as antiphon:
        new = await antiphon.create_token("carol")
        async with client_of(antiphon.asgi) as http:
            headers = {"authorization": f"Bearer {new.secret}"}
            assert (await http.get("/api/v1/session", headers=headers)).json()["owner"] == "carol"


@pytest.mark.parametrize("named", ["", 7, "x" * 200, "a\nb", True])
async def test_a_hook_that_gives_no_name_is_an_internal_error_and_opens_nothing(named: Any) -> None:
    async def hook(request: Request) -> Any:
        return named

    async with open_instance(drain_s=0, authenticate=hook) as antiphon:
        async with client_of(antiphon.asgi) as http:
            answer = await http.get("/api/v1/chats")
        assert answer.status_code == 500
        assert set(answer.json()["error"]) == {"code", "message", "id"}
        assert await antiphon.store.owner_count() == 1


async def test_a_foreign_origin_is_refused_before_the_hook_is_asked() -> None:
    asked: list[Request] = []

    async def hook(request: Request) -> str | None:
        asked.append(request)
        return "alice"

    async with open_instance(drain_s=0, authenticate=hook) as antiphon:
        async with client_of(antiphon.asgi) as http:
            answer = await http.get("/api/v1/chats", headers={"origin": "https://evil.example"})
        assert (answer.status_code, asked) == (403, [])


async def test_a_second_owner_is_refused_where_keyless_tcp_is_offered() -> None:
    async with open_instance(drain_s=0, authenticate=by_cookie) as antiphon:
        antiphon.owners.allow_only_admin("keyless TCP is for one owner")
        with pytest.raises(Forbidden):
            await antiphon.create_token("alice")
        async with client_of(antiphon.asgi) as http:
            assert (await http.get("/api/v1/chats", headers={"cookie": "session=a"})).status_code == 403
            assert (await http.get("/api/v1/chats", headers={"cookie": "session=root"})).status_code == 200
