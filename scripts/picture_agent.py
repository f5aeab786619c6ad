"""The agent in the README's pictures: it calls a tool and writes some Markdown, at a pace one can see."""

import asyncio
from collections.abc import AsyncIterator

from antiphon import Reasoning, Turn, tool
from antiphon.core.parts import text_of

ANSWER = """Nothing is lost. A watcher comes back with its **cursor** and gets exactly the rest:

```python
async for event in client.watch(chat_id, after=cursor):
    view.apply(event)
```

1. the facts after it, in order and without a hole,
2. the open draft, from the very character on where it had stopped,
3. `caught_up`, and from then on everything live.

So closing the laptop in the middle of an answer, a proxy that gives up, or a server that is killed and started \
again are the same to a reader: a short pause. A turn outlives its viewers, and stopping one is a command of its \
own, which names the turn it means and keeps the partial answer.
"""


@tool(name="read_log")
def read_log(chat: str, after: str) -> int:
    """Count the facts of a chat after a cursor."""
    return 12


async def agent(turn: Turn) -> AsyncIterator[str | Reasoning]:
    if "cursor" not in text_of(turn.messages[-1].content):
        yield "Ask me about cursors."
        return
    yield Reasoning("A reader that was away has its cursor; the log and the draft have the rest.")
    for word in ANSWER.split(" "):
        yield word + " "
        await asyncio.sleep(0.09)
