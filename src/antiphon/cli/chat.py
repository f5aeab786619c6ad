"""`antiphon chat`: chat with a model. With TEXT (or piped stdin) one answer, otherwise a conversation."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
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
@click.option("--bell", is_flag=True, help="Ring when an answer is ready or a person is asked.")
@instance_options
def command(
    text: str | None,
    which: str | None,
    model: str,
    system: str,
    title: str,
    bell: bool,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Chat with a model. With TEXT (`-` or a pipe: stdin) the command prints one answer. Otherwise it is a
    conversation: type messages, commands (/help lists them) and files (@notes.txt). Messages typed during an answer
    wait for its end. Esc stops an answer, Ctrl+D leaves.

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
    options = ChatOptions(model=model, system=system, title=title, rings=bell)
    raise SystemExit(asyncio.run(_chat(content, which, options, data, url, as_json)))


async def _chat(
    content: str | None, which: str | None, options: ChatOptions, data: Path | None, url: str | None, as_json: bool
) -> int:
    import msgspec

    from antiphon.cli.chat_once import answer_once
    from antiphon.cli.chat_talk import talk

    me = asyncio.current_task()
    assert me is not None
    async with _reach(data, url, which) as (client, files, chat_id):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
        options = msgspec.structs.replace(options, chat_id=chat_id)
        if content is None:
            return await talk(client, options, files=files, come_back=_come_back(data, url))
        return await answer_once(client, content, options, as_json=as_json)


@contextlib.asynccontextmanager
async def _reach(
    data: Path | None, url: str | None, which: str | None
) -> AsyncIterator[tuple[AsyncClient, AsyncClient, str | None]]:
    """A client of the running instance, or of one started for this command, one over HTTP for files, and the id of
    the chosen chat."""
    from antiphon.cli.embedded import find_or_start

    async with (
        find_or_start(data, url) as reached,
        reached.async_client() as client,
        reached.async_http_client() as files,
    ):
        chat_id = await asyncio.to_thread(_resolve, reached, which) if which else None
        yield client, files, chat_id


def _come_back(data: Path | None, url: str | None) -> str:
    """The command that continues a chat, without its id."""
    place = ["--data", str(data)] if data is not None else ["--url", url] if url is not None else []
    return shlex.join(["antiphon", "chat", *place, "--chat"])


def _resolve(reached: InstanceAccess, which: str) -> str:
    from antiphon.cli.which_chat import resolve_chat

    with reached.client() as client:
        return resolve_chat(client, which)["id"]
