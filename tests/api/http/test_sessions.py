"""The page's session: a secret of its own, stored as a hash, that expires, and that sign-out revokes."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.chats.tokens import SESSIONS_MAX
from antiphon.testing.clock import FakeClock

from .door import Door, open_door
from .wire import Stream

pytestmark = pytest.mark.anyio


async def sign_in(door: Door, *, token: str = "") -> dict[str, str]:
    """The cookie header of a new session."""
    answer = await door.ask("POST", "/session", {"token": token or door.token}, token=None)
    assert answer.status == 200
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


async def status(door: Door, cookie: dict[str, str], path: str = "/chats") -> int:
    return (await door.ask("GET", path, token=None, headers=cookie)).status


async def reason(stream: Stream) -> str:
    """Why a stream ended."""
    events = await stream.rest()
    await stream.close()
    return str(events[-1].json["reason"])


async def test_the_cookie_is_no_token_and_the_token_is_no_cookie(door: Door) -> None:
    cookie = await sign_in(door)
    name, _, secret = cookie["cookie"].partition("=")
    assert secret != door.token
    assert len(secret) >= 43, "256 random bits"
    assert await status(door, cookie) == 200
    assert (await door.ask("GET", "/chats", token=secret)).status == 401
    assert await status(door, {"cookie": f"{name}={door.token}"}) == 401


async def test_sign_out_makes_the_cookie_useless_and_leaves_the_token_and_other_sessions(door: Door) -> None:
    gone, other = await sign_in(door), await sign_in(door)
    assert await status(door, gone) == 200, "it is remembered as good"
    for _ in range(2):
        assert (await door.ask("DELETE", "/session", token=None, headers=gone)).status == 204
        assert [await status(door, gone, path) for path in ("/chats", "/session", "/inbox")] == [401] * 3
    assert await status(door, other) == 200
    assert (await door.ask("GET", "/chats")).status == 200


async def test_sign_out_ends_the_streams_of_that_session_only(door: Door) -> None:
    chat_id = await door.make_chat("/stall 60")
    gone, other = await sign_in(door), await sign_in(door)
    paths = (f"/chats/{chat_id}/stream", "/feed")
    ending = [await door.stream(path, token=None, headers=gone) for path in paths]
    staying = [
        await door.stream(paths[0], token=None, headers=other),
        await door.stream(paths[0]),
    ]
    await door.ask("DELETE", "/session", token=None, headers=gone)
    assert [await reason(stream) for stream in ending] == ["revoked", "revoked"]
    await door.send(chat_id, "still here")
    for stream in staying:
        await stream.until("message_queued")
        await stream.close()


async def test_a_revoked_token_ends_the_sessions_it_opened(door: Door) -> None:
    await door.instance.tokens.add(door.owner_id, secret := f"second token of {door.owner_id}")
    token_id = (await door.instance.tokens.authenticate(secret)).token_id
    cookie, own = await sign_in(door, token=secret), await sign_in(door)
    chat_id = await door.make_chat("/stall 60")
    stream = await door.stream(f"/chats/{chat_id}/stream", token=None, headers=cookie)
    await door.ask("DELETE", f"/tokens/{token_id}", token=door.admin_token)
    assert await reason(stream) == "revoked"
    assert await status(door, cookie) == 401
    assert await status(door, own) == 200


async def test_signing_out_without_a_session_or_with_a_strange_cookie_is_answered(door: Door) -> None:
    for headers in ({}, {"cookie": "antiphon_session=strange"}, {"cookie": "antiphon_session="}):
        assert (await door.ask("DELETE", "/session", token=None, headers=headers)).status == 204
    assert (await door.ask("DELETE", "/session")).status == 204
    assert (await door.ask("GET", "/chats")).status == 200, "the bearer token is not touched"


async def test_a_session_expires_when_it_is_not_used_and_lives_as_long_as_it_is() -> None:
    clock = FakeClock()
    day = 24 * 3600
    async with open_door(clock=clock, limits={"session_idle_s": 3 * day}) as door:
        used, unused = await sign_in(door), await sign_in(door)
        for _ in range(4):
            clock.advance(2 * day)
            door.instance.tokens._checked_sessions.clear()
            assert await status(door, used) == 200
        assert await status(door, unused) == 401
        clock.advance(4 * day)
        door.instance.tokens._checked_sessions.clear()
        answer = await door.ask("GET", "/chats", token=None, headers=used)
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert "unused for too long" in answer.json["error"]["message"]
        assert await status(door, await sign_in(door)) == 200


async def test_a_session_of_thirty_days_is_the_default() -> None:
    clock = FakeClock()
    async with open_door(clock=clock) as door:
        cookie = await sign_in(door)
        clock.advance(29 * 24 * 3600)
        assert await status(door, cookie) == 200
        clock.advance(31 * 24 * 3600)
        door.instance.tokens._checked_sessions.clear()
        assert await status(door, cookie) == 401


async def test_sessions_per_token_are_limited_and_the_longest_unused_is_revoked() -> None:
    async with open_door() as door:
        cookies = [await sign_in(door) for _ in range(SESSIONS_MAX + 2)]
        assert [await status(door, cookie) for cookie in cookies[:3]] == [401, 401, 200]
        assert await status(door, cookies[-1]) == 200


async def test_a_session_outlives_a_restart_and_its_secret_is_not_in_the_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_door(data=data) as door:
        kept, gone = await sign_in(door), await sign_in(door)
        await door.ask("DELETE", "/session", token=None, headers=gone)
    for file in data.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not any(cookie["cookie"].partition("=")[2].encode() in content for cookie in (kept, gone)), file
    async with open_door(data=data) as door:
        assert await status(door, kept) == 200
        assert await status(door, gone) == 401
