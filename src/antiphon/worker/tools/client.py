"""The tools of a chat that its clients run, as an agent offers them to a model."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.worker.tools.tool import Tool


def tools_of_clients(stored: Any) -> tuple[Tool, ...]:
    """The tools as `chats.client_tools` stores them. The server never runs one."""
    given = [tool for tool in stored if isinstance(tool, dict)] if isinstance(stored, list) else []
    return tuple(
        Tool(
            name=str(tool.get("name", "")),
            description=str(tool.get("description", "")),
            parameters=tool.get("parameters") or {},
            function=_run_by_a_client,
            arguments=msgspec.Struct,
            is_client_tool=True,
        )
        for tool in given
    )


def _run_by_a_client(**_: Any) -> Any:
    raise AssertionError("a client runs this tool")
