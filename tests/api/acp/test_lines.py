"""What an `antiphon acp` process answers to lines that are no requests, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.waiting import wait_until

from ..http.api_client import ApiClient
from .conftest import access, address
from .editor import Process, acp_process

pytestmark = pytest.mark.anyio


async def answer_to(process: Process, line: bytes) -> Any:
    process.writer.write(line + b"\n")
    while True:
        found = json.loads(await process.reader.readline())
        if "method" not in found:
            return found


def request(method: str, params: Any = None, number: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


async def test_lines_that_are_no_requests_are_answered_and_the_connection_goes_on(shared_api: ApiClient) -> None:
    async with acp_process(*address(shared_api), **access(shared_api)) as process:
        for line, code in (
            (b"no json", -32700),
            (b'{"jsonrpc": "2.0", "id": 1', -32700),
            (b"[]", -32600),
            (b"[" * 1_000 + b"]" * 1_000, -32700),
            (b'{"jsonrpc":"2.0","id":{},"method":"initialize"}', -32600),
            (b"x" * (17 << 20), -32600),
            (request("session/fork", {}), -32601),
            (request("initialize", {"protocolVersion": "x"}), -32602),
            (request("session/new", {"cwd": 1, "mcpServers": []}), -32602),
            (request("session/load", {"sessionId": "x", "cwd": "/", "mcpServers": []}), -32002),
            (request("session/prompt", {"sessionId": "x", "prompt": []}), -32002),
            (request("session/list", {"cursor": "nonsense"}), -32602),
            (request("authenticate", {"methodId": "x"}), -32602),
        ):
            assert (await answer_to(process, line))["error"]["code"] == code, line[:80]
        process.writer.write(
            b"\n \n" + b'{"jsonrpc":"2.0","id":7,"result":{}}\n' + b'{"jsonrpc":"2.0","method":"x"}\n'
        )
        process.writer.write(b'{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":[]}}\n')
        made = await answer_to(process, request("session/new", {"cwd": "/", "mcpServers": [], "new": 1}, "a"))
        assert (made["id"], "result" in made) == ("a", True)
        prompt = {"sessionId": made["result"]["sessionId"], "prompt": [{"type": "video"}]}
        refused = await answer_to(process, request("session/prompt", prompt))
        assert refused["error"]["code"] == -32602
        assert "'video'" in refused["error"]["message"]
        assert await process.end() == 0


async def test_a_request_is_cancelled(shared_api: ApiClient) -> None:
    async with acp_process(*address(shared_api), **access(shared_api)) as process:
        made = await answer_to(process, request("session/new", {"cwd": "/", "mcpServers": []}))
        prompt = [{"type": "text", "text": "/rate 50\n/tokens 4000"}]
        session = {"sessionId": made["result"]["sessionId"], "prompt": prompt}
        process.writer.write(request("session/prompt", session, 5) + b"\n")
        again = await answer_to(process, request("session/prompt", session, 5))
        assert again["error"]["code"] == -32600
        cancel = {"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": 5}}
        answered = await answer_to(process, json.dumps(cancel).encode())
        assert (answered["id"], answered["result"]["stopReason"]) == (5, "cancelled")


async def test_the_end_of_the_input_stops_no_turn(shared_api: ApiClient) -> None:
    async with acp_process(*address(shared_api), **access(shared_api)) as process:
        made = await answer_to(process, request("session/new", {"cwd": "/", "mcpServers": []}))
        chat_id = made["result"]["sessionId"]
        prompt = {"sessionId": chat_id, "prompt": [{"type": "text", "text": "/rate 100\n/tokens 20"}]}
        process.writer.write(request("session/prompt", prompt) + b"\n")
        assert await process.end() == 0  # at once, and the message was sent before

    async def is_stored() -> bool:
        return (await shared_api.ask("GET", f"/chats/{chat_id}")).status == 200

    assert await is_stored()
    await wait_until(lambda: shared_api.chat(chat_id), accept=lambda chat: chat["status"] == "waiting")
    assert (await shared_api.texts(chat_id))[-1].endswith("w20 ")


async def test_without_an_instance_it_starts_one_and_says_so(tmp_path: Any) -> None:
    log = tmp_path / "log"
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    tmp_path.chmod(0o700)
    async with acp_process("--data", str(tmp_path / "data"), env=env, log=log) as process:
        made = await answer_to(process, request("session/new", {"cwd": "/", "mcpServers": []}))
        prompt = {"sessionId": made["result"]["sessionId"], "prompt": [{"type": "text", "text": "/say hi"}]}
        answered = await answer_to(process, request("session/prompt", prompt))
        assert answered["result"]["stopReason"] == "end_turn"
        assert await process.end() == 0
    assert log.read_text().startswith("antiphon: no instance is running; started one on ")
