"""`antiphon ls`: the owner's chats."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.cells import fit
from antiphon.cli.clean import clean_line
from antiphon.cli.instance import open_client
from antiphon.cli.output_width import NARROW, output_width
from antiphon.cli.time_text import age_text, time_text
from antiphon.cli.verb import Verb, instance_options, print_json
from antiphon.cli.which_chat import SHORT_ID, resolve_chat

if TYPE_CHECKING:
    from antiphon.client.shapes import Chat


@click.command("ls", cls=Verb)
@click.option("--parent", default="", metavar="CHAT", help="List the child chats that this chat's turns started.")
@click.option("--archived", is_flag=True, help="List the archived chats instead.")
@click.option("--label", default="", help="Only chats with this label: KEY or KEY:VALUE.")
@click.option("--title", default="", help="Only chats whose title contains this text.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500))
@click.option("--after", help="The `next` of the previous page.")
@instance_options
def command(
    parent: str,
    archived: bool,
    label: str,
    title: str,
    limit: int,
    after: str | None,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """List chats, latest change first. With --json: {chats, next}."""
    with open_client(data, url) as client:
        page = client.chats(
            parent_chat_id=resolve_chat(client, parent)["id"] if parent else None,
            archived=archived,
            label=label,
            title=title,
            limit=limit,
            after=after,
        )
    if as_json:
        print_json(page)
        return
    width, now = output_width(), datetime.now(UTC)
    for chat in page["chats"]:
        click.echo(_full_line(chat) if width is None else short_line(chat, width, now))
    if page["next"]:
        click.echo(f"There are more: --after {page['next']}", err=True)


def _full_line(chat: Chat) -> str:
    """Short id, status, number of queued messages, last change, title: the same columns in every list."""
    waiting = f"+{chat['queue_length']}" if chat["queue_length"] else ""
    changed = time_text(chat["updated_at"], "minutes")
    title = clean_line(chat["title"]) or "Untitled chat"
    return f"{chat['id'][:SHORT_ID]}  {chat['status'] + waiting:<16} {changed}  {title}"


def short_line(chat: Chat, width: int, now: datetime) -> str:
    """The same in at most `width` cells, with the time since the last change. On a narrow terminal the status is
    shown only where it is not `waiting`."""
    waiting = f" +{chat['queue_length']}" if chat["queue_length"] else ""
    status = chat["status"].replace("_", " ") + waiting
    begin = f"{chat['id'][:SHORT_ID]}  {age_text(chat['updated_at'], now):>6}  "
    title = chat["title"] or "Untitled chat"
    if width >= NARROW:
        return begin + f"{status:<17}  " + fit(title, width - len(begin) - 19)
    shown = "" if status == "waiting" else f"({status}) "
    return begin + fit(shown + title, width - len(begin))
