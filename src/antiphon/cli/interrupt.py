"""`antiphon interrupt`: interrupt the running turn of a chat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.instance import open_client
from antiphon.cli.verb import Verb, instance_options, print_json
from antiphon.cli.which_chat import resolve_chat

if TYPE_CHECKING:
    from antiphon.client.shapes import Interrupted


@click.command("interrupt", cls=Verb)
@click.argument("chat")
@click.option("--turn", "turn_id", type=click.IntRange(1), help="Only this turn.  [default: the current one]")
@click.option("--clear-queue", is_flag=True, help="Also delete all queued messages.")
@instance_options
def command(
    chat: str, turn_id: int | None, clear_queue: bool, data: Path | None, url: str | None, as_json: bool
) -> None:
    """Interrupt the running turn of a chat; its partial answer is stored. With --json: {interrupted, seq}."""
    with open_client(data, url) as client:
        found = resolve_chat(client, chat)
        turn_id = turn_id or found["turn_id"]
        if turn_id is None:
            answer: Interrupted = {"interrupted": False, "seq": found["seq"]}
        else:
            answer = client.interrupt(found["id"], turn_id, clear_queue=clear_queue)
    if as_json:
        print_json(answer)
    elif answer["interrupted"]:
        click.echo(f"Interrupted turn #{turn_id}.")
    else:
        click.echo("No turn is running." if turn_id is None else f"Turn #{turn_id} is not running.")
