"""`antiphon events`: the events that an instance publishes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.cells import fit
from antiphon.cli.clean import clean_text
from antiphon.cli.endpoints import endpoints_option, open_remote_at
from antiphon.cli.output_width import NARROW, output_width
from antiphon.cli.tool_run import value_text
from antiphon.cli.verb import Verb, data_option, json_option, print_json
from antiphon.errors import Invalid

if TYPE_CHECKING:
    from antiphon.wire.instance import Envelope

FIRST = ("tool_name", "role", "content", "token", "title", "result", "error")
"""The fields of an event that are shown first, because a narrow terminal has room for few."""


@click.command("events", cls=Verb)
@click.option("--topic", "topics", multiple=True, help="Only this topic (llm.token, message.append, …); repeatable.")
@data_option
@endpoints_option
@json_option
def command(topics: tuple[str, ...], data: Path | None, endpoints: str | None, as_json: bool) -> None:
    """Show the events of the instance of the data directory, or of the one at --endpoints, until Ctrl-C. With --json:
    one envelope per line."""
    from antiphon.wire.instance import PAYLOAD_TYPES

    for topic in topics:
        if topic not in PAYLOAD_TYPES:
            raise Invalid("--topic", f"there is no {topic!r}; there are {', '.join(PAYLOAD_TYPES)}")
    try:
        asyncio.run(_show(topics, data, endpoints, as_json))
    except KeyboardInterrupt:
        return


async def _show(topics: tuple[str, ...], data: Path | None, endpoints: str | None, as_json: bool) -> None:
    async with open_remote_at(endpoints, data) as remote:
        await remote.ping()  # raises at once if the instance does not respond
        async with aclosing(remote.events(topics)) as events:
            async for envelope in events:
                if as_json:
                    print_json(envelope)
                else:
                    width = output_width()
                    click.echo(_full_line(envelope) if width is None else short_line(envelope, width))


def short_line(envelope: Envelope, width: int) -> str:
    """An event in at most `width` cells: the time, the topic, the session, and what it says as `name=value`."""
    at = f"{envelope.timestamp:%H:%M:%S.%f}"
    begin = f"{at[:8]}  {envelope.topic:<15}  "
    if width >= NARROW:
        begin = f"{at[:-3]}  {envelope.topic:<18}  {envelope.session_id[:8] or '-':<8}  "
    return begin + fit(_words(envelope), width - len(begin))


def _words(envelope: Envelope) -> str:
    payload = envelope.payload if isinstance(envelope.payload, dict) else {}
    names = [name for name in FIRST if name in payload] + [name for name in payload if name not in FIRST]
    words = []
    for name in names:
        value = payload[name]
        if value in (None, "") or value == envelope.session_id:
            continue
        words.append(f"{name}={len(value) if isinstance(value, list) else value_text(value)}")
    return " ".join(words)


def _full_line(envelope: Envelope) -> str:
    import msgspec

    at = f"{envelope.timestamp:%H:%M:%S.%f}"[:-3] + "Z"
    payload = envelope.payload if isinstance(envelope.payload, dict) else {}
    shown = {name: value for name, value in payload.items() if name != "session_id"}
    text = msgspec.json.encode(shown).decode()
    session = f" {envelope.session_id[:8]}" if envelope.session_id else ""
    return clean_text(f"{at} {envelope.topic:<18}{session} {text}")
