"""Files on a store that several instances share: stored by one, read, named and removed by another."""

from __future__ import annotations

import os
from typing import Any

import pytest

from antiphon.ports import FILE_PIECE_BYTES
from api.http.api_client import ApiClient, open_api
from api.http.wire import close_wires
from support.postgres import PostgresServer
from support.waiting import wait_until

pytestmark = pytest.mark.anyio

DATA = os.urandom(FILE_PIECE_BYTES * 2 + 5)


def rows(server: PostgresServer, url: str, table: str) -> int:
    return int(server.execute(f"SELECT count(*) FROM {table}", url))


async def test_a_file_is_stored_at_one_replica_and_used_and_removed_at_another(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    async with open_api(store=postgres_url) as first, open_api(store=postgres_url) as second:
        second.token = first.token
        made: Any = (await first.ask("POST", "/files", data=DATA)).json
        again: Any = (await second.ask("POST", "/files", data=DATA)).json
        assert again == made
        assert rows(postgres_server, postgres_url, "file_chunks") == 3
        for api in (first, second):
            assert (await api.ask("GET", f"/files/{made['file_id']}")).body == DATA
            part = await api.ask("GET", f"/files/{made['file_id']}", headers={"range": "bytes=262140-262150"})
            assert part.body == DATA[262140:262151]
        chat_id = await second.make_chat([{"type": "file-reference", "file_id": made["file_id"]}])
        assert (await first.ask("DELETE", f"/chats/{chat_id}")).status == 204

        async def is_removed(api: ApiClient) -> bool:
            return (await api.ask("HEAD", f"/files/{made['file_id']}")).status == 404

        await wait_until(lambda: is_removed(first))
        await wait_until(lambda: is_removed(second))
        await wait_until(lambda: rows(postgres_server, postgres_url, "file_chunks") == 0)
        await wait_until(lambda: rows(postgres_server, postgres_url, "unfinished_files") == 0)
        await close_wires()
