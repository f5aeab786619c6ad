"""The settings of MCP servers, and the names of their tools."""

from __future__ import annotations

import random
from typing import Any

import pytest

from antiphon import McpServer
from antiphon.errors import Invalid
from antiphon.mcp_settings import check_servers, server_id
from antiphon.worker.tools.mcp.naming import offered_names

RUN = ("program",)
URL = "https://tools.example.com/mcp"

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "mcp.x"),
    ({"command": RUN, "url": URL}, "mcp.x"),
    ({"command": ("",)}, "mcp.x.command"),
    ({"command": RUN, "env": ("sk-secret value",)}, "mcp.x.env"),
    ({"command": RUN, "token_env": "T"}, "mcp.x.token_env"),
    ({"url": URL, "token_env": "sk-secret-1"}, "mcp.x.token_env"),
    ({"url": URL, "env": ("A",)}, "mcp.x.env"),
    ({"url": URL, "cwd": "/"}, "mcp.x.cwd"),
    ({"url": "ftp://a"}, "mcp.x.url"),
    ({"url": "https://[1"}, "mcp.x.url"),
    ({"command": RUN, "prefix": "a b"}, "mcp.x.prefix"),
    ({"command": RUN, "id": "one"}, "mcp.x.id"),
    ({"command": RUN, "approval": "sometimes"}, "mcp.x.approval"),
    ({"command": RUN, "tool_approval": {"a": "sometimes"}}, "mcp.x.approval"),
    ({"command": RUN, "tools_max": 0}, "mcp.x.tools_max"),
    ({"command": RUN, "tools_max": 129}, "mcp.x.tools_max"),
    ({"command": RUN, "start_s": 0.0}, "mcp.x.start_s"),
    ({"command": RUN, "call_s": float("inf")}, "mcp.x.call_s"),
]


@pytest.mark.parametrize(("fields", "where"), WRONG, ids=[f"{where}-{n}" for n, (_, where) in enumerate(WRONG)])
def test_settings_that_cannot_work_are_refused_by_name_without_secrets(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_servers({"x": McpServer(**fields)})
    assert refusal.value.field == where
    assert "sk-secret" not in str(refusal.value)


def test_a_name_with_other_characters_and_too_many_servers_are_refused() -> None:
    with pytest.raises(Invalid, match="1 to 32"):
        check_servers({"a b": McpServer(command=RUN)})
    with pytest.raises(Invalid, match="at most 32"):
        check_servers({f"s{number}": McpServer(command=RUN) for number in range(33)})


def test_the_id_of_a_server_comes_from_its_name_or_its_settings() -> None:
    server = McpServer(command=RUN)
    assert server_id("a", server) == server_id("a", McpServer(url=URL)) != server_id("b", server)
    chosen = "0BADC0DE-0000-4000-9000-000000000000"
    assert server_id("a", McpServer(command=RUN, id=chosen)) == chosen.lower()
    with pytest.raises(Invalid, match="the server 'a' has the same id"):
        check_servers({"a": McpServer(command=RUN), "b": McpServer(command=RUN, id=server_id("a", server))})


def test_names_are_the_servers_own_with_a_prefix_and_valid_characters() -> None:
    assert offered_names(["add", "get.file", "a b"], "x_") == {
        "add": "x_add",
        "get.file": "x_get_file",
        "a b": "x_a_b",
    }


def test_names_are_unique_and_the_same_in_any_order() -> None:
    names = ["a.b", "a b", "a_b", "n" * 100, "n" * 101]
    found = offered_names(names, "s_")
    assert len(set(found.values())) == 5
    assert all(len(name) <= 64 for name in found.values())
    shuffled = list(names)
    random.Random(1).shuffle(shuffled)
    assert offered_names(shuffled, "s_") == found
