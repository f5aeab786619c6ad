"""`antiphon acp`: the Agent Client Protocol over standard input and output, for editors."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import click

from antiphon.cli.clean import clean_text
from antiphon.cli.verb import Verb, instance_options


@click.command("acp", cls=Verb)
@instance_options
def command(data: Path | None, url: str | None, as_json: bool) -> None:
    """Serve the Agent Client Protocol (agentclientprotocol.com) over stdin and stdout. An editor starts this command;
    its threads are chats of the instance, which other clients can use at the same time.

    If no instance is running, the command starts one until it ends, and says so on stderr. At the end of its input it
    exits with code 0; turns go on. With --json an error at its start is printed as JSON.
    """
    if sys.stdin.isatty():
        click.echo("antiphon: an editor starts this command and speaks JSON-RPC with it; Ctrl-D ends it", err=True)
    with contextlib.suppress(asyncio.CancelledError):  # SIGTERM
        asyncio.run(_serve(data, url))


async def _serve(data: Path | None, url: str | None) -> None:
    from antiphon.api.acp.agent import Agent
    from antiphon.cli.byte_streams import StandardStreams
    from antiphon.cli.embedded import find_or_start
    from antiphon.observe.logs import configure_logging

    configure_logging(as_json=False, level="error")  # to stderr: stdout has the protocol
    me = asyncio.current_task()
    assert me is not None
    async with (
        find_or_start(data, url) as reached,
        reached.async_client() as client,
        reached.async_http_client() as configuration,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
        await Agent(client, StandardStreams(), configuration=configuration, report=_report).run()


def _report(words: str) -> None:
    click.echo(clean_text(f"antiphon: {words}"), err=True)
