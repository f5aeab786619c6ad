"""The agent of the trials: the built-in loop with a tool that notes each of its runs in a file."""

from __future__ import annotations

import os
import time

from antiphon import Agent, ToolContext, tool


@tool
def note(context: ToolContext, text: str = "") -> str:
    """Write down that this call ran."""
    return write_down(context, "note", text)


@tool(needs_approval=True)
def pay(context: ToolContext, text: str = "") -> str:
    """The same, once a person has approved it."""
    return write_down(context, "pay", text)


@tool(idempotent=True)
async def delegate(context: ToolContext, text: str = "") -> str:
    """Have a child chat call a tool and answer."""
    answer = await context.spawn(f"n=4 tool {text}")
    return f"{answer.outcome} by {answer.chat_id}"


def write_down(context: ToolContext, name: str, text: str) -> str:
    descriptor = os.open(os.environ["TRIAL_TOOL_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{context.chat_id} {context.tool_call_id} {name} {text}\n".encode())
    finally:
        os.close(descriptor)
    time.sleep(float(os.environ.get("TRIAL_TOOL_S", "0")))  # a fault may hit it between its effect and its result
    return f"noted {text}"


agent = Agent(tools=[note, pay, delegate])
