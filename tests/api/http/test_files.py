"""Files: uploads with their limits, safe downloads, ranges, references in messages, and removal."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from antiphon.api.http.limits import HttpLimits
from antiphon.chats.files import OWNER_UPLOADS_MAX
from antiphon.errors import NotFound
from antiphon.ports import FILE_PIECE_BYTES
from support.waiting import wait_until

from .api_client import ApiClient, open_api, random_chat_id
from .wire import Answer, Wire, close_wires, make_request

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture" * 9
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(document.cookie)</script></svg>'
LARGE = os.urandom(FILE_PIECE_BYTES * 2 + 12_345)


async def upload(api: ApiClient, data: bytes, media_type: str = "", name: str = "") -> Any:
    headers = {"content-type": media_type, "x-filename": name}
    answer = await api.ask("POST", "/files", data=data, headers=headers)
    assert answer.status == 201, answer.body
    return answer.json


async def get(api: ApiClient, file_id: str, method: str = "GET", **headers: str) -> Answer:
    return await api.ask(method, f"/files/{file_id}", headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[ApiClient]:
    """An instance with low limits."""
    limits = {"file_bytes": 1000, "files": 3, "files_bytes": 1800, "file_unused_s": 3600}
    async with open_api(data=tmp_path / "data", limits=limits) as opened:
        yield opened
        await close_wires()


# --- uploads


async def test_a_file_comes_back_as_it_was_uploaded(api: ApiClient) -> None:
    made = await upload(api, LARGE, "application/zip", "r%C3%A9sum%C3%A9%20%F0%9F%98%80.zip")
    assert made == {
        "file_id": made["file_id"],
        "media_type": "application/zip",
        "size": len(LARGE),
        "sha256": hashlib.sha256(LARGE).hexdigest(),
        "name": "résumé 😀.zip",
    }
    answer = await get(api, made["file_id"])
    assert (answer.status, answer.body) == (200, LARGE)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-length"] == str(len(LARGE))


async def test_equal_files_are_stored_once_for_each_owner(small: ApiClient, tmp_path: Path) -> None:
    first = await upload(small, PNG, "image/png", "first.png")
    assert await upload(small, PNG, "image/png", "second.png") == first
    assert await upload(small, PNG) == first, "its type is found by its bytes"
    assert [path.name for path in (tmp_path / "data" / "files").iterdir()] == [first["file_id"]]
    other = await small.as_owner("other")
    assert (await upload(other, PNG))["file_id"] != first["file_id"]
    assert len(list((tmp_path / "data" / "files").iterdir())) == 2


async def test_a_body_of_unknown_length_is_stored(api: ApiClient) -> None:
    wire = await Wire.open(api.port)
    headers = {"content-length": "", "transfer-encoding": "chunked", "content-type": "text/plain"}
    wire.send(make_request("POST", "/api/v1/files", token=api.token, headers=headers))
    for piece in (b"one ", b"two ", b"three"):
        wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await asyncio.sleep(0)
    wire.send(b"0\r\n\r\n")
    made = (await wire.read_answer()).json
    assert (await get(api, made["file_id"])).body == b"one two three"


@pytest.mark.parametrize(
    ("media_type", "data", "reason"),
    [
        ("image/png", SVG, "the bytes are not image/png"),
        ("image/png", b"\xff\xd8\xff\xe0JFIF", "not image/png, but image/jpeg"),
        ("image/svg+xml", PNG, "not image/svg+xml, but image/png"),
        ("image/webp", b"RIFF1234WAVE", "the bytes are not image/webp"),
        ("application/pdf", b"<html>", "the bytes are not application/pdf"),
        ("text/plain", b"\x7fELF\0\0", "the bytes are not text/plain"),
        ("text/plain", PNG, "not text/plain, but image/png"),
        ("png", PNG, "written as in image/png"),
        ("image/png, text/html", PNG, "written as in image/png"),
        ("a/" + "b" * 200, PNG, "written as in image/png"),
        ("text/plain", b"", "at least one byte"),
    ],
)
async def test_a_file_that_is_not_of_its_declared_type_is_invalid(
    api: ApiClient, media_type: str, data: bytes, reason: str
) -> None:
    answer = await api.ask("POST", "/files", data=data, headers={"content-type": media_type})
    assert (answer.status, answer.code) == (422, "invalid")
    assert reason in answer.json["error"]["reason"]


async def test_a_file_over_a_limit_is_refused_and_leaves_nothing(small: ApiClient, tmp_path: Path) -> None:
    assert (await upload(small, b"x" * 1000))["size"] == 1000
    too_large = await small.ask("POST", "/files", data=b"x" * 1001)
    assert (too_large.status, too_large.code, too_large.json["error"]["limit"]) == (413, "too_large", 1000)
    wire = await Wire.open(small.port)
    chunked = {"content-length": "", "transfer-encoding": "chunked"}
    wire.send(make_request("POST", "/api/v1/files", token=small.token, headers=chunked))
    wire.send(b"1f4\r\n%b\r\n" % (b"x" * 500) * 3 + b"0\r\n\r\n")
    assert (await wire.read_answer()).status == 413
    too_much = await small.ask("POST", "/files", data=b"y" * 900)
    assert (too_much.status, too_much.code, too_much.json["error"]["limit"]) == (429, "too_many", 1800)
    await upload(small, b"y")
    await upload(small, b"z")
    too_many = await small.ask("POST", "/files", data=b"w")
    assert (too_many.status, too_many.code, too_many.json["error"]["limit"]) == (429, "too_many", 3)
    await upload(small, b"z")
    await wait_until(lambda: len(list((tmp_path / "data" / "files").iterdir())) == 3)


async def test_an_upload_that_stalls_is_ended_and_leaves_nothing(tmp_path: Path) -> None:
    async with open_api(data=tmp_path / "data", http_limits=HttpLimits(body_idle_s=0.05)) as api:
        wire = await Wire.open(api.port)
        head = make_request("POST", "/api/v1/files", token=api.token, headers={"content-length": "9000000"})
        wire.send(head + LARGE)
        await wait_until(lambda: any(tmp_path.glob("data/files/*.part")))
        answer = await wire.read_answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        await wait_until(lambda: not list((tmp_path / "data" / "files").iterdir()))
        await close_wires()


async def test_an_upload_whose_client_disconnects_leaves_nothing(small: ApiClient, tmp_path: Path) -> None:
    wire = await Wire.open(small.port)
    wire.send(make_request("POST", "/api/v1/files", token=small.token, headers={"content-length": "900"}) + b"x")
    await wait_until(lambda: small.instance.files._uploads)
    wire.reset()
    await wait_until(lambda: not small.instance.files._uploads)
    assert not (tmp_path / "data" / "files").exists() or not list((tmp_path / "data" / "files").iterdir())


async def test_uploads_of_one_owner_at_once_are_limited(api: ApiClient) -> None:
    wires = [await Wire.open(api.port) for _ in range(OWNER_UPLOADS_MAX)]
    for wire in wires:
        wire.send(make_request("POST", "/api/v1/files", token=api.token, headers={"content-length": "10"}))
    await wait_until(lambda: api.instance.files._uploads[api.owner_id] == OWNER_UPLOADS_MAX)
    refused = await api.ask("POST", "/files", data=b"x")
    assert (refused.status, refused.code) == (429, "too_many")
    assert refused.headers["retry-after"] == "1"
    other = await api.as_owner("uploads beside them")
    assert (await upload(other, b"x"))["size"] == 1
    for wire in wires:
        wire.send(b"0123456789")
        assert (await wire.read_answer()).status == 201
    assert (await upload(api, b"x"))["size"] == 1


# --- downloads


async def test_a_script_in_an_image_is_downloaded_and_not_run(api: ApiClient) -> None:
    made = await upload(api, SVG, "image/svg+xml", "logo.svg")
    answer = await get(api, made["file_id"])
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-disposition"] == "attachment; filename=\"logo.svg\"; filename*=UTF-8''logo.svg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize(
    ("media_type", "data", "disposition"),
    [
        ("image/png", PNG, "inline"),
        ("image/jpg", b"\xff\xd8\xff\xe0", "inline"),
        ("", b"GIF89a...", "inline"),
        ("image/webp", b"RIFF1234WEBPVP8 ", "inline"),
        ("text/plain; charset=latin-1", b"caf\xe9", "inline"),
        ("text/html", b"<script>alert(1)</script>", "attachment"),
        ("application/pdf", b"%PDF-1.7", "attachment"),
        ("application/xhtml+xml", b"<html/>", "attachment"),
        ("image/bmp", b"BM....", "attachment"),
        ("", b"<html><script>", "attachment"),
    ],
)
async def test_only_passive_types_are_displayed_inside_a_page(
    api: ApiClient, media_type: str, data: bytes, disposition: str
) -> None:
    made = await upload(api, data, media_type)
    answer = await get(api, made["file_id"])
    assert answer.headers["content-disposition"] == disposition
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_name_cannot_forge_a_header_or_a_path(api: ApiClient) -> None:
    names = {
        "%0d%0aset-cookie:%20a=b.txt": "set-cookie: a=b.txt",
        "..%2f..%2fetc%2fpasswd": "passwd",
        "C:%5Cdir%5Ca.txt": "a.txt",
        'a%22;%20filename="b.txt': 'a"; filename="b.txt',
        "..": "",
        "%ff%ED%A0%80.txt": "\ufffd\ufffd\ufffd\ufffd.txt",
    }
    for number, (sent, name) in enumerate(names.items()):
        made = await upload(api, b"%d" % number, "application/x-test", sent)
        assert made.get("name", "") == name
        answer = await get(api, made["file_id"])
        assert "set-cookie" not in answer.headers
        shown = answer.headers["content-disposition"]
        assert shown == "attachment" or shown.startswith('attachment; filename="')
        assert shown.count('"') in (0, 2), "a quote in a name does not end it"
    too_long = await api.ask("POST", "/files", data=b"x", headers={"x-filename": "x" * 257})
    assert (too_long.status, too_long.code) == (422, "invalid")


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=262143-262144", 262143, 262145),
        (f"bytes={FILE_PIECE_BYTES}-", FILE_PIECE_BYTES, len(LARGE)),
        ("bytes=-5", len(LARGE) - 5, len(LARGE)),
        ("bytes=-99999999999", 0, len(LARGE)),
        ("bytes=100-9999999999", 100, len(LARGE)),
        ("Bytes= 1-2 ", 1, 3),
    ],
)
async def test_a_range_gives_these_bytes_only(api: ApiClient, header: str, start: int, stop: int) -> None:
    made = await upload(api, LARGE)
    answer = await get(api, made["file_id"], range=header)
    assert (answer.status, answer.body) == (206, LARGE[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(LARGE)}"
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    "header", ["bytes=2-1", "bytes=a-b", "bytes=-", "bytes=", "items=0-1", "bytes=0-1,4-5", "bytes=0-" + "9" * 99]
)
async def test_a_range_that_is_not_valid_or_not_supported_gives_the_whole(api: ApiClient, header: str) -> None:
    made = await upload(api, LARGE)
    answer = await get(api, made["file_id"], range=header)
    assert (answer.status, len(answer.body)) == (200, len(LARGE))


async def test_a_range_beyond_the_end_is_not_satisfiable(api: ApiClient) -> None:
    made = await upload(api, PNG)
    for header in (f"bytes={len(PNG)}-", "bytes=999-1000", "bytes=-0"):
        answer = await get(api, made["file_id"], range=header)
        assert answer.status == 416
        assert answer.headers["content-range"] == f"bytes */{len(PNG)}"


async def test_conditional_requests_go_by_the_hash(api: ApiClient) -> None:
    made = await upload(api, PNG)
    etag = f'"{made["sha256"]}"'
    assert (await get(api, made["file_id"])).headers["etag"] == etag
    for header in (etag, f"W/{etag}", f'"a", {etag}', "*"):
        answer = await get(api, made["file_id"], if_none_match=header, range="bytes=0-1")
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
    assert (await get(api, made["file_id"], if_none_match='"other"')).status == 200
    for header, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200), ("Mon, 30 Nov 2026 00:00:00 GMT", 200)):
        assert (await get(api, made["file_id"], if_range=header, range="bytes=0-1")).status == status


async def test_a_file_that_is_removed_is_not_found_when_a_download_begins(small: ApiClient) -> None:
    """The row is removed first: a download that has found it may begin until the bytes are removed."""
    files, store = small.instance.files, small.instance.store
    made = await files.get(small.owner_id, (await upload(small, PNG))["file_id"])
    pieces = await files.open(made, 0, made.size)
    assert await anext(pieces) == PNG
    await store.use_files(small.owner_id, chat_id := await small.make_chat(), [made.file_id])
    await small.ask("DELETE", f"/chats/{chat_id}")
    await wait_until(lambda: is_gone(small, {"file_id": made.file_id}))

    async def is_not_found() -> bool:
        try:
            await (await files.open(made, 0, made.size)).aclose()
        except NotFound:
            return True
        return False

    await wait_until(is_not_found)


async def test_head_gives_the_headers_of_the_whole(api: ApiClient) -> None:
    made = await upload(api, LARGE)
    whole = await get(api, made["file_id"])
    head = await get(api, made["file_id"], "HEAD", range="bytes=0-1")
    assert (head.status, head.headers) == (200, whole.headers)


async def test_a_client_that_reads_nothing_is_disconnected(tmp_path: Path) -> None:
    async with open_api(data=tmp_path / "data", http_limits=HttpLimits(download_idle_s=0.1)) as api:
        data = os.urandom(8 * 1024 * 1024)
        made = await upload(api, data)
        loop = asyncio.get_running_loop()
        with socket.socket() as peer, structlog.testing.capture_logs() as logged:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            await loop.sock_connect(peer, ("127.0.0.1", api.port))
            await loop.sock_sendall(peer, make_request("GET", f"/api/v1/files/{made['file_id']}", token=api.token))
            await wait_until(lambda: any(entry["event"] == "stream_failed" for entry in logged))
            received = 0
            with contextlib.suppress(ConnectionError):
                while piece := await loop.sock_recv(peer, 1 << 20):
                    received += len(piece)
        assert 0 < received < len(data)
        assert (await get(api, made["file_id"])).body == data
        await close_wires()


# --- in messages


def reference(made: Any) -> dict[str, Any]:
    return {"type": "file-reference", "file_id": made["file_id"]}


async def test_a_message_refers_to_a_file(api: ApiClient) -> None:
    made = await upload(api, PNG)
    sent = [{"type": "text", "text": "/say ok"}, reference(made)]
    chat_id = await api.make_chat()
    answer = await api.send(chat_id, sent)
    shown = {"type": "file-reference", "file_name": "", "start_line": 0, "end_line": 0, "content": ""}
    shown |= {"file_id": made["file_id"], "media_type": "image/png", "size": len(PNG)}
    assert answer.json["message"]["content"] == [sent[0], shown]
    await api.rested(chat_id)
    assert await api.texts(chat_id) == ["user: /say ok", "assistant: ok"]


async def test_the_server_describes_the_file_and_not_the_client(api: ApiClient) -> None:
    image = b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000000200000001008060000")
    made = await upload(api, image, name="a.png")
    chat_id = await api.make_chat()
    claimed = {"media_type": "text/html", "size": 1, "width": 9, "height": 9}
    for client_message_id in ("a", "a"):
        answer = await api.send(chat_id, [reference(made) | claimed], client_message_id=client_message_id)
        (shown,) = answer.json["message"]["content"]
        assert (shown["file_name"], shown["media_type"], shown["size"]) == ("a.png", "image/png", len(image))
        assert (shown["width"], shown["height"]) == (32, 16)
    again = await api.send(chat_id, [reference(made)], client_message_id="a")
    assert again.status == 201, "what the server sets is no part of the request"


@pytest.mark.parametrize(
    "part", [{"type": "file"}, {"type": "input_image"}, {"type": "input_file", "filename": "a.png"}], ids=str
)
async def test_parts_of_other_apis_refer_to_a_file_by_its_id(api: ApiClient, part: dict[str, Any]) -> None:
    made = await upload(api, PNG)
    chat_id = await api.make_chat()
    answer = await api.send(chat_id, [part | {"file_id": made["file_id"].upper()}])
    (shown,) = answer.json["message"]["content"]
    assert (shown["type"], shown["file_id"]) == ("file-reference", made["file_id"])


@pytest.mark.parametrize("file_id", ["", 7, None, "x" * 129, ["a"]], ids=str)
async def test_an_id_that_is_none_is_invalid_or_refers_to_no_file(api: ApiClient, file_id: Any) -> None:
    chat_id = await api.make_chat()
    answer = await api.send(chat_id, [{"type": "file", "file_id": file_id}])
    assert (answer.status, answer.code) == (422, "invalid")


async def test_a_message_refers_to_a_limited_number_of_files(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    references = [{"type": "file-reference", "file_id": random_chat_id()} for _ in range(65)]
    answer = await api.send(chat_id, references)
    assert (answer.status, answer.code) == (422, "invalid")
    assert "at most 64 files" in answer.json["error"]["reason"]
    assert (await api.send(chat_id, references[:64])).status == 404


# --- removal


async def is_gone(api: ApiClient, made: Any) -> bool:
    return (await get(api, made["file_id"], "HEAD")).status == 404


async def test_a_file_is_removed_with_the_last_chat_that_names_it(small: ApiClient, tmp_path: Path) -> None:
    made = await upload(small, PNG)
    first = await small.make_chat([reference(made)])
    second = await small.make_chat()
    await small.send(second, "/stall 600")
    queued = (await small.send(second, "waits")).json["seq"]
    await small.ask("PATCH", f"/chats/{second}/queue/{queued}", {"content": [reference(made)]})
    await small.ask("DELETE", f"/chats/{first}")
    unused = await upload(small, b"unused")
    third = await small.make_chat()
    await small.ask("DELETE", f"/chats/{third}")
    await wait_until(lambda: not small.instance.files._is_woken.is_set())
    assert not await is_gone(small, made), "a queued message names it"
    await small.ask("DELETE", f"/chats/{second}")
    await wait_until(lambda: is_gone(small, made))
    assert not await is_gone(small, unused), "it was uploaded a moment ago"
    await wait_until(lambda: [path.name for path in (tmp_path / "data" / "files").iterdir()] == [unused["file_id"]])


async def test_a_repeated_send_is_answered_after_its_file_was_removed(small: ApiClient) -> None:
    made = await upload(small, PNG)
    chat_id = await small.make_chat()
    first = await small.send(chat_id, [reference(made)], client_message_id="a")
    await small.ask("DELETE", f"/chats/{chat_id}")
    await wait_until(lambda: is_gone(small, made))
    again = await small.send(chat_id, [reference(made)], client_message_id="a")
    assert (again.status, again.json["seq"]) == (first.status, first.json["seq"])
    assert again.json["message"]["content"][0]["file_id"] == made["file_id"]
    assert (await small.send(chat_id, [reference(made)], client_message_id="b")).status == 404
