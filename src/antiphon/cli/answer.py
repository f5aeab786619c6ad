"""`antiphon answer`: give the result of a tool that clients run, or answer an agent's question."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from antiphon.cli.approve import choose_call
from antiphon.cli.clean import clean_line
from antiphon.cli.instance import open_client
from antiphon.cli.verb import Verb, instance_options, print_json
from antiphon.cli.which_chat import resolve_chat
from antiphon.errors import Invalid
from antiphon.wire.typed_answers import json_of, typed_answer


@click.command("answer", cls=Verb)
@click.argument("chat")
@click.argument("value")
@click.option("--call", help="The call's id, the beginning of it, or the tool's name; needed if several are waiting.")
@click.option("--error", is_flag=True, help="The tool failed; VALUE says why.")
@instance_options
def command(
    chat: str, value: str, call: str | None, error: bool, data: Path | None, url: str | None, as_json: bool
) -> None:
    """Answer an agent's question, or give the result of a tool that clients run.

    VALUE is the answer as text, or as JSON where the question's schema asks for it; the result of a tool is JSON, or
    any other text as it is. With --json: {seq}.
    """
    with open_client(data, url) as client:
        found = resolve_chat(client, chat)
        waiting = [item for item in found.get("open_calls", []) if item["needs"] in ("answer", "result")]
        chosen = choose_call(waiting, call, "call waiting for an answer")
        call_id = chosen["tool_call_id"]
        if chosen["needs"] == "answer":
            if error:
                raise click.UsageError("--error is for the result of a tool")
            given = typed_answer(value, dict(chosen))
            answer = client.answer(found["id"], call_id, given)
        else:
            given = _result_of(value)
            answer = client.submit_tool_result(found["id"], call_id, given, is_error=error)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Answered: {clean_line(msgspec.json.encode(given).decode())}")


def _result_of(text: str) -> object:
    try:
        return json_of("VALUE", text)
    except Invalid:
        return text
