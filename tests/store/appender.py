"""A process that appends to several chats concurrently and prints each append, until it is killed.

python appender.py PATH CHATS
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from antiphon.clock import SystemClock
from antiphon.core import commands as c
from antiphon.ports import Appended
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.stored_chat import StoredChat


async def append_forever(chat: StoredChat) -> None:
    await chat.load()
    if chat.state is None:
        await chat.create()
    number = chat.chat.seq
    while True:
        number += 1
        rename = c.Rename(title=f"{number} {'x' * (number % 50)}")
        label = c.SetLabels(labels={"n": str(number)})
        assert await chat.offer(chat.make(rename, label)) is Appended.DONE
        print(chat.chat_id, chat.chat.seq, flush=True)


async def main(path: Path, chats: int) -> None:
    store = await open_sqlite_store(path, clock=SystemClock())
    async with asyncio.TaskGroup() as tasks:
        for i in range(chats):
            tasks.create_task(append_forever(StoredChat(store, f"c{i}")))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
