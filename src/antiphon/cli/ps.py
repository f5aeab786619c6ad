"""`antiphon ps`: the instances of this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from antiphon.cli.clean import clean_text
from antiphon.cli.instance import PING_S, near_of
from antiphon.cli.verb import Verb, json_option, print_json
from antiphon.errors import AntiphonError, InstanceMissing, Unavailable

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
    """What the instance says of itself; `is_silent` where it does not answer. A standby says less."""
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
        about = await (_about_primary if announcement.rpc_endpoint else _about_standby)(announcement)
    except AntiphonError:
        return shown
    return shown | {"is_silent": False} | about


async def _about_primary(announcement: Announcement) -> dict[str, Any]:
    near = near_of(announcement)
    if near is None:
        raise Unavailable("its keys cannot be read")
    async with near.remote(timeout_s=PING_S) as remote:
        info = await remote.info()
    return {
        "uptime": info.uptime,
        "sessions": info.session_count,
        "active_session_id": info.active_session_id or None,
    }


async def _about_standby(announcement: Announcement) -> dict[str, Any]:
    from antiphon.client import AsyncClient

    async with AsyncClient(announcement.http_url, timeout_s=PING_S, verify=False) as client:  # no token is sent
        await client.healthz()
        try:
            await client.readyz()
        except InstanceMissing:
            raise
        except AntiphonError:
            return {"is_primary_silent": True}
    return {"is_primary_silent": False}


def _print(shown: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for item in shown:
            print_json(item)
        return
    if not shown:
        click.echo("No instance runs here. Start one with `antiphon serve`.")
        return
    for item in shown:
        click.echo(clean_text(f"{item['instance_id'][:8]}  {item['role']}  pid {item['pid']}  {_state_of(item)}"))
        click.echo(f"          {clean_text(item['data'])}")
        endpoints = (item["http_url"], item["pub_endpoint"], item["rpc_endpoint"])
        click.echo(f"          {clean_text('  '.join(filter(None, endpoints)))}")


def _state_of(item: dict[str, Any]) -> str:
    if item["is_silent"]:
        return "does not answer"
    if item["role"] == "standby":
        return "its primary is silent" if item["is_primary_silent"] else "ready to take over"
    active = f", active {item['active_session_id'][:8]}" if item["active_session_id"] else ""
    return f"up {item['uptime']}, {item['sessions']} chats{active}"
