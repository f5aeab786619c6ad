"""JSON with very many values is refused at every way in, before it becomes objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.core.depth import VALUES_MAX
from antiphon.errors import PeerError
from antiphon.wire import jsonrpc
from antiphon.wire.codec import decode
from api.zmq.peers import Peer

from .api_client import ApiClient, open_api

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
WIDE = b"[" * 60 + b"1,1" + b"]" * 60 + b","
BOMBS: dict[str, Callable[[], bytes]] = {
    "short strings in 300 arrays": lambda: b"[" * 300 + b'"",' * (7 * MIB // 3) + b"0" + b"]" * 300,
    "many values, 60 deep": lambda: b"[" + WIDE * (7 * MIB // len(WIDE)) + b"0]",
    "empty objects": lambda: b"[" + b"{}," * (7 * MIB // 3) + b"0]",
    "members": lambda: b"{" + b",".join(b'"%d":0' % n for n in range(MIB // 2)) + b"}",
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_body_with_too_many_values_is_refused_with_a_sentence(api: ApiClient, name: str) -> None:
    body = b'{"content":[{"type":"text","text":"x","provider_metadata":{"a":%b}}]}' % BOMBS[name]()
    for path in ("/chats", f"/chats/{await api.make_chat()}/messages"):
        answer = await api.ask("POST", path, data=body)
        assert (answer.status, answer.code) == (413, "too_large")
        assert f"JSON values) is too large: at most {VALUES_MAX}" in answer.json["error"]["message"]


async def test_a_call_with_too_many_values_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async with (
        open_api(data=tmp_path / "data") as api,
        open_zmq_endpoint(api.instance, api.instance.asgi, tmp_path / "data") as zmq,
        Peer(zmq) as peer,
    ):
        await peer.send(b'{"jsonrpc":"2.0","id":"1","method":"x","params":{"a":[%b0]}}' % (b"0," * (MIB // 2)))
        answer = await peer.answer()
        assert answer["error"]["code"] == jsonrpc.INVALID_REQUEST
        assert f"more than {VALUES_MAX:,} JSON values" in answer["error"]["message"]


async def test_a_large_message_with_few_values_is_stored(api: ApiClient) -> None:
    text = 'say "hi", [twice] {or} thrice\n' * 60_000
    answer = await api.ask("POST", "/chats", {"content": text})
    assert answer.status == 201


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [
        (r"\ud800\ud800\udc00\udc00", "\ufffd\U00010000\ufffd"),
        (r"\\ud800 \\\ud800", "\\ud800 \\\ufffd"),
        (r"\uD83D\uDE00\ude00\uDBFF", "\U0001f600\ufffd\ufffd"),
        (r"\n\\\\\udfff\"", '\n\\\\\ufffd"'),
    ],
)
def test_each_lone_surrogate_is_read_as_a_replacement_character(escaped: str, expected: str) -> None:
    assert decode(b'"%b"' % escaped.encode(), str) == expected


def test_a_text_of_lone_surrogates_and_one_of_escapes_are_refused_in_bounded_time() -> None:
    for text in (rb"\ud800" * MIB, rb"\n" * (4 * MIB) + rb"\x"):
        with pytest.raises(PeerError):
            decode(b'"%b"' % text, str)


def _file(data: str) -> dict[str, Any]:
    return {"content": [{"type": "file", "media_type": "image/png", "data": data}]}


@pytest.mark.parametrize(
    "data",
    [
        "data:;" + "=" * 7 * MIB,
        "data:" + "a=;" * 2 * MIB + ",",
        "data:image/png;" + "a" * 7 * MIB,
        " =" * 3 * MIB,
        "data:;base64" * (MIB // 2),
    ],
    ids=["equal signs", "parameters", "a long name", "spaces", "prefixes"],
)
async def test_a_file_whose_data_is_hostile_is_refused(api: ApiClient, data: str) -> None:
    answer = await api.ask("POST", "/chats", _file(data))
    assert (answer.status, answer.code) == (422, "invalid")
