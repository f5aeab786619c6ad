"""Wrong requests, made from the route table and the document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from antiphon.api.http.operations import OPERATIONS
from antiphon.api.http.table import Operation

from .api_client import random_chat_id

BODIES: dict[str, dict[str, Any]] = {
    "create_chat": {
        "id": "0badc0de-0000-4000-9000-000000000000",
        "content": "x",
        "title": "t",
        "model": "",
        "system": "",
        "labels": {"a": "b"},
        "mcp_server_ids": [],
    },
    "change_chat": {
        "title": "t",
        "archived": True,
        "labels": {"a": "b"},
        "pin_order": 1,
        "model": "",
        "system": "",
        "tools": [{"name": "t", "description": "", "parameters": {"type": "object"}}],
        "mcp_server_ids": [],
    },
    "send_message": {"content": "x", "when_busy": "queue", "client_message_id": "c", "model": ""},
    "edit_message": {"content": "x", "clear_queue": True},
    "retry": {"turn_id": 2},
    "fork_chat": {"message_id": 2, "as_of": 9, "id": None, "title": "t"},
    "edit_queued": {"content": "x"},
    "move_queued": {"before": None},
    "interrupt": {"turn_id": 2, "clear_queue": False},
    "decide_call": {
        "tool_call_id": "call-2-1",
        "approved": True,
        "reason": "",
        "args": {"a": 1},
        "always": False,
    },
    "submit_result": {"tool_call_id": "call-2-1", "result": {"a": 1}, "is_error": False},
    "answer_question": {"tool_call_id": "call-2-1", "answer": "x"},
    "open_session": {"token": "x"},
    "create_token": {"owner": "beth", "admin": False},
    "activate_session": {"session_id": "x"},
    "send_to_session": {"session_id": "x", "content": "x"},
    "interrupt_session": {"session_id": "x"},
    "create_provider": {"name": "acme", "kind": "rehearsal", "base_url": "", "secret": "", "is_enabled": True},
    "change_provider": {"name": "acme", "kind": "rehearsal", "base_url": "", "secret": None, "is_enabled": True},
    "create_model_config": {
        "name": "m",
        "model": "rehearsal",
        "parameters": {"a": 1},
        "is_default": False,
        "is_enabled": True,
    },
    "change_model_config": {
        "name": "m",
        "model": "rehearsal",
        "parameters": {"a": 1},
        "is_default": False,
        "is_enabled": True,
    },
    "set_prompt": {"prompt": "x"},
    "read_chat": {"seq": 1},
    "set_diff_status": {
        "url": "https://example.org/1",
        "pull_request_state": "open",
        "pull_request_title": "t",
        "pull_request_draft": False,
        "changes_requested": False,
        "additions": 1,
        "deletions": 1,
        "changed_files": 1,
        "author_login": "a",
        "author_avatar_url": "https://example.org/a.png",
        "base_branch": "main",
        "head_branch": "b",
        "pr_number": 1,
        "commits": 1,
        "approved": True,
        "reviewer_count": 1,
        "refreshed_at": "2026-01-02T03:04:05Z",
        "stale_at": "2026-01-02T03:04:05Z",
    },
}
"""A valid body of each route that has one. Add new routes here."""

REQUIRED = {
    "fork_chat": {"message_id"},
    "send_message": {"content"},
    "edit_message": {"content"},
    "edit_queued": {"content"},
    "move_queued": {"before"},
    "interrupt": {"turn_id"},
    "decide_call": {"tool_call_id", "approved"},
    "submit_result": {"tool_call_id", "result"},
    "answer_question": {"tool_call_id", "answer"},
    "open_session": {"token"},
    "create_token": {"owner"},
    "activate_session": {"session_id"},
    "send_to_session": {"session_id", "content"},
    "interrupt_session": {"session_id"},
    "create_provider": {"name", "kind"},
    "create_model_config": {"name", "model"},
    "set_prompt": {"prompt"},
}

WRONG_VALUES: tuple[Any, ...] = (5, -1, 1.5, True, "x", [], {}, [[]], [{}], [5], {"a": 5}, 2**70, "\ud800", None)


def random_value(random: Random, depth: int, strings: Sequence[str], keys: Sequence[str]) -> Any:
    """A value of strings, wrong values, lists and objects, at most `depth` deep."""
    kind = random.random()
    if depth == 0 or kind < 0.35:
        return random.choice(strings)
    if kind < 0.45:
        return random.choice(WRONG_VALUES)
    if kind < 0.65:
        return [random_value(random, depth - 1, strings, keys) for _ in range(random.randrange(4))]
    made = random.randrange(5)
    return {random.choice(keys): random_value(random, depth - 1, strings, keys) for _ in range(made)}


BROKEN_JSON: dict[str, bytes] = {
    "cut off": b'{"content": "x',
    "no JSON": b"content=x",
    "a list": b"[1, 2]",
    "a string": b'"x"',
    "a number": b"5",
    "null": b"null",
    "not a number": b'{"content": NaN, "token": NaN, "turn_id": NaN, "before": NaN, '
    b'"owner": NaN, "title": NaN, "name": NaN}',
    "two values": b"{} {}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"content": "x"}'.encode("utf-16"),
    "no UTF-8": b'{"content":"\xff\xfe","token":"\xff","owner":"\xff","title":5,"turn_id":"\xff",'
    b'"before":"","name":"\xff","seq":"\xff","url":5}',
    "a raw NUL": b'{"content":"a\x00b","token":"\x00","owner":"\x00","title":"\x00","turn_id":"\x00",'
    b'"before":"","name":"\x00","seq":"\x00","url":"\x00"}',
    "a raw line break": b'{"content":"a\nb","token":"\n","owner":"\n","title":"\n","turn_id":"\n",'
    b'"before":"","name":"\n","seq":"\n","url":"\n"}',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"content":' * 50_000,
    "deep parts": b'{"content":[{"type":"tool-call","tool_call_id":"a","tool_name":"b","args":'
    + b"[" * 20_000
    + b"]" * 20_000
    + b'}],"token":5,"turn_id":[],"before":[],"owner":[],"title":[],"labels":5,"name":5,"seq":[],"url":5}',
    "a huge number": b'{"turn_id":1%b,"before":1%b,"content":1,"token":1,"owner":1,"pin_order":1%b,"name":1,'
    b'"seq":"","url":1}' % ((b"0" * 5_000,) * 3),
    "many keys": b'{"content":1,"token":1,"turn_id":"","before":"","owner":1,"title":1,"name":1,"seq":"","url":1,%b}'
    % b",".join(b'"k%d":0' % n for n in range(20_000)),
}
"""None of these is a body of any route."""

PATH_IDS = ("x", "-1", "1e3", "0", "1.5", "9" * 15, "9" * 30, "%00", "%0d%0a", "%ff", "%D9%A3", "%20", "x" * 5_000)
"""Invalid ids of chats, messages, queued messages and tokens."""


def operations_with_body() -> list[Operation]:
    return [operation for operation in OPERATIONS if operation.body is not None]


def path_of(operation: Operation, **ids: str) -> str:
    """The route's path (`ApiClient.ask`'s way of writing it), with unknown ids unless they are given."""
    path = operation.path if operation.prefix else "/" + operation.path
    ids_by_name = {
        "chat_id": random_chat_id(),
        "message_id": "2",
        "queued_id": "3",
        "token_id": random_chat_id(),
        "file_id": random_chat_id(),
        "instance_id": random_chat_id(),
        "provider_id": random_chat_id(),
        "config_id": random_chat_id(),
        "notification_id": random_chat_id(),
        "share_id": random_chat_id(),
    } | ids
    for name, value in ids_by_name.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, f"say in path_of what {operation.path} stands for"
    return path


def iter_wrong_bodies(operation: Operation) -> Iterator[tuple[str, bytes]]:
    """Bodies with one field wrong or missing, and what is wrong with them."""
    whole = BODIES[operation.name]
    for name in REQUIRED.get(operation.name, ()):
        yield f"without {name}", json.dumps({k: v for k, v in whole.items() if k != name}).encode()
    for name in whole:
        for value in WRONG_VALUES:
            yield f"{name} is {value!r}", json.dumps(whole | {name: value}).encode()
