"""`antiphon send`: send a message to a chat."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from antiphon.cli.instance import open_client
from antiphon.cli.verb import Verb, instance_options, print_json, text_of
from antiphon.cli.which_chat import resolve_chat
from antiphon.client.shapes import WhenBusy


@click.command("send", cls=Verb)
@click.argument("chat")
@click.argument("text")
@click.option(
    "--when-busy",
    type=click.Choice(["queue", "steer", "interrupt", "reject"]),
    default="queue",
    show_default=True,
    help="What to do while a turn is running.",
)
@click.option("--client-id", help="Your id for the message: a repeated send with it takes effect once.")
@click.option("--model", default="", help="The model for this turn.")
@instance_options
def command(
    chat: str,
    text: str,
    when_busy: str,
    client_id: str | None,
    model: str,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Send TEXT (`-`: stdin) to a chat. With --json: {message, seq} or {queued_message, seq}."""
    content = text_of(text)
    with open_client(data, url) as client:
        chat_id = resolve_chat(client, chat)["id"]
        sent = client.send(
            chat_id, content, when_busy=cast(WhenBusy, when_busy), client_message_id=client_id, model=model
        )
    if as_json:
        print_json(sent)
    elif "queued_message" in sent:
        click.echo(f"Queued as #{sent['queued_message']['id']}: the chat is busy.")
    else:
        click.echo(f"Sent as #{sent['message']['id']}.")
