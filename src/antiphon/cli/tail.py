"""`antiphon tail`: follow the events of a chat."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.instance import open_client
from antiphon.cli.verb import Verb, instance_options, print_json
from antiphon.cli.which_chat import resolve_chat

if TYPE_CHECKING:
    from antiphon.client import Client
    from antiphon.client.shapes import Chat


@click.command("tail", cls=Verb)
@click.argument("chat")
@click.option("--after", help="A cursor, as in an event; 0 is the beginning.  [default: from now]")
@click.option("--until-idle", is_flag=True, help="End when all events are shown and no turn is running.")
@instance_options
def command(
    chat: str, after: str | None, until_idle: bool, data: Path | None, url: str | None, as_json: bool
) -> None:
    """Follow a chat: a line for each fact, and the text of its answers as it is streamed.

    It reconnects when the connection is lost. With --json: one event per line, with its cursor.
    """
    with open_client(data, url) as client:
        found = resolve_chat(client, chat)
        if as_json:
            _follow_json(client, found, after, until_idle)
        else:
            _follow_text(client, found, after, until_idle)


def _follow_json(client: Client, chat: Chat, after: str | None, until_idle: bool) -> None:
    from antiphon.cli.event_json import event_json

    with closing(client.watch(chat["id"], after=after, until_idle=until_idle)) as events:
        for event in events:
            print_json(event_json(event))


def _follow_text(client: Client, chat: Chat, after: str | None, until_idle: bool) -> None:
    from antiphon.cli.event_text import EventText

    lines = EventText()
    with closing(client.watch(chat["id"], after=after, until_idle=until_idle)) as events:
        for event in events:
            click.echo(lines.text(event), nl=False)
