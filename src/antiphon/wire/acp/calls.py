"""Tool calls in the protocol's shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from antiphon.core.model import Needs
from antiphon.core.parts import ToolCall, ToolResult
from antiphon.errors import one_line
from antiphon.wire.acp.blocks import text_block
from antiphon.wire.codec import encode

Json = dict[str, Any]

TITLE_MAX = 120
"""Maximum length of a title, in characters."""
OUTPUT_MAX = 16_384
"""Maximum length of the shown output of a tool, in characters. The whole result is in the chat."""
RAW_BYTES_MAX = 32_768
"""Maximum size of arguments or a result as raw JSON. Larger ones are left out; their text is shown, shortened."""

_KINDS = (
    ("delete", {"delete", "remove", "rm"}),
    ("move", {"move", "rename", "mv"}),
    ("edit", {"edit", "write", "patch", "update", "create", "insert", "replace"}),
    ("search", {"search", "find", "grep", "query"}),
    ("execute", {"run", "exec", "execute", "shell", "bash", "command", "terminal", "spawn"}),
    ("fetch", {"fetch", "download", "http", "browse", "web"}),
    ("think", {"think", "plan", "reason"}),
    ("read", {"read", "get", "list", "show", "open", "view", "cat", "ls"}),
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def kind_of(tool_name: str) -> str:
    """The category of a tool, by the words of its name: editors choose an icon by it."""
    words = {word.lower() for word in _WORD.findall(tool_name)}
    return next((kind for kind, names in _KINDS if names & words), "other")


def title_of(tool_name: str, args: Any = None) -> str:
    """The tool with its arguments, on one line."""
    if isinstance(args, Mapping):
        shown = ", ".join(f"{name}={_short(value)}" for name, value in list(args.items())[:8])
    else:
        shown = "" if args is None else _short(args)
    return one_line(f"{tool_name}({shown})" if shown else tool_name, TITLE_MAX)


def _short(value: Any) -> str:
    return encode(value)[: 2 * TITLE_MAX].decode("utf-8", "ignore")


def described(tool_call_id: str, tool_name: str, args: Any = None) -> Json:
    """The fields that say what a call does."""
    shown: Json = {
        "toolCallId": tool_call_id,
        "title": title_of(tool_name, args),
        "name": tool_name,
        "kind": kind_of(tool_name),
    }
    if args is not None and len(encode(args)) <= RAW_BYTES_MAX:
        shown["rawInput"] = args
    return shown


def begun(tool_call_id: str, tool_name: str) -> Json:
    """The model begins to write a call."""
    return {"sessionUpdate": "tool_call", **described(tool_call_id, tool_name), "status": "pending"}


def made(call: ToolCall, needs: Needs, *, is_begun: bool) -> Json:
    """A call is committed: it runs, or waits for a client."""
    kind = "tool_call_update" if is_begun else "tool_call"
    shown = described(call.tool_call_id, call.tool_name, call.args)
    return {"sessionUpdate": kind, **shown, "status": "in_progress" if needs.is_run_here else "pending"}


def running(tool_call_id: str, output: str = "") -> Json:
    """A call runs. `output` is what it has put out so far."""
    shown: Json = {"sessionUpdate": "tool_call_update", "toolCallId": tool_call_id, "status": "in_progress"}
    return shown | ({"content": [_text(output)]} if output else {})


def unfinished(tool_call_id: str) -> Json:
    """A call that the model began to write, and that was not committed."""
    shown: Json = {"sessionUpdate": "tool_call_update", "toolCallId": tool_call_id, "status": "failed"}
    return shown | {"content": [_text("The call was not finished.")]}


def done(result: ToolResult) -> Json:
    """The result of a call."""
    value = result.result
    data = encode(value)
    text = value if isinstance(value, str) else data.decode()
    if len(text) > OUTPUT_MAX:
        text = f"{text[:OUTPUT_MAX]}\n… ({len(text) - OUTPUT_MAX:,} more characters; the chat has the whole result)"
    shown: Json = {
        "sessionUpdate": "tool_call_update",
        "toolCallId": result.tool_call_id,
        "status": "failed" if result.is_error else "completed",
        "content": [_text(text)],
    }
    return shown | ({"rawOutput": value} if len(data) <= RAW_BYTES_MAX else {})


def _text(text: str) -> Json:
    return {"type": "content", "content": text_block(text)}
