"""Whatever comes in: a clear answer, never a 500, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from antiphon.api.http.connection import HEADERS_MAX
from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.operations import OPERATIONS
from antiphon.api.http.table import Operation
from antiphon.core.depth import has_too_many_values
from support.waiting import wait_until

from .api_client import ApiClient, open_api
from .invalid_requests import (
    BODIES,
    BROKEN_JSON,
    PATH_IDS,
    REQUIRED,
    iter_wrong_bodies,
    operations_with_body,
    path_of,
)
from .process import server_process
from .schema import DOCUMENT
from .wire import Answer, Wire, make_request

pytestmark = pytest.mark.anyio

by_name = pytest.mark.parametrize("operation", operations_with_body(), ids=lambda operation: operation.name)


@pytest.fixture
async def chat_id(api: ApiClient) -> str:
    """A busy chat of the owner's own, with a queue: message 2, queued message 4."""
    made = await api.make_chat("/stall 60")
    await api.send(made, "waits")
    return made


def _is_clear(answer: Answer) -> bool:
    """A 4xx in the contract's form (the form is checked by `ApiClient.ask`)."""
    return 400 <= answer.status < 500 and bool(answer.json["error"]["message"])


def test_every_route_that_takes_a_body_is_tried() -> None:
    assert {operation.name for operation in operations_with_body()} == set(BODIES)


@by_name
async def test_a_body_that_is_no_such_json_is_invalid(api: ApiClient, chat_id: str, operation: Operation) -> None:
    token = api.admin_token if operation.policy == "admin" else api.token
    for what, data in BROKEN_JSON.items():
        answer = await api.ask(operation.method, path_of(operation, chat_id=chat_id), data=data, token=token)
        is_small = len(data) <= operation.body_bytes_max and not has_too_many_values(data)
        expected = (422, "invalid") if is_small else (413, "too_large")
        assert (answer.status, answer.code) == expected, f"{what}: {answer.body!r}"
        assert len(answer.body) < 1_000, what


@by_name
async def test_wrong_and_missing_fields_are_reported(api: ApiClient, chat_id: str, operation: Operation) -> None:
    token = api.admin_token if operation.policy == "admin" else api.token
    for what, data in iter_wrong_bodies(operation):
        answer = await api.ask(operation.method, path_of(operation, chat_id=chat_id), data=data, token=token)
        assert answer.status < 300 or _is_clear(answer), f"{what}: {answer}"
        if what.startswith("without"):
            assert (answer.status, answer.code) == (422, "invalid"), what
        if answer.code == "invalid":
            assert answer.json["error"]["reason"]


@by_name
async def test_an_empty_body_is_invalid_unless_it_may_be_left_out(
    api: ApiClient, chat_id: str, operation: Operation
) -> None:
    token = api.admin_token if operation.policy == "admin" else api.token
    answer = await api.ask(operation.method, path_of(operation, chat_id=chat_id), data=b"", token=token)
    taken = 200 if operation.name == "read_chat" else 409  # there is nothing to be tried again
    assert answer.status == (taken if operation.is_body_optional else 422)
    answer = await api.ask(operation.method, path_of(operation, chat_id=chat_id), data=b"{}", token=token)
    assert (answer.status == 422) == bool(REQUIRED.get(operation.name))


@by_name
async def test_a_body_over_the_limit_is_too_large_in_any_transfer_coding(
    api: ApiClient, operation: Operation
) -> None:
    token = api.admin_token if operation.policy == "admin" else api.token
    path = path_of(operation)
    answer = await api.ask(operation.method, path, data=b" " * (operation.body_bytes_max + 1), token=token)
    assert (answer.status, answer.code, answer.json["error"]["limit"]) == (413, "too_large", operation.body_bytes_max)
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
    wire = await Wire.open(api.port)
    headers = {"content-length": "", "transfer-encoding": "chunked"}
    wire.send(make_request(operation.method, f"/api/v1{path}", token=token, headers=headers))
    wire.send(chunk * 9 + b"0\r\n\r\n")
    assert (await wire.read_answer()).status == 413
    wire.send(make_request("GET", "/healthz"))
    assert (await wire.read_answer()).status == 200, "the rest of the body was skipped"
    await wire.close()


@pytest.mark.parametrize("limits", [HttpLimits(body_s=0.05), HttpLimits(body_idle_s=0.05)], ids=["whole", "piece"])
async def test_a_request_whose_body_is_late_is_refused(limits: HttpLimits) -> None:
    async with open_api(http_limits=limits) as api:
        wire = await Wire.open(api.port)
        wire.send(make_request("POST", "/api/v1/session", headers={"content-length": "100"}) + b'{"token')
        answer = await wire.read_answer()
        assert (answer.status, answer.code) == (408, "invalid")
        await wait_until(lambda: wire.is_hung_up, what="the connection is closed")
        await wire.close()


async def test_a_message_over_four_mebibytes_is_too_large(api: ApiClient) -> None:
    limit = 4 * 1024 * 1024
    frame = len('[{"text":"","type":"text"}]')
    chat_id = await api.make_chat()
    for text in ("x" * (limit - frame + 1), "\u2028" * (limit // 3 + 1), "\x01" * (limit // 6 + 1)):
        data = json.dumps({"content": text}, ensure_ascii=False).encode()
        answer = await api.ask("POST", f"/chats/{chat_id}/messages", data=data)
        assert (answer.status, answer.code, answer.json["error"]["limit"]) == (413, "too_large", limit)
    answer = await api.send(chat_id, "/stall 60\n" + "x" * (limit - frame - 11))
    assert answer.status == 201, "the largest possible message"


async def test_lone_surrogates_and_nul_become_harmless(api: ApiClient) -> None:
    answer = await api.ask(
        "POST",
        "/chats",
        data=b'{"title":"a\\u0000b\\ud800c\\r\\nd","labels":{"\\udfff":"\\u0000"},'
        b'"content":"/say \\ud83d x \\u0000"}',
    )
    assert answer.status == 201
    assert answer.json["title"] == "a\ufffdb\ufffdc  d"
    assert answer.json["labels"] == {"\ufffd": "\ufffd"}
    await api.rested(answer.json["id"])
    assert (await api.texts(answer.json["id"]))[0] == "user: /say \ufffd x \x00"


# --- paths, queries, methods ------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if "{" in o.path], ids=lambda o: f"{o.name}")
async def test_ids_that_nothing_has_are_refused(api: ApiClient, chat_id: str, operation: Operation) -> None:
    token = api.admin_token if operation.policy == "admin" else api.token
    body = BODIES.get(operation.name)
    names = [
        name for name in ("chat_id", "message_id", "queued_id", "token_id", "instance_id") if name in operation.path
    ]
    for name in names:
        for value in PATH_IDS:
            path = path_of(operation, **({"chat_id": chat_id} | {name: value}))
            answer = await api.ask(operation.method, path, body, token=token)
            assert answer.status in (404, 422), f"{name}={value[:20]}: {answer}"
            if name in ("chat_id", "token_id", "instance_id"):
                assert answer.status == 404


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.full_path}")
async def test_a_wrong_method_is_answered_with_the_allowed_ones(api: ApiClient, operation: Operation) -> None:
    possible = {o.method for o in OPERATIONS if o.full_path == operation.full_path}
    possible |= {"HEAD"} if "GET" in possible else set()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK"):
        if method not in possible:
            answer = await api.ask(method, path_of(operation))
            assert (answer.status, answer.code) == (405, "invalid")
            assert set(answer.headers["allow"].split(", ")) == possible


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1",
        "//api/v1/",
        "/nothing",
        "/chats/a/nothing",
        "/chats//messages",
        "/chats/a/messages/1/2",
        "/CHATS",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//nothing",
        "//assets/../app.py",
        "//assets/%2e%2e/app.py",
        "//assets/",
        "//assets",
        "///healthz/x",
        "//.git/config",
    ],
)
async def test_unknown_paths_are_not_found(api: ApiClient, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await api.ask(method, path)
        assert (answer.status, answer.code) == (404, "not_found")


STRANGE_QUERIES = (
    "limit=" + "9" * 400,
    "limit=0x10",
    "after=" + "A" * 5_000,
    "after=%F0%9F",
    "label=%00",
    "q=%00%ff",
)


@pytest.mark.parametrize("query", [*STRANGE_QUERIES, "&&=&", "a" * 60_000], ids=lambda query: query[:12])
async def test_strange_queries_are_answered(api: ApiClient, query: str) -> None:
    answer = await api.ask("GET", f"/chats?{query}")
    assert answer.status == 200 or _is_clear(answer)
    await api.make_chat(title="x")
    assert (await api.ask("GET", f"/chats/{await api.make_chat()}/messages?{query}")).status in (200, 422)


# --- below HTTP -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
        b"\x00" * 1_000,
        bytes(random.Random(7).randbytes(4_000)),
    ],
    ids=range(12),
)
async def test_what_is_no_http_is_refused_and_hung_up_on(api: ApiClient, data: bytes) -> None:
    wire = await Wire.open(api.port)
    wire.send(data)
    answer = await wire.read_to_end()
    await wire.close()
    if answer:
        head, _, body = answer.rpartition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 ")), answer
        assert json.loads(body)["error"]["code"] == "invalid"


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
    ids=["address", "header", "headers", "trailer", "chunk"],
)
async def test_a_head_without_end_is_refused(api: ApiClient, start: bytes) -> None:
    filling = b"X-Y: z\r\n" * 32_768 if start.endswith(b"\r\n") else b"a" * (1 << 18)
    wire = await Wire.open(api.port)
    wire.send(start)
    sent = 0
    while not wire.is_hung_up and sent < 1 << 26:
        wire.send(filling)
        sent += len(filling)
        try:
            await wire.writer.drain()
        except ConnectionError:
            break
        await asyncio.sleep(0)
    assert sent < 1 << 24, "many megabytes were taken"
    await wire.close()


async def test_a_large_head_is_refused_in_words(api: ApiClient) -> None:
    wire = await Wire.open(api.port)
    wire.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    reading = asyncio.create_task(wire.read_answer())
    while not reading.done():
        wire.send(b"X: " + b"a" * 4091 + b"\r\n")
        await asyncio.sleep(0)
    answer = await reading
    assert (answer.status, answer.code) == (431, "invalid")
    await wire.close()


@pytest.mark.parametrize("start", [b"GET /healthz HTTP/1.1\r\n", b"POST /api/v1/session HTTP/1.1\r\n"])
@pytest.mark.parametrize("line", [b"X: y\r\n", b"a:\r\n"])
async def test_too_many_headers_are_refused_in_words(api: ApiClient, start: bytes, line: bytes) -> None:
    wire = await Wire.open(api.port)
    wire.send(start + b"Host: 127.0.0.1\r\n" + line * (HEADERS_MAX + 1))
    answer = await wire.read_answer()
    assert (answer.status, answer.code) == (431, "invalid")
    assert f"at most {HEADERS_MAX}" in answer.json["error"]["message"]
    await wire.close()


async def test_as_many_headers_as_are_allowed_are_accepted(api: ApiClient) -> None:
    wire = await Wire.open(api.port)
    wire.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * (HEADERS_MAX - 1) + b"\r\n")
    assert (await wire.read_answer()).status == 200
    await wire.close()


@pytest.mark.parametrize("garbage", [b"", b"\x00\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300, b"y" * 70_000])
@pytest.mark.parametrize("count", [2, 30])
async def test_garbage_after_pipelined_requests_is_not_their_answer_and_leaves_no_error_in_the_log(
    api: ApiClient, caplog: pytest.LogCaptureFixture, count: int, garbage: bytes
) -> None:
    chat_id = await api.make_chat()
    wire = await Wire.open(api.port)
    wire.send(make_request("GET", f"/api/v1/chats/{chat_id}", token=api.token) * count + garbage)
    if garbage:
        answer = await wire.read_to_end()
        assert b"HTTP/1.1 4" not in answer
    await wire.close()
    assert (await api.chat(chat_id))["id"] == chat_id
    assert "Exception in ASGI application" not in caplog.text


async def test_a_head_of_the_usual_size_may_come_byte_by_byte(api: ApiClient) -> None:
    wire = await Wire.open(api.port)
    for byte in make_request("GET", "/api/v1/chats", token=api.token):
        wire.send(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert (await wire.read_answer()).status == 200
    await wire.close()


async def test_a_thousand_requests_in_one_go_are_answered_in_order(api: ApiClient) -> None:
    chats = [await api.make_chat(title=str(n)) for n in range(10)]
    wire = await Wire.open(api.port)
    requests = [make_request("GET", f"/api/v1/chats/{chats[n % 10]}", token=api.token) for n in range(1_000)]
    wire.send(b"".join(requests))
    for n in range(1_000):
        assert (await wire.read_answer()).json["title"] == str(n % 10)
    await wire.close()


# --- no resource is leaked --------------------------------------------------------------------------------


@pytest.fixture
async def own_api() -> AsyncIterator[ApiClient]:
    """Of a server that closes idle connections soon."""
    async with open_api(http_limits=HttpLimits(head_s=0.5, keep_alive_s=0.5)) as opened:
        yield opened


class Held:
    """What the server holds before a test's connections. Other tests' turns, which run in this process, too, may end
    meanwhile."""

    def __init__(self, api: ApiClient) -> None:
        self._watch = api.instance.watch
        self._tasks = asyncio.all_tasks()
        self.descriptors = _descriptors()

    def added(self) -> tuple[int, int, list[str]]:
        """The watchers, the readers, and the tasks that are new."""
        tasks = [repr(task.get_coro()) for task in asyncio.all_tasks() - self._tasks]
        return len(self._watch), self._watch.reader_count, tasks


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def _nothing_is_left(api: ApiClient, held: Held) -> None:
    await api.close_connections()
    await wait_until(held.added, "nothing new is held", accept=lambda added: added == (0, 0, []))
    await wait_until(_descriptors, "the descriptors are back", accept=lambda count: count <= held.descriptors)


async def _reset_after_heads(api: ApiClient, count: int) -> None:
    chat_id = await api.make_chat("/stall 60")
    for path in ("/feed", "/chats", f"/chats/{chat_id}/stream"):
        await api.ask("GET", path) if path == "/chats" else await (await api.stream(path)).close()
    await api.close_connections()
    await wait_until(lambda: len(api.instance.watch) == 0)
    held = Held(api)
    paths = [f"/api/v1/chats/{chat_id}/stream", "/api/v1/feed", f"/api/v1/chats/{chat_id}/messages", "/api/v1/chats"]
    for start in range(0, count, 100):
        wires = [await Wire.open(api.port) for _ in range(100)]
        for n, wire in enumerate(wires):
            method = "POST" if n % 4 == 3 else "GET"
            body = b'{"title":"x"}' if method == "POST" else b""
            data = make_request(method, paths[n % 4], token=api.token, body=body)
            wire.send(data if n % 5 else data[:-10])
        if start % 200:
            await asyncio.sleep(0)
        for wire in wires:
            wire.reset()
        for wire in wires:
            await wire.close()
    assert (await api.ask("GET", f"/chats/{chat_id}")).status == 200
    await _nothing_is_left(api, held)


async def test_two_thousand_resets_after_the_head_leave_nothing(own_api: ApiClient) -> None:
    await _reset_after_heads(own_api, 2_000)


@pytest.mark.slow
async def test_ten_thousand_resets_after_the_head_leave_nothing(own_api: ApiClient) -> None:
    await _reset_after_heads(own_api, 10_000)


async def test_responses_that_are_not_read_are_aborted(own_api: ApiClient) -> None:
    api = own_api
    chat_id = await api.make_chat("/stall 60")
    for _ in range(2):
        await api.send(chat_id, "x" * 4_000_000)
    await api.close_connections()
    held = Held(api)
    stuck = [await Wire.open(api.port, receive_bytes=4096) for _ in range(10)]
    for wire in stuck:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        wire.send(make_request("GET", f"/api/v1/chats/{chat_id}/messages", token=api.token))
    assert (await api.ask("GET", f"/chats/{chat_id}")).status == 200
    await wait_until(lambda: _descriptors() <= held.descriptors + len(stuck) + 1, what="the connections are closed")
    for wire in stuck:
        await wire.close()
    await _nothing_is_left(api, held)


async def test_a_slow_but_steady_reader_gets_its_whole_answer(own_api: ApiClient) -> None:
    chat_id = await own_api.make_chat("/stall 60")
    for _ in range(2):
        await own_api.send(chat_id, "x" * 4_000_000)
    wire = await Wire.open(own_api.port, receive_bytes=65536)
    wire.send(make_request("GET", f"/api/v1/chats/{chat_id}/messages", token=own_api.token))
    _, headers = await wire.read_head()
    length, got = int(headers["content-length"]), 0
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    while got < length:
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        piece = await wire.reader.read(400_000)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        assert piece, f"it ended after {got} of {length} bytes"
        got += len(piece)
        await asyncio.sleep(0.02)
    await wire.close()


async def test_connections_with_slow_heads_are_closed_and_others_are_served(own_api: ApiClient) -> None:
    api = own_api
    await api.close_connections()
    held = Held(api)
    wires = [await Wire.open(api.port) for _ in range(200)]
    head = make_request("GET", "/api/v1/chats", token=api.token, headers={"x-padding": "x" * 2_000})

    async def drip(wire: Wire, n: int) -> None:
        for byte in head if n % 4 else b"":  # every fourth says nothing at all
            if wire.is_hung_up:
                return
            wire.send(bytes([byte]))
            await asyncio.sleep(0.02)

    dripping = [asyncio.create_task(drip(wire, n)) for n, wire in enumerate(wires)]
    assert (await api.ask("GET", "/chats")).status == 200
    await wait_until(lambda: all(wire.is_hung_up for wire in wires), what="the connections are closed")
    await asyncio.gather(*dripping)
    for wire in wires:
        await wire.close()
    await _nothing_is_left(api, held)


async def test_an_idle_connection_stays_open_longer_than_a_head_may_take() -> None:
    async with open_api(http_limits=HttpLimits(head_s=0.2)) as api:
        wire = await Wire.open(api.port)
        for _ in range(2):
            wire.send(make_request("GET", "/healthz"))
            assert (await wire.read_answer()).status == 200
            await asyncio.sleep(0.4)
        await wire.close()


# --- generated requests -----------------------------------------------------------------------


@pytest.mark.parametrize("examples", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_no_generated_request_breaks_the_document(tmp_path: Path, examples: int) -> None:
    """schemathesis: right and wrong requests made from /openapi.json, the same every run.

    The server has a process of its own, because hypothesis moves the recursion limit of this one.
    """
    with server_process(tmp_path / "data", "--drain-s", "0") as running:
        ids = [
            str(running.ask("POST", "/chats", {"content": content})[1]["id"]) for content in ("/say two", "/stall 60")
        ]
        assert _run_schemathesis(running.url, running.token, ids, examples) > 50 * examples
        assert running.ask("GET", "/chats")[0] == 200
        assert "request_failed" not in running.log


CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]


def _run_schemathesis(url: str, token: str, chat_ids: list[str], examples: int) -> int:
    """Returns how many requests were sent: up to `examples` right and as many wrong ones for each route."""
    import requests

    schema = schemathesis.openapi.from_dict(DOCUMENT)
    tried = 0
    settings = hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    with requests.Session() as session:
        for found in schema.get_all_operations():
            operation = found.ok()
            name = operation.definition.raw["operationId"]
            if name in ("stream", "stream_many", "ws", "feed", "close_session", "open_session"):
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                def attempt(case: Any, chosen: int) -> None:
                    nonlocal tried
                    tried += 1
                    if chosen < len(chat_ids) and case.path_parameters and "chat_id" in case.path_parameters:
                        case.path_parameters["chat_id"] = chat_ids[chosen]
                    headers = {"Authorization": f"Bearer {token}"}
                    answer = case.call(base_url=url, session=session, headers=headers, timeout=20)
                    case.validate_response(answer, checks=CHECKS)

                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                    given = hypothesis.given(case=strategy, chosen=hypothesis.strategies.integers(0, 3))
                    settings(given(attempt))()
                except hypothesis.errors.Unsatisfiable:
                    continue  # nothing of this route can be wrong
    return tried
