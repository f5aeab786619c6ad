"""`antiphon approve`: approve or deny a tool call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.content_text import call_text
from antiphon.cli.instance import open_client
from antiphon.cli.verb import Verb, instance_options, print_json
from antiphon.cli.which_chat import resolve_chat
from antiphon.errors import Invalid, NotFound
from antiphon.wire.typed_answers import json_of

if TYPE_CHECKING:
    from antiphon.client.shapes import OpenCall


@click.command("approve", cls=Verb)
@click.argument("chat")
@click.argument("call", required=False)
@click.option("--deny", is_flag=True, help="Deny the call; the model receives the denial.")
@click.option("--reason", default="", help="The reason of a denial, for the model.")
@click.option("--args", metavar="JSON", help="Run the tool with these arguments instead of the model's.")
@click.option("--always", is_flag=True, help="Allow this tool in this chat from now on.")
@instance_options
def command(
    chat: str,
    call: str | None,
    deny: bool,
    reason: str,
    args: str | None,
    always: bool,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Approve a tool call that is waiting for a person, or deny it.

    CALL is the call's id, the beginning of it, or the tool's name. It may be omitted if only one call is waiting.
    With --json: {seq}.
    """
    if reason and not deny:
        raise click.UsageError("--reason requires --deny")
    if deny and (always or args is not None):
        raise click.UsageError("--deny allows neither --args nor --always")
    given = json_of("--args", args) if args is not None else None
    if args is not None and not isinstance(given, dict):
        raise Invalid("--args", 'a JSON object, such as {"amount": 5}')
    with open_client(data, url) as client:
        found = resolve_chat(client, chat)
        waiting = [item for item in found.get("open_calls", []) if item["needs"] == "approval"]
        chosen = choose_call(waiting, call, "call waiting for approval")
        chat_id, call_id = found["id"], chosen["tool_call_id"]
        if deny:
            answer = client.deny(chat_id, call_id, reason=reason)
        else:
            answer = client.approve(chat_id, call_id, args=given, always=always)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{'Denied' if deny else 'Approved'}: {call_text(dict(chosen))}")


def choose_call(waiting: list[OpenCall], wanted: str | None, what: str) -> OpenCall:
    """The call that is meant. Raises `NotFound` (of `what`) if none is waiting, `Invalid` if not exactly one
    matches."""
    if not waiting:
        raise NotFound(what)
    fitting = [item for item in waiting if wanted is None or _matches(item, wanted)]
    if len(fitting) == 1:
        return fitting[0]
    shown = "; ".join(f"{item['tool_call_id']}  {call_text(dict(item))}" for item in fitting or waiting)
    raise Invalid("CALL", f"{'several calls match' if fitting else 'no call matches'}: {shown}")


def _matches(item: OpenCall, wanted: str) -> bool:
    return item["tool_name"] == wanted or item["tool_call_id"].startswith(wanted)
