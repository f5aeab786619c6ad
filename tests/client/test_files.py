"""Uploads and downloads of both clients, from memory and from disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antiphon import errors as e
from antiphon.client import AnswerLost, AsyncClient, Client
from antiphon.client.local import Endpoints
from antiphon.local.lock import read_instance_file
from support.tcp_server import open_tcp_server

from .servers import ServerProcess

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n"
LARGE = os.urandom(1_000_000)


async def test_bytes_and_paths_are_uploaded(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "a ü.png").write_bytes(PNG)
    by_path = await client.upload(tmp_path / "a ü.png")
    assert (by_path["name"], by_path["media_type"], by_path["size"]) == ("a ü.png", "image/png", 8)
    assert await client.upload(PNG) == by_path, "equal bytes are stored once"
    large = await client.upload(LARGE, media_type="application/x-test", name="a.bin")
    assert (large["media_type"], large["name"]) == ("application/x-test", "a.bin")
    assert await client.download(large["file_id"]) == LARGE
    assert await client.download(large["file_id"], start=5, stop=9) == LARGE[5:9]
    assert await client.download(large["file_id"], start=999_990) == LARGE[-10:]
    assert await client.download(large["file_id"], stop=3) == LARGE[:3]


async def test_a_download_is_written_to_a_file(client: AsyncClient, tmp_path: Path) -> None:
    large = await client.upload(LARGE)
    target = tmp_path / "target"
    assert await client.download_to(large["file_id"], target) == len(LARGE)
    assert target.read_bytes() == LARGE
    with pytest.raises(e.NotFound):
        await client.download_to("unknown", target)
    assert target.read_bytes() == LARGE
    assert os.listdir(tmp_path) == ["target"]


async def test_refusals_are_the_errors_of_the_server(client: AsyncClient, tmp_path: Path) -> None:
    with pytest.raises(e.Invalid, match="at least one byte"):
        await client.upload(b"")
    with pytest.raises(e.Invalid, match="not image/png"):
        await client.upload(b"x", media_type="image/png")
    with pytest.raises(e.NotFound, match="no such file"):
        await client.download("unknown")
    with pytest.raises(e.Refused, match="1 bytes"):
        await client.download((await client.upload(b"x"))["file_id"], start=1)
    with pytest.raises(e.Invalid, match="after start"):
        await client.download("unknown", start=3, stop=3)
    with pytest.raises(FileNotFoundError):
        await client.upload(tmp_path / "missing")


async def test_a_message_names_a_file(client: AsyncClient) -> None:
    made = await client.upload(PNG)
    chat = await client.create_chat([{"type": "file-reference", "file_id": made["file_id"]}])
    (message, *_) = (await client.messages(chat["id"]))["messages"]
    assert message["content"][0]["file_id"] == made["file_id"]


def test_the_blocking_client_transfers_files(blocking: Client, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(LARGE)
    made = blocking.upload(tmp_path / "large.bin")
    assert blocking.download(made["file_id"]) == LARGE
    assert blocking.download_to(made["file_id"], tmp_path / "copy") == len(LARGE)
    assert (tmp_path / "copy").read_bytes() == LARGE


async def test_a_download_that_is_cut_off_is_lost(tmp_path: Path) -> None:
    async def serve(reader, writer) -> None:  # type: ignore[no-untyped-def]
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    async with open_tcp_server(serve) as port, AsyncClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(AnswerLost):
            await client.download_to("x", tmp_path / "target")
    assert os.listdir(tmp_path) == []


async def test_files_are_not_transferred_over_zeromq(server: ServerProcess) -> None:
    found = read_instance_file(server.data)
    assert found is not None
    endpoints = Endpoints.of(found.pub_endpoint, found.rpc_endpoint, found.keys)
    assert endpoints is not None
    async with AsyncClient.local(endpoints) as local:
        with pytest.raises(e.Invalid, match="over HTTP only"):
            await local.upload(b"x")
        with pytest.raises(e.Invalid, match="over HTTP only"):
            await local.download("x")


def test_files_are_not_transferred_by_the_blocking_client_over_zeromq(server: ServerProcess) -> None:
    found = read_instance_file(server.data)
    assert found is not None
    endpoints = Endpoints.of(found.pub_endpoint, found.rpc_endpoint, found.keys)
    assert endpoints is not None
    with Client.local(endpoints) as local:
        with pytest.raises(e.Invalid, match="over HTTP only"):
            local.upload(b"x")
        with pytest.raises(e.Invalid, match="over HTTP only"):
            local.download("x")
