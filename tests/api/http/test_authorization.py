"""Who may: generated from the route table, so that no route and no stream is left out."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from antiphon.api.http.operations import OPERATIONS
from antiphon.api.http.pages import CSP
from antiphon.api.http.table import Operation, Policy
from antiphon.errors import AttemptFailed

from .api_client import ApiClient, open_api, random_chat_id
from .invalid_requests import BODIES, path_of
from .process import server_process
from .wire import Answer, Wire, make_request

pytestmark = pytest.mark.anyio

GUARDED = [operation for operation in OPERATIONS if operation.policy is not Policy.OPEN]
of_chats = [operation for operation in OPERATIONS if "{chat_id}" in operation.path]
guarded = pytest.mark.parametrize("operation", GUARDED, ids=lambda o: f"{o.method} {o.full_path}")


class Foreign(NamedTuple):
    """A chat with all that can be named in it, and whose it is."""

    api: ApiClient
    chat_id: str
    message_id: int
    queued_id: int


@pytest.fixture(scope="module")
async def foreign(shared_api: ApiClient) -> Foreign:
    owner = await shared_api.as_owner("another owner")
    chat_id = await owner.make_chat("/stall 600")
    queued = (await owner.send(chat_id, "waits")).json["seq"]
    return Foreign(owner, chat_id, 2, queued)


async def _ask(api: ApiClient, operation: Operation, path: str, **options: Any) -> Answer:
    return await api.ask(operation.method, path, BODIES.get(operation.name), **options)


# --- the matrix -------------------------------------------------------------------------------------


def test_every_route_has_a_policy_and_few_are_open() -> None:
    assert all(isinstance(operation.policy, Policy) for operation in OPERATIONS)
    assert {operation.name for operation in OPERATIONS if operation.policy is Policy.OPEN} == {
        "open_session",
        "close_session",
        "healthz",
        "readyz",
        "openapi",
    }
    assert {operation.name for operation in OPERATIONS if operation.policy is Policy.SHARE} == {
        "read_shared",
        "get_shared_file",
    }
    assert {operation.name for operation in OPERATIONS if operation.policy is Policy.ADMIN} == {
        "create_token",
        "list_tokens",
        "revoke_token",
        "list_instances",
        "get_instance",
        "instance_events",
        "activate_session",
        "send_to_session",
        "interrupt_session",
        "create_provider",
        "change_provider",
        "delete_provider",
        "check_provider",
        "create_model_config",
        "change_model_config",
        "delete_model_config",
        "metrics",
    }


def test_a_route_without_a_policy_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="policy"):
        Operation(method="GET", path="/x", name="x", summary="", handler=None, answers=())  # type: ignore[call-arg,arg-type]


@guarded
async def test_without_a_good_token_every_route_is_unauthenticated(
    api: ApiClient, foreign: Foreign, operation: Operation
) -> None:
    await api.instance.tokens.add(api.owner_id, secret := f"revoked {operation.method} {operation.full_path}")
    await api.instance.tokens.revoke((await api.instance.tokens.authenticate(secret)).token_id)
    path = path_of(operation, chat_id=foreign.chat_id)
    attempts: list[tuple[str | None, dict[str, str]]] = [
        (None, {}),
        ("", {"authorization": "Bearer "}),
        ("", {"authorization": "Bearer wrong"}),
        ("", {"authorization": f"Basic {api.token}"}),
        ("", {"authorization": api.token}),
        ("", {"authorization": f"Bearer {api.token}x"}),
        ("", {"authorization": f"Bearer {secret}"}),
        (None, {"cookie": f"antiphon_session={secret}"}),
        (None, {"cookie": f"other={api.token}"}),
        (None, {"x-authorization": f"Bearer {api.token}"}),
    ]
    for token, headers in attempts:
        answer = await _ask(api, operation, path, token=token, headers=headers)
        assert (answer.status, answer.code) == (401, "unauthenticated"), headers
        assert answer.headers["www-authenticate"] == "Bearer"
        assert secret not in answer.body.decode()


@pytest.mark.parametrize("operation", of_chats, ids=lambda o: f"{o.method} {o.path}")
async def test_a_foreign_chat_is_just_like_one_that_is_not_there(
    api: ApiClient, foreign: Foreign, operation: Operation
) -> None:
    before = await foreign.api.chat(foreign.chat_id)
    ids = {"message_id": str(foreign.message_id), "queued_id": str(foreign.queued_id)}
    theirs = await _ask(api, operation, path_of(operation, chat_id=foreign.chat_id, **ids))
    nobodys = await _ask(api, operation, path_of(operation, chat_id=random_chat_id(), **ids))
    assert (theirs.status, theirs.code) == (404, "not_found")
    assert (theirs.body, theirs.headers) == (nobodys.body, nobodys.headers)
    assert await foreign.api.chat(foreign.chat_id) == before


@pytest.mark.parametrize("operation", of_chats, ids=lambda o: f"{o.method} {o.path}")
async def test_the_admin_sees_no_foreign_chat_either(foreign: Foreign, operation: Operation) -> None:
    answer = await _ask(
        foreign.api,
        operation,
        path_of(operation, chat_id=foreign.chat_id, queued_id=str(foreign.queued_id)),
        token=foreign.api.admin_token,
    )
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("operation", [o for o in of_chats if "{message_id}" in o.path or "{queued_id}" in o.path])
async def test_a_foreign_message_is_not_found_through_a_chat_of_ones_own(
    api: ApiClient, foreign: Foreign, operation: Operation
) -> None:
    own = await api.make_chat()
    for ids in ({"message_id": str(foreign.message_id), "queued_id": str(foreign.queued_id)}, {"message_id": "77"}):
        answer = await _ask(api, operation, path_of(operation, **({"chat_id": own} | ids)))
        assert (answer.status, answer.code) == (404, "not_found")
    assert await foreign.api.queued(foreign.chat_id) == ["waits"]


async def test_foreign_cursors_and_pages_lead_nowhere(api: ApiClient, foreign: Foreign) -> None:
    await foreign.api.make_chat(title="secret plan")
    page = (await foreign.api.ask("GET", "/chats?limit=1")).json
    for query in (f"after={page['next']}", "q=secret", "label=a:b", "archived=true"):
        assert (await api.ask("GET", f"/chats?{query}")).json == {"chats": [], "next": None}
    for headers in ({"last-event-id": "1.0"}, {}):
        answer = await api.ask("GET", f"/chats/{foreign.chat_id}/stream", headers=headers)
        assert (answer.status, answer.code) == (404, "not_found")


of_files = [o for o in OPERATIONS if "{file_id}" in o.path and o.policy is Policy.OWNER]


@pytest.mark.parametrize("operation", of_files, ids=lambda o: f"{o.method} {o.path}")
async def test_a_foreign_file_is_just_like_one_that_is_not_there(
    api: ApiClient, foreign: Foreign, operation: Operation
) -> None:
    made = (await foreign.api.ask("POST", "/files", data=b"theirs", headers={"x-filename": "secret.txt"})).json
    for headers in ({}, {"range": "bytes=0-1"}, {"if-none-match": f'"{made["sha256"]}"'}):
        theirs = await _ask(api, operation, path_of(operation, file_id=made["file_id"]), headers=headers)
        unknown = await _ask(api, operation, path_of(operation), headers=headers)
        admins = await _ask(
            api, operation, path_of(operation, file_id=made["file_id"]), headers=headers, token=api.admin_token
        )
        assert (theirs.status, theirs.code) == (404, "not_found")
        assert (theirs.body, theirs.headers) == (unknown.body, unknown.headers) == (admins.body, admins.headers)


async def test_a_foreign_file_cannot_be_named_in_a_message(api: ApiClient, foreign: Foreign) -> None:
    made = (await foreign.api.ask("POST", "/files", data=b"theirs")).json
    chat_id = await api.make_chat("/stall 600")
    queued = (await api.send(chat_id, "waits")).json["seq"]
    bodies = []
    for file_id in (made["file_id"], random_chat_id()):
        content = [{"type": "file-reference", "file_id": file_id}]
        for method, path in (
            ("POST", "/chats"),
            ("POST", f"/chats/{chat_id}/messages"),
            ("PATCH", f"/chats/{chat_id}/messages/2"),
            ("PATCH", f"/chats/{chat_id}/queue/{queued}"),
        ):
            answer = await api.ask(method, path, {"content": content})
            assert (answer.status, answer.code, answer.json["error"]["what"]) == (404, "not_found", "file")
            bodies.append(answer.body)
    assert len(set(bodies)) == 1
    own = (await api.ask("POST", "/files", data=b"theirs")).json
    assert own["file_id"] != made["file_id"]
    assert (await api.send(chat_id, [{"type": "file-reference", "file_id": own["file_id"]}])).status == 202


async def test_a_foreign_id_cannot_be_taken_by_creating_it(api: ApiClient, foreign: Foreign) -> None:
    before = await foreign.api.chat(foreign.chat_id)
    for body in ({"id": foreign.chat_id}, {"id": foreign.chat_id, "content": "/stall 600"}):
        answer = await api.ask("POST", "/chats", body)
        assert (answer.status, answer.code) == (409, "conflict")
        assert before["owner_id"] not in answer.body.decode()
    assert await foreign.api.chat(foreign.chat_id) == before


@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS if o.policy is Policy.ADMIN], ids=lambda o: f"{o.method} {o.full_path}"
)
async def test_what_is_the_admins_is_forbidden_to_members(api: ApiClient, operation: Operation) -> None:
    path = path_of(operation, token_id=api.token_id)
    answer = await _ask(api, operation, path)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert (await api.ask("GET", "/chats")).status == 200, "the token was not revoked"


# --- other web pages --------------------------------------------------------------------------------

FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:8414",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "10.0.0.1",
    "0.0.0.0",
    "[fe80::1]",
    "169.254.169.254",
    "localhost:evil",
    "localhost:80:80",
    "localhost:99999",
    "127.0.0.1:-1",
    "[::1]:evil",
    "[::1]evil",
    "[localhost]",
    "::1",
    "localhost/",
    "",
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.full_path}")
async def test_a_foreign_host_or_origin_is_refused_before_the_token_is_read(
    api: ApiClient, operation: Operation
) -> None:
    path = path_of(operation)
    foreign = [{"host": host} for host in FOREIGN_HOSTS]
    foreign += [
        {"origin": origin}
        for origin in (
            "null",
            "https://evil.example",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1:1",
            "file://",
            "http://localhost",
        )
    ]
    foreign += [{"sec-fetch-site": site} for site in ("cross-site", "same-site")]
    for headers in foreign:
        for token in (None, "wrong", api.token):
            answer = await _ask(api, operation, path, token=token, headers=headers)
            assert (answer.status, answer.code) == (403, "forbidden"), (headers, token)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "lines",
    [
        "Host: 127.0.0.1\r\nHost: evil.example\r\n",
        "Host: 127.0.0.1\r\nhost: 127.0.0.1\r\n",
        "Host: evil.example\r\nHost: 127.0.0.1\r\n",
        "Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nOrigin: https://evil.example\r\n",
        "Host: 127.0.0.1\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        "Host: 127.0.0.1\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
    ],
)
@pytest.mark.parametrize("place", ["/", "/healthz", "/api/v1/chats"])
async def test_a_header_that_decides_over_access_may_stand_once_only(api: ApiClient, lines: str, place: str) -> None:
    wire = await Wire.open(api.port)
    wire.send(f"GET {place} HTTP/1.1\r\n{lines}\r\n".encode())
    answer = await wire.read_answer()
    await wire.close()
    assert (answer.status, answer.code) == (400, "invalid")
    assert "is repeated" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8414", "origin": "http://localhost:8414", "sec-fetch-site": "same-origin"},
        {"host": "LocalHost"},
        {"host": "127.0.0.2:99"},
        {"host": "[::1]:8414", "origin": "http://[::1]:8414"},
        {"host": "[::1]"},
        {"host": "localhost:"},
        {"sec-fetch-site": "none"},
        {"origin": "http://127.0.0.1"},
    ],
    ids=str,
)
async def test_its_own_page_and_programs_are_let_in(api: ApiClient, headers: dict[str, str]) -> None:
    assert (await api.ask("GET", "/chats", headers=headers)).status == 200


async def test_beyond_loopback_it_answers_to_every_address_and_to_the_names_it_was_given() -> None:
    """DNS cannot redirect a numeric address; it can redirect a name."""
    async with open_api(host="0.0.0.0", hosts=("chat.example",)) as api:
        for host in ("192.0.2.2", "[2001:db8::1]:9", "chat.example:443", "localhost"):
            assert (await api.ask("GET", "/chats", headers={"host": host})).status == 200
        for host in ("evil.example", "192.0.2.2.evil.example"):
            assert (await api.ask("GET", "/chats", headers={"host": host})).status == 403


async def test_a_host_that_was_named_is_its_own_and_a_proxy_may_call_it_anything() -> None:
    async with open_api(hosts=("chat.example",)) as api:
        assert (await api.ask("GET", "/chats", headers={"host": "Chat.Example:443"})).status == 200
        assert (await api.ask("GET", "/chats", headers={"host": "sub.chat.example"})).status == 403
    async with open_api(behind_proxy=True) as api:
        assert (await api.ask("GET", "/chats", headers={"host": "any.example"})).status == 200
        other = {"host": "any.example", "origin": "https://evil.example"}
        assert (await api.ask("GET", "/chats", headers=other)).status == 403
        assert (await api.ask("GET", "/chats", headers={"host": "", "origin": "null"})).status == 403


async def test_there_is_no_way_across_origins(api: ApiClient) -> None:
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for path in ("/chats", "/session", "/feed", "//", "//healthz"):
        for method, headers in (("OPTIONS", preflight), ("GET", {}), ("POST", {"content-type": "text/plain"})):
            answer = await api.ask(method, path, headers=headers) if path != "/feed" else None
            assert not [name for name in (answer.headers if answer else ()) if name.startswith("access-control")]
    stream = await api.stream("/feed")
    assert not [name for name in stream.headers if name.startswith("access-control")]
    await stream.close()


# --- the page and its cookie ------------------------------------------------------------------------


async def test_the_pages_session_is_a_cookie_that_no_script_and_no_other_site_gets(api: ApiClient) -> None:
    answer = await api.ask("POST", "/session", {"token": api.token}, token=None)
    assert answer.status == 200
    assert api.token.encode() not in answer.body
    cookie = answer.headers["set-cookie"]
    name, _, attributes = cookie.partition(";")
    given = {attribute.strip().lower() for attribute in attributes.split(";")}
    assert {"httponly", "samesite=strict", "path=/"} <= given
    assert not any(attribute.startswith("domain") for attribute in given)
    signed_in = {"cookie": name}
    assert (await api.ask("GET", "/session", token=None, headers=signed_in)).json["owner_id"] == api.owner_id
    assert (await api.ask("GET", "/chats", token=None, headers=signed_in)).status == 200
    out = await api.ask("DELETE", "/session", token=None, headers=signed_in)
    assert out.status == 204
    assert re.match(r'antiphon_session=""; .*Max-Age=0', out.headers["set-cookie"])


async def test_two_servers_of_one_host_do_not_sign_each_other_out(api: ApiClient) -> None:
    first = {"host": "127.0.0.1:8414"}
    answer = await api.ask("POST", "/session", {"token": api.token}, token=None, headers=first)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert cookie.startswith("antiphon_session_8414=")
    both = f"antiphon_session_8415=another; {cookie}"
    assert (await api.ask("GET", "/chats", token=None, headers=first | {"cookie": both})).status == 200
    second = {"host": "127.0.0.1:8415", "cookie": both}
    assert (await api.ask("GET", "/chats", token=None, headers=second)).status == 401


async def test_a_link_to_the_page_may_be_followed_from_anywhere_but_nothing_else(api: ApiClient) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert (await api.ask("GET", "//", token=None, headers=link)).status == 200
    framed = link | {"sec-fetch-dest": "iframe"}
    assert (await api.ask("GET", "//", token=None, headers=framed)).status == 403
    assert (await api.ask("GET", "/chats", headers=link)).status == 403


async def test_over_tls_the_cookie_is_for_tls_only() -> None:
    async with open_api(behind_proxy=True) as api:
        through = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.7"}
        answer = await api.ask("POST", "/session", {"token": api.token}, token=None, headers=through)
        assert "secure" in answer.headers["set-cookie"].lower()
    async with open_api() as api:
        answer = await api.ask("POST", "/session", {"token": api.token}, token=None, headers=through)
        assert "secure" not in answer.headers["set-cookie"].lower(), "without a proxy, the header is ignored"


async def test_no_session_without_a_token_that_is_known(api: ApiClient) -> None:
    for token in ("", "wrong", api.token_id, api.token[:-1]):
        answer = await api.ask("POST", "/session", {"token": token}, token=None)
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert "set-cookie" not in answer.headers


async def test_a_wrong_header_is_not_made_good_by_a_cookie(api: ApiClient) -> None:
    headers = {"cookie": f"antiphon_session={api.token}", "authorization": "Bearer wrong"}
    assert (await api.ask("GET", "/chats", headers=headers)).status == 401


@guarded
async def test_a_token_in_an_address_is_refused(api: ApiClient, operation: Operation) -> None:
    for name in ("token", "access_token"):
        path = f"{path_of(operation)}?{name}={api.token}"
        assert (await _ask(api, operation, path, token=None)).status == 401
        link = await api.instance.chats_of(api.owner_id).create_share(await api.make_chat())
        by_link = operation.policy is Policy.SHARE
        answer = await _ask(api, operation, path, token=link.secret if by_link else api.admin_token)
        assert (answer.status, answer.json["error"]["field"]) == (422, "token")
        assert api.token.encode() not in answer.body


async def test_the_assets_of_the_web_ui_are_loaded_by_its_frame_without_an_origin(api: ApiClient) -> None:
    from_frame = {"origin": "null", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert (await api.ask("GET", "//assets/diagram_frame.js", token=None, headers=from_frame)).status == 200
    for path in ("//", "/chats", "/session"):
        assert (await api.ask("GET", path, headers=from_frame)).status == 403
    named = from_frame | {"origin": "https://evil.example"}
    assert (await api.ask("GET", "//assets/diagram_frame.js", token=None, headers=named)).status == 403
    frame = await api.ask("GET", "//assets/diagram.html", token=None)
    assert frame.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")


async def test_the_page_is_fenced_in(api: ApiClient) -> None:
    page = await api.ask("GET", "//", token=None)
    assert page.status == 200
    assert page.headers["content-security-policy"] == CSP
    assert CSP.startswith("default-src 'none'")
    assert "unsafe" not in CSP
    assert "*" not in CSP
    for name, value in {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
    }.items():
        assert page.headers[name] == value
    assert "frame-ancestors 'none'" in CSP
    inline = re.findall(rb"<script(?![^>]*\bsrc=)|<style|\bon\w+=|https?://(?!www\.w3\.org)", page.body)
    assert inline == [], "the policy would forbid it"
    for asset in re.findall(rb'(?:src|href)="(/assets/[^"]+)"', page.body):
        found = await api.ask("GET", "/" + asset.decode(), token=None)
        assert found.status == 200, asset
        assert found.headers["x-content-type-options"] == "nosniff"
        again = await api.ask("GET", "/" + asset.decode(), headers={"if-none-match": found.headers["etag"]})
        assert (again.status, again.body) == (304, b"")


async def test_api_answers_are_neither_cached_nor_sniffed(api: ApiClient) -> None:
    for path in ("/chats", "/nothing", "/session", "//healthz", "//openapi.json"):
        answer = await api.ask("GET", path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


# --- at rest ----------------------------------------------------------------------------------------


async def test_tokens_are_kept_as_hashes_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_api(data=data) as api:
        secrets = [api.token, (await api.as_owner("beth")).token]
        shown = (await api.ask("POST", "/tokens", {"owner": "carl"})).json["token"]
        assert len(shown) >= 43, "256 random bits"
        secrets.append(shown)
        for secret in secrets:
            assert (await api.ask("GET", "/session", token=secret)).status == 200
        assert (data / "antiphon.db-wal").stat().st_size > 0
        _find_nowhere(data, secrets)
    _find_nowhere(data, secrets)


def _find_nowhere(folder: Path, secrets: list[str]) -> None:
    scanned_bytes = 0
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            scanned_bytes += len(content)
            assert not any(secret.encode() in content for secret in secrets), path
    assert scanned_bytes > 10_000


def test_what_lies_in_the_data_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        data = tmp_path / "data"
        with server_process(data, "--drain-s", "0") as running:
            assert running.ask("POST", "/chats", {"content": "/say hi"})[0] == 201
            modes = {str(p.relative_to(data)): stat.S_IMODE(p.stat().st_mode) for p in [data, *data.rglob("*")]}
            kinds = {name: 0o700 if (data / name).is_dir() else 0o600 for name in modes}
            assert {"token", "instance.json", "antiphon.lock", "antiphon.db", "antiphon.db-wal"} <= modes.keys()
            assert modes == kinds
    finally:
        os.umask(old)


# --- what errors, metrics and logs say --------------------------------------------------------------

CANARY = "canary-5d41402abc4b2a76"


async def test_no_response_or_log_has_keys_prompts_paths_or_sql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"key-{CANARY}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

    async def agent(turn: Any) -> AsyncIterator[str]:
        yield "begun"
        if turn.turn_id == 2:
            raise RuntimeError(f"sql: SELECT * FROM chats; {tmp_path}; {turn.messages} key-{CANARY}")
        raise AttemptFailed("auth", "The provider refused the key.", status_code=401)

    data = tmp_path / f"data-{CANARY}"
    async with open_api(agent=agent, data=data) as api:
        chat_id = await api.make_chat(f"prompt-{CANARY}", system=f"system-{CANARY}", title=f"title-{CANARY}")
        failed = await api.rested(chat_id)
        assert failed["status"] == "error"
        assert CANARY not in failed["last_error"]
        stream = await api.events(f"/chats/{chat_id}/stream?after=0&until=idle")
        ended = next(event for event in stream if event.type == "turn_ended")
        assert CANARY.encode() not in ended.raw
        assert b"SELECT" not in ended.raw
        answers = [
            await api.ask("GET", f"/chats/{chat_id}/messages/{CANARY}"),
            await api.ask("GET", f"/chats/{random_chat_id()}"),
            await api.ask("PATCH", f"/chats/{chat_id}", {"title": "x" * 300}),
            await api.ask("POST", f"/chats/{chat_id}/messages", {"content": 5}),
            await api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": "x"}),
            await api.ask("GET", "//metrics"),
            await api.ask("GET", "//readyz"),
            await api.ask("GET", "//healthz"),
            await api.ask("GET", "//openapi.json"),
        ]
        for answer in answers:
            assert CANARY.encode() not in answer.body, answer
            assert str(tmp_path).encode() not in answer.body
            assert b"SELECT" not in answer.body
        assert chat_id.encode() not in answers[5].body, "no metric has an owner's data"
        assert api.owner_id.encode() not in answers[5].body


async def test_a_response_to_an_unexpected_error_has_only_an_id(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_api() as api:
        chat_id = await api.make_chat(title="x")
        store = api.instance.store

        async def broken(*_: Any, **__: Any) -> Any:
            raise ValueError(f"SELECT secret FROM {CANARY}")

        store.read_messages = broken  # type: ignore[method-assign]
        wire = await Wire.open(api.port)
        wire.send(make_request("GET", f"/api/v1/chats/{chat_id}/messages", token=api.token))
        answer = await wire.read_answer()
        await wire.close()
        assert (answer.status, answer.code) == (500, "internal")
        assert CANARY.encode() not in answer.body
        assert set(answer.json["error"]) == {"code", "message", "id"}
        output = capfd.readouterr()
        assert answer.json["error"]["id"] in output.out + output.err, "the log has it under this id"
        assert (await api.ask("GET", f"/chats/{chat_id}")).status == 200
