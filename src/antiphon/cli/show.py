"""`antiphon show`: show a chat's messages and queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from antiphon.cli.clean import clean_line
from antiphon.cli.content_text import content_text, outcome_text
from antiphon.cli.instance import open_client
from antiphon.cli.time_text import time_text
from antiphon.cli.verb import Verb, instance_options, print_json
from antiphon.cli.which_chat import resolve_chat


@click.command("show", cls=Verb)
@click.argument("chat")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="Maximum number of messages."
)
@click.option("--before", "before_id", type=int, help="Only messages before this id.")
@instance_options
def command(chat: str, limit: int, before_id: int | None, data: Path | None, url: str | None, as_json: bool) -> None:
    """Show a chat's newest messages and its queue. With --json: {chat, messages, queued_messages, has_more}."""
    with open_client(data, url) as client:
        shown = resolve_chat(client, chat)
        page = client.messages(shown["id"], before_id=before_id, limit=limit)
    if as_json:
        print_json({"chat": shown, **page})
        return
    click.echo(f"{shown['id']}  {shown['status']}  {clean_line(shown['title'])}")
    if page["has_more"]:
        click.echo(f"\n(earlier messages: --before {page['messages'][0]['id']})")
    for message in page["messages"]:
        _print_message(f"{message['role']} #{message['id']}", dict(message))
    for queued in page["queued_messages"]:
        _print_message(f"queued #{queued['id']} ({queued['when_busy']})", dict(queued))
    if shown["last_error"]:
        click.echo(f"\nThe last turn failed: {clean_line(shown['last_error'])}")


def _print_message(title: str, message: dict[str, Any]) -> None:
    marks = " (interrupted)" if message.get("interrupted") else ""
    if outcome := outcome_text(message):
        marks += f" ({outcome})"
    click.echo(f"\n--- {title}{marks}  {time_text(message['created_at'])}")
    click.echo(content_text(message.get("content", [])))
