"""A process that is about to be killed: `python -m worker.doomed DATA HOW` in tests/.

It writes the chat's id to stdout once its agent's words are flushed. HOW: `streaming` goes on for ever, `calling`
waits in a tool, `interrupting` is asked to stop (and dies of ANTIPHON_CRASH_AT before it has written what it kept).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from antiphon import ToolCall, Turn, open_instance, tool
from support.waiting import wait_until

from .running import Talk, ask

WORDS = "words that were flushed"


@tool
async def once() -> str:
    """Begin, and never end."""
    await asyncio.sleep(3600)
    return "never"


@tool(idempotent=True)
async def often() -> str:
    """The same, but it may be run again."""
    await asyncio.sleep(3600)
    return "never"


async def agent(turn: Turn) -> AsyncIterator[str]:
    yield WORDS
    if sys.argv[2] == "calling":
        await turn.call(ToolCall("once"), ToolCall("often"))
    await asyncio.sleep(3600)


async def is_flushed(talk: Talk) -> bool:
    chat = await talk.chat()
    return bool(await talk.instance.store.read_flushed(talk.chat_id, chat.draft))


async def main() -> None:
    async with open_instance(agent=agent, data=sys.argv[1], tools=(once, often)) as instance:
        talk = await ask(instance)
        if sys.argv[2] == "calling":
            await talk.wait(lambda chat: len(chat.calls) == 2)
        else:
            await wait_until(lambda: is_flushed(talk))
        print(talk.chat_id, flush=True)
        if sys.argv[2] == "interrupting":
            await talk.interrupt()
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main())
