"""`antiphon mcp`: MCP over stdin and stdout, for clients that start their servers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from antiphon.cli.verb import Verb, instance_options


@click.command("mcp", cls=Verb)
@instance_options
def command(data: Path | None, url: str | None, as_json: bool) -> None:
    """Speak MCP (modelcontextprotocol.io) over stdin and stdout: other programs use chats as tools and resources.

    Configure a client to start it: {"command": "antiphon", "args": ["mcp", "--data", "/path/of/the/data"]}. It uses
    the running instance, also after that was restarted. If no instance is running, the command starts one until it
    ends, and says so on stderr. The end of stdin ends the command; answers go on in a running instance. Messages are
    JSON in any case; --json only makes the error of a failed start JSON, too.
    """
    from antiphon.cli.mcp_bridge import run_bridge

    raise SystemExit(asyncio.run(run_bridge(data, url)))
