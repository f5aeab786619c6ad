"""`antiphon queue`: show and change a chat's queue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antiphon.cli.content_text import content_text
from antiphon.cli.instance import open_client
from antiphon.cli.verb import Verb, instance_options, print_json, text_of
from antiphon.cli.which_chat import resolve_chat

if TYPE_CHECKING:
    from antiphon.client import Client

ACTIONS = {"list": "", "edit": "ID TEXT", "delete": "ID", "move": "ID", "promote": "ID"}


@click.command("queue", cls=Verb)
@click.argument("chat")
@click.argument("action", type=click.Choice(list(ACTIONS)), default="list")
@click.argument("values", nargs=-1, metavar="[ID [TEXT]]")
@click.option("--before", type=click.IntRange(1), help="move: before this message.  [default: to the end]")
@instance_options
def command(
    chat: str,
    action: str,
    values: tuple[str, ...],
    before: int | None,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Show and change a chat's queue.

    \b
    antiphon queue CHAT                       the queued messages, in order
    antiphon queue CHAT edit ID TEXT          (TEXT may be -: stdin)
    antiphon queue CHAT delete ID
    antiphon queue CHAT move ID [--before ID]
    antiphon queue CHAT promote ID            deliver it next; interrupts the turn

    With --json: {queued_messages}, or {seq} of the change.
    """
    _check(action, values, before)
    with open_client(data, url) as client:
        chat_id = resolve_chat(client, chat)["id"]
        if action == "list":
            _show(client, chat_id, as_json)
            return
        answer = _change(client, chat_id, action, values, before)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Done: {action} #{values[0]}.")


def _check(action: str, values: tuple[str, ...], before: int | None) -> None:
    if len(values) != len(ACTIONS[action].split()):
        raise click.UsageError(f"queue CHAT {action} takes {ACTIONS[action] or 'no further arguments'}")
    if values and not (values[0].isascii() and values[0].isdigit()):
        raise click.UsageError("ID is a number, as shown by `antiphon queue CHAT`")
    if before is not None and action != "move":
        raise click.UsageError("--before requires move")


def _change(client: Client, chat_id: str, action: str, values: tuple[str, ...], before: int | None) -> Any:
    queued_id = int(values[0])
    match action:
        case "edit":
            return client.edit_queued(chat_id, queued_id, text_of(values[1]))
        case "delete":
            return client.delete_queued(chat_id, queued_id)
        case "move":
            return client.move_queued(chat_id, queued_id, before=before)
        case _:
            return client.promote_queued(chat_id, queued_id)


def _show(client: Client, chat_id: str, as_json: bool) -> None:
    queued = client.messages(chat_id, limit=1)["queued_messages"]
    if as_json:
        print_json({"queued_messages": queued})
        return
    if not queued:
        click.echo("The queue is empty.")
    for message in queued:
        mark = "promoted" if message["promoted"] else message["when_busy"]
        click.echo(f"#{message['id']} ({mark})  {content_text(message['content'])}")
