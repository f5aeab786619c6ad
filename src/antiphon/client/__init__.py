"""Clients of an instance, over HTTP.

    async with AsyncClient("http://127.0.0.1:8414", token) as client:
        chat = await client.create_chat("Good morning")
        async for event in client.watch(chat["id"], after="0", until_idle=True):
            print(event)

`Client` is the blocking client, with the same methods. A refused request raises a class of `antiphon.errors`.
"""

from __future__ import annotations

from antiphon.client.asynchronous.client import AsyncClient
from antiphon.client.blocking.client import Client
from antiphon.client.errors import AnswerLost, ServerFailed
from antiphon.client.follow import FeedEvent

__all__ = ["AnswerLost", "AsyncClient", "Client", "FeedEvent", "ServerFailed"]
