"""`antiphon ps`: the instances of this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from antiphon.cli.cells import fit, fit_end
from antiphon.cli.clean import clean_text
from antiphon.cli.instance import PING_S, endpoints_of
from antiphon.cli.output_width import output_width
from antiphon.cli.verb import Verb, json_option, print_json
from antiphon.errors import AntiphonError, InstanceMissing, Unavailable

if TYPE_CHECKING:
    from antiphon.local.discovery import Announcement

WATCH_S = 2.0
"""Time between two refreshes of --watch, in seconds."""


@click.command("ps", cls=Verb)
@click.option("--watch", is_flag=True, help="Refresh every two seconds.")
@json_option
def command(watch: bool, as_json: bool) -> None:
    """List the running instances of this machine, the other replicas on their stores, and their load. With --json:
    one object per line.
    """
    while True:
        shown = asyncio.run(collect())
        if watch and not as_json:
            click.clear()
        _print(shown, as_json=as_json)
        if not watch:
            return
        asyncio.run(asyncio.sleep(WATCH_S))


async def collect() -> list[dict[str, Any]]:
    from antiphon.local.discovery import announced

    found = announced()
    shown = list(await asyncio.gather(*(_describe(announcement) for announcement in found)))
    known = {item["instance_id"] for item in shown}
    asked: set[str] = set()
    for announcement in found:
        if announcement.role == "replica" and announcement.data not in asked:
            asked.add(announcement.data)
            for item in await _replicas_of(announcement):
                if item["instance_id"] not in known:
                    known.add(item["instance_id"])
                    shown.append(item)
    return shown


async def _replicas_of(announcement: Announcement) -> list[dict[str, Any]]:
    """The instances on a replica's store, as the replica lists them; none if it does not respond."""
    from pathlib import Path

    from antiphon.client import AsyncClient
    from antiphon.local.lock import read_instance_file

    own = read_instance_file(Path(announcement.data))
    if own is None:
        return []
    try:
        async with AsyncClient(own.http_url, own.token, timeout_s=PING_S, verify=False) as client:
            return [dict(item) for item in await client.instances() if item["role"] == "replica"]
    except AntiphonError:
        return []


async def _describe(announcement: Announcement) -> dict[str, Any]:
    """The state of an instance, from its announcement and its own response. `is_silent`: it does not respond."""
    shown: dict[str, Any] = {
        "instance_id": announcement.instance_id,
        "pid": announcement.pid,
        "role": announcement.role,
        "data": announcement.data,
        "http_url": announcement.http_url,
        "pub_endpoint": announcement.pub_endpoint,
        "rpc_endpoint": announcement.rpc_endpoint,
        "started_at": announcement.started_at,
        "apis": list(announcement.apis),
        "is_silent": True,
    }
    try:
        about = await (_about_primary if announcement.rpc_endpoint else _about_without_sockets)(announcement)
    except AntiphonError:
        return shown
    return shown | {"is_silent": False} | about


async def _about_primary(announcement: Announcement) -> dict[str, Any]:
    endpoints = endpoints_of(announcement)
    if endpoints is None:
        raise Unavailable("the keys of the instance cannot be read")
    async with endpoints.remote(timeout_s=PING_S) as remote:
        info = await remote.about()
    return {
        "uptime": info.uptime,
        "sessions": info.session_count,
        "active_session_id": info.active_session_id or None,
    }


async def _about_without_sockets(announcement: Announcement) -> dict[str, Any]:
    """The state of a standby, or of a replica that shares its directory with another one."""
    from antiphon.client import AsyncClient

    async with AsyncClient(announcement.http_url, timeout_s=PING_S, verify=False) as client:  # no token is sent
        await client.healthz()
        try:
            await client.readyz()
        except InstanceMissing:
            raise
        except AntiphonError:
            return {"is_primary_silent": announcement.role == "standby"}
    return {"is_primary_silent": False}


def _print(shown: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for item in shown:
            print_json(item)
        return
    if not shown:
        click.echo("No instance is running on this machine. Start one with `antiphon serve`.")
        return
    width = output_width()
    for item in shown:
        click.echo("\n".join(_full_lines(item) if width is None else _short_lines(item, width)))


def _full_lines(item: dict[str, Any]) -> list[str]:
    lines = [f"{item['instance_id'][:8]}  {item['role']}  pid {item['pid']}  {state_of(item)}"]
    lines += [f"          {item['data'] or item['host']}"]
    lines += [f"          {'  '.join(_addresses(item))}"]
    lines += [f"          also speaks {', '.join(item['apis'])}"] if item.get("apis") else []
    return [clean_text(line) for line in lines]


def _short_lines(item: dict[str, Any], width: int) -> list[str]:
    """The same in at most `width` cells a line; of paths and addresses the end is shown."""
    head = " · ".join((item["role"], state_of(item), f"pid {item['pid']}"))
    lines = [f"{item['instance_id'][:8]}  {fit(head, width - 10)}"]
    lines += ["  " + fit_end(text, width - 2) for text in (str(item["data"] or item["host"]), *_addresses(item))]
    lines += ["  " + fit(f"also speaks {', '.join(item['apis'])}", width - 2)] if item.get("apis") else []
    return lines


def _addresses(item: dict[str, Any]) -> list[str]:
    return [text for text in (item["http_url"], item.get("pub_endpoint"), item["rpc_endpoint"]) if text]


def state_of(item: dict[str, Any]) -> str:
    if item["is_silent"]:
        return "does not respond"
    if item["role"] == "standby":
        return "its primary does not respond" if item["is_primary_silent"] else "ready to take over"
    if "uptime" not in item:
        drains = ", draining" if item.get("is_draining") else ""
        return f"{item['running']} of {item['capacity']} turns{drains}" if item.get("capacity") else "ready"
    active = f", active {item['active_session_id'][:8]}" if item["active_session_id"] else ""
    return f"up {item['uptime']}, {item['sessions']} chats{active}"
