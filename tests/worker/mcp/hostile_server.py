"""A hostile MCP server over stdio, written by hand: `hostile_server.py ATTACK`. It knows the older protocol only."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

ATTACK = sys.argv[1]
MIB = 1024 * 1024


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def answer(request: dict[str, Any], result: Any) -> None:
    write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}) + "\n")


def error(request: dict[str, Any]) -> None:
    failure = {"code": -32601, "message": "no such method"}
    write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": failure}) + "\n")


def tool(name: str, description: str = "A tool.", **schema: Any) -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"} | schema}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def initialize(request: dict[str, Any]) -> None:
    if ATTACK == "never starts":
        time.sleep(3600)
    result = {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": "hostile", "version": "1"},
    }
    answer(request, result)


def list_tools(request: dict[str, Any]) -> None:
    tools = [tool("call")]
    result: dict[str, Any] = {"tools": tools}
    if ATTACK == "ten thousand tools":
        tools += [tool(f"t{number}") for number in range(10_000)]
    elif ATTACK == "thousand tools":
        tools += [tool(f"t{number}") for number in range(1_000)]
    elif ATTACK == "endless pages":
        result = {"tools": tools, "nextCursor": "again"}
    elif ATTACK == "long description":
        tools.append(tool("long", "x" * MIB))
    elif ATTACK == "deep schema":
        tools.append(tool("deep", properties=nested(100)))
    elif ATTACK == "large schema":
        tools.append(tool("large", properties={f"p{number}": {"type": "string"} for number in range(10_000)}))
    elif ATTACK == "names":
        tools += [tool("a b"), tool("a.b"), tool("é" * 200), tool(""), tool("x" * 300)]
    answer(request, result)


def call(request: dict[str, Any]) -> None:
    token = request["params"].get("_meta", {}).get("progressToken", 0)
    if ATTACK == "gigabyte":
        write('{"jsonrpc": "2.0", "id": 0, "result": {"content": [{"type": "text", "text": "')
        for _ in range(1024):
            write("x" * MIB)
    elif ATTACK == "deep result":
        write(f'{{"jsonrpc":"2.0","id":{request["id"]},"result":{{"content":[],"structuredContent":')
        write('{"a":' * 10_000 + "1" + "}" * 10_000 + "}}\n")
    elif ATTACK == "rather deep result":
        answer(request, {"content": [], "structuredContent": nested(100)})
    elif ATTACK == "million values":
        answer(request, {"content": [], "structuredContent": {"a": [0] * 1_000_000}})
    elif ATTACK == "long text":
        answer(request, {"content": [{"type": "text", "text": "x" * 2 * MIB}]})
    elif ATTACK == "many blocks":
        answer(request, {"content": [{"type": "text", "text": "x"}] * 5_000})
    elif ATTACK == "silent":
        return
    elif ATTACK == "flood":
        params = {"progressToken": token, "progress": 1, "message": "x" * 10_000}
        line = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}) + "\n"
        while True:
            write(line)
    elif ATTACK == "changes without end":
        line = '{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}\n'
        while True:
            write(line)
    elif ATTACK == "cut":
        write('{"jsonrpc": "2.0", "id": 1, "result": {"cont')
        sys.exit(0)
    elif ATTACK == "wrong result":
        answer(request, {"content": "no list"})
    elif ATTACK == "not JSON-RPC":
        write('{"jsonrpc": "1.0"}\n')
    elif ATTACK == "noise":
        write("Hello, I am a program that prints.\n\n[1, 2]\n")
        answer(request, {"content": [{"type": "text", "text": "ok"}]})
    elif ATTACK == "errors without end":
        sys.stderr.write("\x1b[31mred\x1b[0m " * 200_000 + "\n")
        sys.stderr.write("line\n" * 100_000)
        sys.stderr.flush()
        answer(request, {"content": [{"type": "text", "text": "ok"}]})
    else:
        answer(request, {"content": [{"type": "text", "text": "ok"}]})


def main() -> None:
    handlers = {"initialize": initialize, "tools/list": list_tools, "tools/call": call}
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            handlers.get(request.get("method", ""), error)(request)
    if ATTACK == "does not exit":
        time.sleep(3600)


main()
