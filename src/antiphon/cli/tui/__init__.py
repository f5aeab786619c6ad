"""`antiphon tui`: chats of several servers in one window of the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.verb import DATA, Verb, data_option
from antiphon.errors import Invalid

if TYPE_CHECKING:
    from antiphon.cli.tui.app import AntiphonTui

MISSING = "the full-screen terminal needs the extra: pip install 'antiphon[tui]'"


@click.command("tui", cls=Verb)
@click.option("--chat", "which", metavar="CHAT", help="Open this chat of the first server.  [default: a new one]")
@click.option("--model", default="", help="The model of a new chat.")
@click.option("--theme", type=click.Choice(["dark", "light"]), help="The theme.  [default: the last one]")
@click.option("--bell", is_flag=True, help="Ring when an answer is ready or a person is asked.")
@data_option
@click.option("--url", "urls", multiple=True, help="Also the server at this address; the token is ANTIPHON_TOKEN.")
def command(
    which: str | None, model: str, theme: str | None, bell: bool, data: Path | None, urls: tuple[str, ...]
) -> None:
    """Chat in a window of the terminal: the servers of this machine and their chats, the open chat with its tool
    calls and what it asks, and the messages that wait. F1 shows the keys, Ctrl+P all commands.

    If no instance is running, the command starts one until it ends. A server that ends is waited for; what was typed
    meanwhile is sent when it is back.
    """
    if find_spec("textual") is None:
        raise Invalid("tui", MISSING)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("a terminal is needed; `antiphon chat TEXT` works in a pipe")
    asyncio.run(_show(which, model, theme or "", bell, data, urls))


async def _show(
    which: str | None, model: str, theme: str, bell: bool, data: Path | None, urls: Iterable[str]
) -> None:
    from antiphon.cli.chat_options import ChatOptions
    from antiphon.cli.conversation.history_file import open_history, state_folder
    from antiphon.cli.tui.app import AntiphonTui
    from antiphon.cli.tui.themes import ThemeFile

    folder = state_folder()
    app = AntiphonTui(
        history=open_history(),
        theme_file=ThemeFile(None if folder is None else folder / "theme"),
        theme_name=theme,
        options=ChatOptions(model=model, rings=bell),
        which=which,
    )
    async with contextlib.AsyncExitStack() as stack:
        await _add_servers(app, data, list(urls), stack)
        chat_id = await app.run_async()
    if chat_id:
        place = f" --data {data}" if data is not None else ""
        click.echo(f"To continue this chat: antiphon tui{place} --chat {chat_id}")


async def _add_servers(
    app: AntiphonTui, data: Path | None, urls: list[str], stack: contextlib.AsyncExitStack
) -> None:
    """The servers that are listed first. One is started if there is none."""
    from antiphon.cli.embedded import find_or_start
    from antiphon.cli.tui.servers import announced_servers
    from antiphon.local.lock import is_held

    servers, own = app.servers, data or Path(DATA)
    if data is not None or is_held(own):
        if is_held(own):
            servers.add_data(own)
        else:
            servers.add_own(own, await stack.enter_async_context(find_or_start(own, None)))
    for url in urls:
        servers.add_url(url)
    if not servers.items and not announced_servers():
        servers.add_own(own, await stack.enter_async_context(find_or_start(own, None)))
