"""`antiphon ps`: the instances of this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from antiphon.cli.clean import clean_text
from antiphon.cli.reach import PING_S
from antiphon.cli.verb import Verb, json_option, print_json
from antiphon.errors import AntiphonError

if TYPE_CHECKING:
    from antiphon.discovery import Announcement

WATCH_S = 2.0


@click.command("ps", cls=Verb)
@click.option("--watch", is_flag=True, help="Go on, and show them anew every two seconds.")
@json_option
def command(watch: bool, as_json: bool) -> None:
    """List the instances that run on this machine, and what they are at. With --json: one object a line."""
    while True:
        shown = asyncio.run(_look())
        if watch and not as_json:
            click.clear()
        _print(shown, as_json=as_json)
        if not watch:
            return
        asyncio.run(asyncio.sleep(WATCH_S))


async def _look() -> list[dict[str, Any]]:
    from antiphon.discovery import announced

    return list(await asyncio.gather(*(_ask(announcement) for announcement in announced())))


async def _ask(announcement: Announcement) -> dict[str, Any]:
    """What the instance says of itself; `is_silent` where it does not answer."""
    from antiphon.client.zmq import RemoteInstance

    shown: dict[str, Any] = {
        "instance_id": announcement.instance_id,
        "pid": announcement.pid,
        "role": announcement.role,
        "data": announcement.data,
        "http_url": announcement.http_url,
        "pub_endpoint": announcement.pub_endpoint,
        "rpc_endpoint": announcement.rpc_endpoint,
        "started_at": announcement.started_at,
        "is_silent": True,
    }
    try:
        async with RemoteInstance(announcement.pub_endpoint, announcement.rpc_endpoint, timeout_s=PING_S) as remote:
            info = await remote.info()
    except AntiphonError:
        return shown
    return shown | {
        "is_silent": False,
        "uptime": info.uptime,
        "sessions": info.session_count,
        "active_session_id": info.active_session_id or None,
    }


def _print(shown: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for item in shown:
            print_json(item)
        return
    if not shown:
        click.echo("No instance runs here. Start one with `antiphon serve`.")
        return
    for item in shown:
        what = "does not answer" if item["is_silent"] else f"up {item['uptime']}, {item['sessions']} chats"
        active = f", active {item['active_session_id'][:8]}" if item.get("active_session_id") else ""
        click.echo(f"{item['instance_id'][:8]}  {item['role']}  pid {item['pid']}  {what}{active}")
        click.echo(f"          {clean_text(item['data'])}  {item['http_url']}")
