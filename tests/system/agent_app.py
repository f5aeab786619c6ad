"""The agent of the trials: the built-in loop with a tool that notes each of its runs in a file."""

from __future__ import annotations

import os

from antiphon import Agent, ToolContext, tool


@tool
def note(context: ToolContext, text: str = "") -> str:
    """Write down that this call ran."""
    descriptor = os.open(os.environ["TRIAL_TOOL_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{context.chat_id} {context.tool_call_id}\n".encode())
    finally:
        os.close(descriptor)
    return f"noted {text}"


agent = Agent(tools=[note])
