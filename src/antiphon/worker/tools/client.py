"""The tools of a chat that its clients run, as an agent offers them to a model."""

from __future__ import annotations

from typing import Any

from antiphon.worker.tools.tool import RawTool, Tool, ToolContext


def tools_of_clients(stored: Any) -> tuple[Tool, ...]:
    """The tools as `chats.client_tools` stores them. The server never runs one."""
    given = [tool for tool in stored if isinstance(tool, dict)] if isinstance(stored, list) else []
    return tuple(
        RawTool(
            name=str(tool.get("name", "")),
            description=str(tool.get("description", "")),
            parameters=tool.get("parameters") or {},
            function=_run_by_a_client,
            is_client_tool=True,
        )
        for tool in given
    )


async def _run_by_a_client(args: Any, context: ToolContext) -> Any:
    raise AssertionError("a client runs this tool")


async def _never_runs(args: Any, context: ToolContext) -> Any:
    raise AssertionError("a person answers")


ask_person = RawTool(
    name="ask_person",
    description="Ask the person a question and wait for the answer. Use it only if you cannot go on without it.",
    parameters={
        "type": "object",
        "properties": {
            "question": {"type": "string"},
            "schema": {
                "type": "object",
                "description": "A JSON Schema of the answer; without it the answer is text.",
            },
        },
        "required": ["question"],
    },
    function=_never_runs,
    asks_person=True,
)
"""A tool by which a model asks a person: `Agent(tools=[ask_person])`. The answer is the result of the call."""
