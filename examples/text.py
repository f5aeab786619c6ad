"""An agent in plain text: what it yields is streamed, stored and survives a crash.

Run it: ./dev run examples/text.py:agent
"""

import asyncio
from collections.abc import AsyncIterator

from antiphon import Reasoning, Turn


async def agent(turn: Turn) -> AsyncIterator[str | Reasoning]:
    question = turn.text
    yield Reasoning("The question has to be read backwards.")
    for word in reversed(question.split()):
        yield word + " "
        await asyncio.sleep(0.05)
