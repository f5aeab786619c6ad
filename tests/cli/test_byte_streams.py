"""Standard streams for asyncio: pipes that are full, files, and readers that are gone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from antiphon.cli.byte_streams import StandardStreams

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 4_096


async def test_a_full_pipe_is_waited_for_and_everything_arrives() -> None:
    read_from, write_to = os.pipe()
    streams = StandardStreams(read_from, write_to)
    try:
        writing = asyncio.create_task(streams.write(DATA))
        found = b""
        while len(found) < len(DATA):
            found += await streams.read()
        await writing
        assert found == DATA
    finally:
        os.close(write_to)
    assert await streams.read() == b""
    os.close(read_from)


async def test_files_are_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    with (tmp_path / "in").open("rb") as given, (tmp_path / "out").open("wb") as taken:
        streams = StandardStreams(given.fileno(), taken.fileno())
        while data := await streams.read():
            await streams.write(data)
    assert (tmp_path / "out").read_bytes() == DATA


async def test_a_reader_that_is_gone_is_an_error() -> None:
    read_from, write_to = os.pipe()
    os.close(read_from)
    with pytest.raises(BrokenPipeError):
        await StandardStreams(read_from, write_to).write(DATA)
    os.close(write_to)
