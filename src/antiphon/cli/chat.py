"""`antiphon chat`: chat with a model. With TEXT (or piped stdin) one answer, otherwise a conversation."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.verb import Verb, instance_options, text_of

if TYPE_CHECKING:
    from antiphon.cli.instance import InstanceAccess
    from antiphon.client import AsyncClient


@click.command("chat", cls=Verb)
@click.argument("text", required=False)
@click.option("--chat", "which", metavar="CHAT", help="Continue this chat.  [default: a new one]")
@click.option("--model", default="", help="The model: <provider>:<model>, or a name from `antiphon config models`.")
@click.option("--system", default="", help="The system prompt of a new chat.")
@click.option("--title", default="", help="The title of a new chat.")
@instance_options
def command(
    text: str | None,
    which: str | None,
    model: str,
    system: str,
    title: str,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Chat with a model. With TEXT (`-` or a pipe: stdin) the command prints one answer. Otherwise it is a
    conversation: Ctrl-C interrupts the answer, a second Ctrl-C quits, and messages typed during an answer are queued.

    If no instance is running, the command starts one until it ends, and says so on stderr. With --json: {chat_id,
    turn_id, outcome, text, messages} of the answer.
    """
    if text is None and not sys.stdin.isatty():
        text = "-"
    if text is None and as_json:
        raise click.UsageError("--json needs TEXT")
    content = None if text is None else text_of(text)
    if content is not None and not content.strip():
        raise click.UsageError("TEXT is empty")
    options = ChatOptions(model=model, system=system, title=title)
    raise SystemExit(asyncio.run(_chat(content, which, options, data, url, as_json)))


async def _chat(
    content: str | None, which: str | None, options: ChatOptions, data: Path | None, url: str | None, as_json: bool
) -> int:
    from antiphon.cli.chat_once import answer_once
    from antiphon.cli.chat_talk import talk

    me = asyncio.current_task()
    assert me is not None
    async with _reach(data, url, which) as (client, chat_id):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
        options = ChatOptions(chat_id=chat_id, model=options.model, system=options.system, title=options.title)
        if content is None:
            return await talk(client, options)
        return await answer_once(client, content, options, as_json=as_json)


@contextlib.asynccontextmanager
async def _reach(
    data: Path | None, url: str | None, which: str | None
) -> AsyncIterator[tuple[AsyncClient, str | None]]:
    """A client of the instance, and the id of the chosen chat."""
    from antiphon.cli.embedded import open_access

    async with open_access(data, url) as reached, reached.async_client() as client:
        chat_id = await asyncio.to_thread(_resolve, reached, which) if which else None
        yield client, chat_id


def _resolve(reached: InstanceAccess, which: str) -> str:
    from antiphon.cli.which_chat import resolve_chat

    with reached.client() as client:
        return resolve_chat(client, which)["id"]
