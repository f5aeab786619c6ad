"""The agent in the README's pictures: it calls a tool and writes some Markdown, at a pace one can see."""

import asyncio
from collections.abc import AsyncIterator

from antiphon import Reasoning, Turn, tool
from antiphon.core.parts import text_of

ANSWER = """Nothing is lost. A client reconnects with its **cursor** and receives exactly the rest:

```python
async for event in client.watch(chat_id, after=cursor):
    view.apply(event)
```

1. the facts after it, in order and without a gap,
2. the open draft, from the character where it stopped,
3. `caught_up`, and from then on every event live.

So a closed laptop, a proxy that times out and a server that is killed and restarted are the same to a client: a \
short pause. A turn outlives its watchers. Stopping it is a command of its own, which names the turn and keeps the \
partial answer.
"""


@tool(name="read_log")
def read_log(chat: str, after: str) -> int:
    """Count the facts of a chat after a cursor."""
    return 12


async def agent(turn: Turn) -> AsyncIterator[str | Reasoning]:
    if "cursor" not in text_of(turn.messages[-1].content):
        yield "Ask me about cursors."
        return
    yield Reasoning("The client has its cursor; the log and the draft have the rest.")
    for word in ANSWER.split(" "):
        yield word + " "
        await asyncio.sleep(0.09)
