"""Uploads and downloads through a standby: streams of bytes, bounded, and refused clearly when a primary is lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.http.limits import HttpLimits
from antiphon.ports import FILE_PIECE_BYTES
from api.http.wire import Answer, Wire, make_request
from support.waiting import wait_until

from .test_standby import Standby, fake_primary, open_standby_app, standby

__all__ = ["standby"]

pytestmark = pytest.mark.anyio

LARGE = os.urandom(FILE_PIECE_BYTES * 40)
"""More than the body of another request may have."""


async def ask(standby: Standby, method: str, path: str, data: bytes = b"", **headers: str) -> Answer:
    wire = await Wire.open(standby.port)
    given = standby.bearer() | {"content-length": str(len(data))} | headers
    wire.send(make_request(method, f"/api/v1{path}", headers=given) + data)
    try:
        return await wire.read_answer(method)
    finally:
        await wire.close()


async def upload(standby: Standby, data: bytes = LARGE) -> Any:
    answer = await ask(standby, "POST", "/files", data, **{"x-filename": "a.bin"})
    assert answer.status == 201, answer.body
    return answer.json


async def test_a_large_file_is_uploaded_and_downloaded(standby: Standby) -> None:
    made = await upload(standby)
    assert (made["size"], made["name"]) == (len(LARGE), "a.bin")
    whole = await ask(standby, "GET", f"/files/{made['file_id']}")
    assert whole.body == LARGE
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("attachment")
    part = await ask(standby, "GET", f"/files/{made['file_id']}", range="bytes=5-9")
    assert (part.status, part.body) == (206, LARGE[5:10])
    same = await ask(standby, "GET", f"/files/{made['file_id']}", **{"if-none-match": whole.headers["etag"]})
    assert (same.status, same.body) == (304, b"")
    head = await ask(standby, "HEAD", f"/files/{made['file_id']}")
    assert head.headers["content-length"] == str(len(LARGE))


async def test_an_upload_of_unknown_length_is_forwarded(standby: Standby) -> None:
    wire = await Wire.open(standby.port)
    headers = standby.bearer() | {"content-length": "", "transfer-encoding": "chunked", "expect": "100-continue"}
    wire.send(make_request("POST", "/api/v1/files", headers=headers))
    assert (await wire.read_head())[0] == 100
    wire.send(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    answer = await wire.read_answer()
    assert (answer.status, answer.json["size"]) == (201, 6)
    await wire.close()


async def test_errors_are_forwarded(standby: Standby) -> None:
    wrong = await ask(standby, "POST", "/files", b"x", authorization="Bearer wrong")
    assert (wrong.status, wrong.code) == (401, "unauthenticated")
    missing = await ask(standby, "GET", "/files/unknown")
    assert (missing.status, missing.code) == (404, "not_found")
    declared = await ask(standby, "POST", "/files", b"x", **{"content-type": "image/png"})
    assert (declared.status, declared.code) == (422, "invalid")
    beyond = await ask(standby, "GET", f"/files/{(await upload(standby, b'x'))['file_id']}", range="bytes=9-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */1")


async def test_an_upload_that_stalls_is_refused(tmp_path: Path) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        """Never reached: the body does not arrive."""

    async with (
        fake_primary(tmp_path / "data", behave),
        open_standby_app(tmp_path / "data", HttpLimits(body_idle_s=0.05), token="t") as standby,
    ):
        wire = await Wire.open(standby.port)
        wire.send(make_request("POST", "/api/v1/files", headers={"content-length": "10"}) + b"x")
        assert (await wire.read_answer()).status == 408
        await wire.close()


async def test_an_upload_whose_primary_is_lost_may_be_repeated(tmp_path: Path) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        """Hang up."""

    async with (
        fake_primary(tmp_path / "data", behave) as asked,
        open_standby_app(tmp_path / "data", token="t") as standby,
    ):
        answer = await ask(standby, "POST", "/files", b"x")
        assert (answer.status, answer.code) == (503, "unavailable")
        assert b"repeat it" in answer.body
        assert len(asked) == 1


async def test_a_download_whose_primary_is_lost_is_repeated_until_a_byte_was_sent(tmp_path: Path) -> None:
    replies = [
        b"",
        b"HTTP/1.1 503 X\r\nantiphon-elsewhere: 1\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
    ]
    left = iter(replies)

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(next(left))

    async with (
        fake_primary(tmp_path / "data", behave) as asked,
        open_standby_app(tmp_path / "data", token="t") as standby,
    ):
        wire = await Wire.open(standby.port)
        wire.send(make_request("GET", "/api/v1/files/x"))
        assert (await wire.read_head())[0] == 200
        assert await wire.read_to_end() == b"half", "the client sees that the response is incomplete"
        assert len(asked) == 3
        await wire.close()


async def test_transfers_of_unknown_senders_share_a_limit(tmp_path: Path) -> None:
    limits = {"sender_transfers_max": 2, "transfers_max": 3}

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with (
        fake_primary(tmp_path / "data", behave),
        open_standby_app(tmp_path / "data", token="t", **limits) as standby,
    ):
        wires = [await Wire.open(standby.port) for _ in range(2)]
        for number, wire in enumerate(wires):
            headers = {"content-length": "1", "authorization": f"Bearer invented-{number}"}
            wire.send(make_request("POST", "/api/v1/files", headers=headers))
        await wait_until(lambda: len(standby.app._transfers) == 2)
        refused = await ask(standby, "GET", "/files/x", authorization="Bearer another")
        assert (refused.status, refused.code) == (429, "too_many")
        for wire in wires:
            wire.send(b"x")
            assert (await wire.read_answer()).status == 200
            await wire.close()
        assert (await ask(standby, "GET", "/files/x")).status == 200


async def test_streams_of_other_protocols_do_not_count_as_transfers_and_hold_no_body(tmp_path: Path) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/v1/responses" in request:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x\n\n")
            await asyncio.Event().wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with (
        fake_primary(tmp_path / "data", behave),
        open_standby_app(tmp_path / "data", token="t", sender_transfers_max=1, transfers_max=1) as standby,
    ):
        wires = [await Wire.open(standby.port) for _ in range(3)]
        for wire in wires:
            wire.send(make_request("POST", "/v1/responses", body=b'{"input": "%s"}' % (b"x" * 100_000)))
            assert (await wire.read_head())[0] == 200
        assert standby.app._bodies._bytes == 0
        assert (await ask(standby, "GET", "/files/x")).status == 200
        for wire in wires:
            await wire.close()


async def test_a_standby_that_stops_ends_its_transfers(tmp_path: Path) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with (
        fake_primary(tmp_path / "data", behave),
        open_standby_app(tmp_path / "data", token="t") as standby,
    ):
        asking = asyncio.create_task(ask(standby, "GET", "/files/x"))
        await wait_until(lambda: len(standby.app._transfers) == 1)
        standby.app.stop()
        answer = await asking
        assert (answer.status, answer.code) == (503, "unavailable")


async def test_a_client_that_disconnects_ends_its_transfer(standby: Standby) -> None:
    made = await upload(standby)
    for method, path, length in (("GET", f"/files/{made['file_id']}", ""), ("POST", "/files", "1000")):
        wire = await Wire.open(standby.port, receive_bytes=4096)
        headers = standby.bearer() | {"content-length": length}
        wire.send(make_request(method, f"/api/v1{path}", headers=headers))
        await wait_until(lambda: len(standby.app._transfers) == 1)
        wire.reset()
        await wait_until(lambda: not standby.app._transfers)
