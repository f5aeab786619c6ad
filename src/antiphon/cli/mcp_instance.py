"""The instance that `antiphon mcp` uses, also after that was restarted or has gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2

from antiphon.cli.embedded import find_or_start
from antiphon.cli.instance import InstanceAccess, choose_data, find_instance
from antiphon.client.asynchronous.http_client import make_http_client

SILENCE_S = 60.0
"""How long the server may be silent, in seconds. It sends something every 10 s."""
START_AFTER_S = 10.0
"""How long an instance that was lost is expected to restart, in seconds. One that is started in its place has other
settings: it would go on with the turns of the lost one without its agent."""


class Instance:
    """The instance that is used, and the next one when it has gone."""

    def __init__(self, data: Path | None, url: str | None, *, on_open: Callable[[], None]) -> None:
        """`on_open` is called when an instance was found or started: a started one handles signals until then."""
        self._on_open = on_open
        self._data = data
        self._url = url
        self._lock = asyncio.Lock()
        self._opened = contextlib.AsyncExitStack()
        """All that was opened: requests of others may still use a client that one has given up."""
        self._access: InstanceAccess | None = None
        self._http: httpx2.AsyncClient | None = None
        self._lost: httpx2.AsyncClient | None = None
        self._lost_at = 0.0

    @property
    def http(self) -> httpx2.AsyncClient:
        assert self._http is not None, "the instance is open"
        return self._http

    async def open(self, *, may_start: bool = True) -> None:
        """Find one, or start it. Raises `InstanceMissing`, `Invalid`, `Unavailable`."""
        if self._data is None and self._url is None:
            # chosen once: a message that is sent again must not reach the chats of another directory
            self._data = await asyncio.to_thread(choose_data)
        async with contextlib.AsyncExitStack() as opened:
            find = find_or_start if may_start else _find
            access = await opened.enter_async_context(find(self._data, self._url))
            if access == self._access:
                return  # it was silent for a while
            verify = access.endpoints is None  # its certificate names a public address
            http = make_http_client(access.url, access.token, timeout_s=SILENCE_S, verify=verify)
            await opened.enter_async_context(http)
            self._access, self._http = access, http
            self._opened.push_async_exit(opened.pop_all())
            self._on_open()

    async def replace(self, lost: httpx2.AsyncClient) -> None:
        """Find or start the next instance, unless another request has done so. Raises as `open` does."""
        async with self._lock:
            if self._http is lost:
                now = asyncio.get_running_loop().time()
                if self._lost is not lost:
                    self._lost, self._lost_at = lost, now
                await self.open(may_start=now - self._lost_at >= START_AFTER_S)

    async def close(self) -> None:
        await self._opened.aclose()


@contextlib.asynccontextmanager
async def _find(data: Path | None, url: str | None) -> AsyncIterator[InstanceAccess]:
    yield await asyncio.to_thread(find_instance, data, url)
