"""An agent in plain text: what it yields is streamed, stored and survives a crash.

Run it: ./dev run examples/text.py:agent
"""

import asyncio
from collections.abc import AsyncIterator

from antiphon import Reasoning, Turn
from antiphon.core.parts import text_of


async def agent(turn: Turn) -> AsyncIterator[str | Reasoning]:
    question = text_of(turn.messages[-1].content)
    yield Reasoning("The question has to be read backwards.")
    for word in reversed(question.split()):
        yield word + " "
        await asyncio.sleep(0.05)
