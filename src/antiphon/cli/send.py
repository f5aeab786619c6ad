"""`antiphon send`: send a message to a chat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from antiphon.cli.instance import open_client, open_http_client
from antiphon.cli.verb import Verb, instance_options, print_json, text_of
from antiphon.cli.which_chat import resolve_chat
from antiphon.client.shapes import WhenBusy

if TYPE_CHECKING:
    from antiphon.client import Client


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
@click.option(
    "--file",
    "paths",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Upload this file and name it in the message; repeatable.",
)
@instance_options
def command(
    chat: str,
    text: str,
    when_busy: str,
    client_id: str | None,
    model: str,
    paths: tuple[Path, ...],
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Send TEXT (`-`: stdin) to a chat. With --json: {message, seq} or {queued_message, seq}."""
    content: str | list[dict[str, Any]] = text_of(text)
    with open_http_client(data, url) if paths else open_client(data, url) as client:
        chat_id = resolve_chat(client, chat)["id"]
        if paths:
            content = [{"type": "text", "text": content}] if content else []
            content += [_uploaded(client, path) for path in paths]
        sent = client.send(
            chat_id, content, when_busy=cast(WhenBusy, when_busy), client_message_id=client_id, model=model
        )
    if as_json:
        print_json(sent)
    elif "queued_message" in sent:
        click.echo(f"Queued as #{sent['queued_message']['id']}: the chat is busy.")
    else:
        click.echo(f"Sent as #{sent['message']['id']}.")


def _uploaded(client: Client, path: Path) -> dict[str, Any]:
    """The part of a message that names the file."""
    return {"type": "file-reference", "file_id": client.upload(path)["file_id"], "file_name": path.name}
