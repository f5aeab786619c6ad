"""`antiphon attach`: choose a running instance and one of its chats, and join it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from antiphon.cli.clean import clean_line, shorten
from antiphon.cli.endpoints import endpoints_option, read_endpoints
from antiphon.cli.instance import endpoints_of
from antiphon.cli.verb import DATA, Verb, json_option, print_json
from antiphon.cli.which_chat import LAST, resolve_chat
from antiphon.errors import InstanceMissing, Invalid, NotFound

if TYPE_CHECKING:
    from antiphon.client.local import Endpoints
    from antiphon.client.shapes import Chat
    from antiphon.local.discovery import Announcement

SHOWN_MAX = 20
"""Maximum number of chats to choose from."""
TITLE_MAX = 60
"""Maximum length of a shown title, in characters."""

T = TypeVar("T")


@click.command("attach", cls=Verb)
@click.argument("chat", required=False)
@click.option("--instance", "wanted", metavar="ID", default="", help="The instance's id, or the beginning of it.")
@endpoints_option
@json_option
def command(chat: str | None, wanted: str, endpoints: str | None, as_json: bool) -> None:
    """Join a chat of an instance on this machine: its events are shown, and what you type is sent.

    The default of --instance is the instance of the current directory, the default of CHAT the instance's active
    chat; otherwise you choose from a list. Esc stops an answer, Ctrl+D leaves, /help lists the
    commands and keys. With --json: one event per line, with its cursor, until Ctrl-C.

    Other servers of the instance protocol work too, with limits: lost events are not recovered, and events have no
    cursor.
    """
    if wanted and endpoints:
        raise click.UsageError("give --instance or --endpoints, not both")
    target = _endpoints_of(_pick_instance(wanted)) if endpoints is None else read_endpoints(endpoints)
    chat_id = _pick_chat(target, chat)
    if as_json:
        _follow_json(target, chat_id)
    else:
        come_back = f"antiphon attach{f' --endpoints {endpoints}' if endpoints else ''}"
        raise SystemExit(asyncio.run(_talk(target, chat_id, come_back)))


def _endpoints_of(found: Announcement) -> Endpoints:
    endpoints = endpoints_of(found)
    if endpoints is None:
        raise InstanceMissing(f"the keys of the instance on {found.data} cannot be read")
    return endpoints


def _pick_instance(wanted: str) -> Announcement:
    from antiphon.local.discovery import announced

    primaries = [item for item in announced() if item.rpc_endpoint]
    found = [item for item in primaries if item.instance_id.startswith(wanted.lower())]
    if not found:
        what = f"no instance's id begins with {wanted}" if wanted and primaries else "no instance runs here"
        raise InstanceMissing(f"{what}; `antiphon ps` lists them, `antiphon serve` starts one")
    here = [item for item in found if item.data == str(Path(DATA).resolve())]
    return _choose(found if wanted else here or found, _instance_line, "--instance")


def _instance_line(item: Announcement) -> str:
    return f"{item.instance_id[:8]}  {clean_line(item.data)}"


def _pick_chat(endpoints: Endpoints, wanted: str | None) -> str:
    from antiphon.client import Client

    with Client.local(endpoints) as client:
        if wanted is not None:
            return resolve_chat(client, wanted)["id"]
        active = asyncio.run(_active_chat(endpoints))
        if active:
            return active
        chats = client.chats(limit=SHOWN_MAX)["chats"]
        if not chats:
            raise NotFound
        if not sys.stdin.isatty():
            return resolve_chat(client, LAST)["id"]
        return _choose(chats, _chat_line, "CHAT")["id"]


async def _active_chat(endpoints: Endpoints) -> str:
    from antiphon.cli.instance import PING_S

    async with endpoints.remote(timeout_s=PING_S) as remote:
        return (await remote.about()).active_session_id


def _chat_line(chat: Chat) -> str:
    return f"{chat['id'][:8]}  {chat['status']:<16} {shorten(chat['title'] or 'Untitled chat', TITLE_MAX)}"


def _choose(items: Sequence[T], line: Callable[[T], str], name: str) -> T:
    """The only item, or the one whose number is typed."""
    if len(items) == 1:
        return items[0]
    if not sys.stdin.isatty():
        shown = "; ".join(line(item) for item in items)
        raise Invalid(name, f"choose one of {len(items)}: {shown}")
    for number, item in enumerate(items, start=1):
        click.echo(f"{number:>3}  {line(item)}", err=True)
    number = click.prompt("Which one", type=click.IntRange(1, len(items)), default=1, err=True)
    return items[number - 1]


async def _talk(endpoints: Endpoints, chat_id: str, come_back: str) -> int:
    from antiphon.cli.chat_options import ChatOptions
    from antiphon.cli.chat_talk import talk
    from antiphon.client import AsyncClient

    async with AsyncClient.local(endpoints) as client:
        return await talk(client, ChatOptions(chat_id=chat_id), files=None, come_back=come_back)


def _follow_json(endpoints: Endpoints, chat_id: str) -> None:
    from contextlib import closing

    from antiphon.cli.event_json import event_json
    from antiphon.client import Client

    with Client.local(endpoints) as client, closing(client.watch(chat_id)) as events:
        for event in events:
            print_json(event_json(event))
