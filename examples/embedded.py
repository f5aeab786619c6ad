"""Antiphon inside another Starlette app: the same chats under /chat, beside the app's own routes.

Run it: ./dev exec uvicorn --app-dir examples embedded:app   (the page is at /chat/)
"""

import contextlib
import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from antiphon import Agent, Instance, open_instance

antiphon: Instance


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    global antiphon
    data = os.environ.get("EXAMPLE_DATA", ".antiphon-embedded")
    async with open_instance(agent=Agent(), data=data, drain_s=1) as antiphon:
        yield


async def ask(request: Request) -> JSONResponse:
    """Start a chat from the app's own code, and wait for its answer."""
    started = await antiphon.chats.create(content=request.query_params["q"])
    async for _ in antiphon.chats.watch(started.chat_id, until_idle=True):
        pass
    page = await antiphon.chats.messages(started.chat_id)
    answer = page.messages[-1].text
    return JSONResponse({"chat_id": started.chat_id, "messages": len(page.messages), "answer": answer})


async def chat(scope: Scope, receive: Receive, send: Send) -> None:
    await antiphon.asgi(scope, receive, send)


app = Starlette(routes=[Route("/ask", ask), Mount("/chat", app=chat)], lifespan=lifespan)
