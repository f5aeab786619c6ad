"""The page's session: a secret of its own, stored as a hash, that expires, and that sign-out revokes."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.chats.tokens import SESSIONS_MAX
from antiphon.testing.clock import FakeClock

from .api_client import ApiClient, open_api
from .wire import Stream

pytestmark = pytest.mark.anyio


async def sign_in(api: ApiClient, *, token: str = "") -> dict[str, str]:
    """The cookie header of a new session."""
    answer = await api.ask("POST", "/session", {"token": token or api.token}, token=None)
    assert answer.status == 200
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


async def status(api: ApiClient, cookie: dict[str, str], path: str = "/chats") -> int:
    return (await api.ask("GET", path, token=None, headers=cookie)).status


async def reason(stream: Stream) -> str:
    """Why a stream ended."""
    events = await stream.rest()
    await stream.close()
    return str(events[-1].json["reason"])


async def test_the_cookie_is_no_token_and_the_token_is_no_cookie(api: ApiClient) -> None:
    cookie = await sign_in(api)
    name, _, secret = cookie["cookie"].partition("=")
    assert secret != api.token
    assert len(secret) >= 43, "256 random bits"
    assert await status(api, cookie) == 200
    assert (await api.ask("GET", "/chats", token=secret)).status == 401
    assert await status(api, {"cookie": f"{name}={api.token}"}) == 401


async def test_sign_out_makes_the_cookie_useless_and_leaves_the_token_and_other_sessions(api: ApiClient) -> None:
    gone, other = await sign_in(api), await sign_in(api)
    assert await status(api, gone) == 200, "it is remembered as good"
    for _ in range(2):
        assert (await api.ask("DELETE", "/session", token=None, headers=gone)).status == 204
        assert [await status(api, gone, path) for path in ("/chats", "/session", "/inbox")] == [401] * 3
    assert await status(api, other) == 200
    assert (await api.ask("GET", "/chats")).status == 200


async def test_sign_out_ends_the_streams_of_that_session_only(api: ApiClient) -> None:
    chat_id = await api.make_chat("/stall 60")
    gone, other = await sign_in(api), await sign_in(api)
    paths = (f"/chats/{chat_id}/stream", "/feed")
    ending = [await api.stream(path, token=None, headers=gone) for path in paths]
    staying = [
        await api.stream(paths[0], token=None, headers=other),
        await api.stream(paths[0]),
    ]
    await api.ask("DELETE", "/session", token=None, headers=gone)
    assert [await reason(stream) for stream in ending] == ["revoked", "revoked"]
    await api.send(chat_id, "still here")
    for stream in staying:
        await stream.until("message_queued")
        await stream.close()


async def test_a_revoked_token_ends_the_sessions_it_opened(api: ApiClient) -> None:
    await api.instance.tokens.add(api.owner_id, secret := f"second token of {api.owner_id}")
    token_id = (await api.instance.tokens.authenticate(secret)).token_id
    cookie, own = await sign_in(api, token=secret), await sign_in(api)
    chat_id = await api.make_chat("/stall 60")
    stream = await api.stream(f"/chats/{chat_id}/stream", token=None, headers=cookie)
    await api.ask("DELETE", f"/tokens/{token_id}", token=api.admin_token)
    assert await reason(stream) == "revoked"
    assert await status(api, cookie) == 401
    assert await status(api, own) == 200


async def test_signing_out_without_a_session_or_with_a_strange_cookie_is_answered(api: ApiClient) -> None:
    for headers in ({}, {"cookie": "antiphon_session=strange"}, {"cookie": "antiphon_session="}):
        assert (await api.ask("DELETE", "/session", token=None, headers=headers)).status == 204
    assert (await api.ask("DELETE", "/session")).status == 204
    assert (await api.ask("GET", "/chats")).status == 200, "the bearer token is not touched"


async def test_a_session_expires_when_it_is_not_used_and_lives_as_long_as_it_is() -> None:
    clock = FakeClock()
    day = 24 * 3600
    async with open_api(clock=clock, limits={"session_idle_s": 3 * day}) as api:
        used, unused = await sign_in(api), await sign_in(api)
        for _ in range(4):
            clock.advance(2 * day)
            api.instance.tokens._checked_sessions.clear()
            assert await status(api, used) == 200
        assert await status(api, unused) == 401
        clock.advance(4 * day)
        api.instance.tokens._checked_sessions.clear()
        answer = await api.ask("GET", "/chats", token=None, headers=used)
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert "unused for too long" in answer.json["error"]["message"]
        assert await status(api, await sign_in(api)) == 200


async def test_a_session_of_thirty_days_is_the_default() -> None:
    clock = FakeClock()
    async with open_api(clock=clock) as api:
        cookie = await sign_in(api)
        clock.advance(29 * 24 * 3600)
        assert await status(api, cookie) == 200
        clock.advance(31 * 24 * 3600)
        api.instance.tokens._checked_sessions.clear()
        assert await status(api, cookie) == 401


async def test_sessions_per_token_are_limited_and_the_longest_unused_is_revoked() -> None:
    async with open_api() as api:
        cookies = [await sign_in(api) for _ in range(SESSIONS_MAX + 2)]
        assert [await status(api, cookie) for cookie in cookies[:3]] == [401, 401, 200]
        assert await status(api, cookies[-1]) == 200


async def test_a_session_outlives_a_restart_and_its_secret_is_not_in_the_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_api(data=data) as api:
        kept, gone = await sign_in(api), await sign_in(api)
        await api.ask("DELETE", "/session", token=None, headers=gone)
    for file in data.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not any(cookie["cookie"].partition("=")[2].encode() in content for cookie in (kept, gone)), file
    async with open_api(data=data) as api:
        assert await status(api, kept) == 200
        assert await status(api, gone) == 401
