"""`antiphon chat`: talk with a model. With TEXT (or piped stdin) one answer, else a conversation."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.verb import DATA, Verb, instance_options, text_of
from antiphon.core.values import Value
from antiphon.errors import InstanceMissing

if TYPE_CHECKING:
    from antiphon.cli.instance import Reached
    from antiphon.client import AsyncClient


class Wish(Value):
    """What was asked for: the chat to go on with (None: a new one) and what a new one is made with."""

    chat_id: str | None = None
    model: str = ""
    system: str = ""
    title: str = ""


@click.command("chat", cls=Verb)
@click.argument("text", required=False)
@click.option("--chat", "which", metavar="CHAT", help="Go on with this chat.  [default: a new one]")
@click.option("--model", default="", help="The model: <provider>:<model>, or a name of `antiphon config models`.")
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
    """Talk with a model. With TEXT (`-` or a pipe: stdin) the answer is printed; else it is a conversation, in which
    Ctrl-C stops the answer, a second one leaves, and what is typed meanwhile waits for its turn.

    Without an instance one is started until this command ends, and a line on stderr says so. With --json: {chat_id,
    turn_id, outcome, text, messages} of the answer.
    """
    if text is None and not sys.stdin.isatty():
        text = "-"
    if text is None and as_json:
        raise click.UsageError("--json needs TEXT")
    content = None if text is None else text_of(text)
    if content is not None and not content.strip():
        raise click.UsageError("there is nothing to send")
    wish = Wish(model=model, system=system, title=title)
    raise SystemExit(asyncio.run(_chat(content, which, wish, data, url, as_json)))


async def _chat(
    content: str | None, which: str | None, wish: Wish, data: Path | None, url: str | None, as_json: bool
) -> int:
    from antiphon.cli.chat_once import answer_once
    from antiphon.cli.chat_talk import talk

    me = asyncio.current_task()
    assert me is not None
    async with _reach(data, url, which) as (client, chat_id):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
        wish = Wish(chat_id=chat_id, model=wish.model, system=wish.system, title=wish.title)
        if content is None:
            return await talk(client, wish)
        return await answer_once(client, content, wish, as_json=as_json)


@contextlib.asynccontextmanager
async def _reach(
    data: Path | None, url: str | None, which: str | None
) -> AsyncIterator[tuple[AsyncClient, str | None]]:
    """A client of the running instance, else of one started for this command; and the id of the chosen chat."""
    from antiphon.cli.embedded import open_embedded
    from antiphon.cli.instance import Reached, find_instance

    async with contextlib.AsyncExitStack() as stack:
        try:
            reached = await asyncio.to_thread(find_instance, data, url)
        except InstanceMissing:
            if url is not None:
                raise
            own = data or Path(DATA)
            address, token = await stack.enter_async_context(open_embedded(own))
            note = f"antiphon: no instance runs; started one on {own} until this command ends"
            click.echo(f"{note} (`antiphon serve` starts one that stays)", err=True)
            reached = Reached(url=address, token=token)
        client = await stack.enter_async_context(reached.async_client())
        chat_id = await asyncio.to_thread(_resolve, reached, which) if which else None
        yield client, chat_id


def _resolve(reached: Reached, which: str) -> str:
    from antiphon.cli.which_chat import resolve_chat

    with reached.client() as client:
        return resolve_chat(client, which)["id"]
