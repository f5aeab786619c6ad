"""The servers of this machine, and those at given addresses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from antiphon.cli.instance import InstanceAccess, find_instance
from antiphon.cli.tui.server import Server
from antiphon.errors import Unavailable
from antiphon.local.discovery import announced

DISCOVERY_S = 3.0
"""Time between two checks for servers that were started or ended, in seconds."""
SERVERS_MAX = 50
"""Maximum number of listed servers."""


class Servers:
    """Run `run` as a task. `items` are the servers in their order; those of this machine come and go."""

    def __init__(
        self, *, on_change: Callable[[], None], on_access: Callable[[Server], None], keeps: Callable[[Server], bool]
    ) -> None:
        """`keeps`: whether a server that has ended stays in the list, because it is in use."""
        self.items: list[Server] = []
        self._on_change = on_change
        self._on_access = on_access
        self._keeps = keeps
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._urls: dict[str, str] = {}
        """The keys of the servers that were added by address, which are not listed twice."""

    def add_access(self, key: str, name: str, access: InstanceAccess) -> Server:
        """Add a server at an address with its token."""
        self._urls[access.url.rstrip("/")] = key
        return self._give(key, name, lambda: access)

    def add_own(self, data: Path, access: InstanceAccess) -> Server:
        """Add a server that this process runs itself."""
        return self.add_access(_key(data), name_of(data), access)

    def add_data(self, data: Path) -> Server:
        """Add the server of a data directory, also while none is running."""
        return self._give(_key(data), name_of(data), partial(find_instance, data, None))

    def add_url(self, url: str) -> Server:
        self._urls[url.rstrip("/")] = url
        return self._give(
            url, url.removeprefix("http://").removeprefix("https://"), partial(find_instance, None, url)
        )

    async def run(self) -> None:
        """Connect and discover others until cancelled."""
        try:
            while True:
                for server in list(self.items):
                    self._start(server)
                self._discover()
                await asyncio.sleep(DISCOVERY_S)
        finally:
            for task in self._tasks.values():
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks.values())

    def _give(self, key: str, name: str, find: Callable[[], InstanceAccess], *, can_end: bool = False) -> Server:
        for server in self.items:
            if server.key == key:
                return server
        server = Server(key, name, find, on_change=self._on_change, on_access=self._on_access, can_end=can_end)
        self.items.append(server)
        return server

    def _start(self, server: Server) -> None:
        if server.key not in self._tasks:
            self._tasks[server.key] = asyncio.create_task(server.run())

    def _discover(self) -> None:
        found = announced_servers()
        folders = list(found)
        for data, url in found.items():
            if len(self.items) < SERVERS_MAX and self._urls.get(url, _key(data)) == _key(data):
                self._start(self._give(_key(data), name_of(data), partial(find_instance, data, None), can_end=True))
        ended = [
            server
            for server in self.items
            if server.can_end and server.problem and Path(server.key) not in folders and not self._keeps(server)
        ]
        for server in ended:
            self.items.remove(server)
            self._tasks.pop(server.key).cancel()
        if ended:
            self._on_change()


def announced_servers() -> dict[Path, str]:
    """The data directories of the instances that are announced on this machine, the oldest first, each with an
    address."""
    with contextlib.suppress(OSError, Unavailable):  # this user has no runtime directory: none is announced
        return {Path(_key(Path(item.data))): item.http_url for item in announced() if item.data}
    return {}


def name_of(data: Path) -> str:
    """What a data directory is called: its folder if it has the usual name, else its own name."""
    folder = Path(_key(data))
    return folder.parent.name if folder.name == ".antiphon" and folder.parent.name else folder.name


def _key(data: Path) -> str:
    return str(data.expanduser().absolute().resolve())
