"""`antiphon ping`: check that an instance responds, and how fast."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from antiphon.cli.endpoints import endpoints_option, open_remote_at
from antiphon.cli.verb import Verb, data_option, json_option, print_json


@click.command("ping", cls=Verb)
@data_option
@endpoints_option
@json_option
def command(data: Path | None, endpoints: str | None, as_json: bool) -> None:
    """Check that the instance of the data directory, or the one at --endpoints, responds. With --json:
    {instance_id, uptime, ms}."""
    answer = asyncio.run(_ping(data, endpoints))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{answer['instance_id']} responded in {answer['ms']:.2f} ms; uptime {answer['uptime']}")


async def _ping(data: Path | None, endpoints: str | None) -> dict[str, Any]:
    async with open_remote_at(endpoints, data) as remote:
        await remote.ping()  # connects
        started = time.perf_counter()
        answer = await remote.ping()
        ms = (time.perf_counter() - started) * 1e3
        return {"instance_id": answer.instance_id, "uptime": answer.uptime, "ms": round(ms, 3)}
