"""Who holds the data directory, as a standby sees it: where requests go, and whether anybody is still there."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx2

from antiphon.config import Options
from antiphon.edge.standby.request import Forwarded
from antiphon.errors import Unavailable
from antiphon.lockfile import InstanceFile, is_held, read_holder, read_primary

RETRY_S = 0.02
"""After a failure the primary, whoever it is then, is tried again so soon."""
LOOK_S = 2.0
SILENT_S = 15.0
"""A primary that answers nothing for so long is reported. It holds the lock, so it is not fought."""
CONNECT_S = 2.0
ANSWER_S = 60.0
KEPT_MAX = 64


class Primary:
    """The primary of `data`. `watch` it as a task; `succeeded` says that it is this process now."""

    def __init__(self, data: Path, options: Options) -> None:
        self._data = data
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT_MAX, keepalive_expiry=20.0)
        # the transport alone: a client would keep the cookies of one reader for the next
        self._transport = httpx2.AsyncHTTPTransport(verify=_trusted(options), trust_env=False, limits=limits)
        self._holder_id = ""
        self._heard_at = asyncio.get_running_loop().time()
        self.succeeded = False

    async def aclose(self) -> None:
        await self._transport.aclose()

    # --- asking

    async def wait(self, deadline: float) -> InstanceFile | None:
        """The primary as soon as there is one that can be asked; None when it is this process. Raises `Unavailable`
        after `deadline` (of the loop's clock), and at once while the primary is silent."""
        loop = asyncio.get_running_loop()
        while not self.succeeded:
            if self.is_silent and is_held(self._data):
                raise Unavailable(self.problem())
            found = read_primary(self._data)
            if found is not None:
                return found
            if loop.time() > deadline:
                raise Unavailable("no instance is the primary of this data directory at the moment")
            await asyncio.sleep(RETRY_S)
        return None

    async def open(self, primary: InstanceFile, forwarded: Forwarded, *, answer_s: float | None) -> httpx2.Response:
        """Its answer, of which the body is still to be read; close it. Raises `httpx2.TransportError`."""
        times = {"connect": CONNECT_S, "write": ANSWER_S, "read": answer_s, "pool": CONNECT_S}
        request = httpx2.Request(
            forwarded.method,
            primary.http_url + forwarded.target,
            headers=forwarded.headers_for(primary.instance_id),
            content=forwarded.body,
            extensions={"timeout": times},
        )
        return await self._transport.handle_async_request(request)

    # --- being there

    @property
    def silent_s(self) -> float:
        """How long nothing has been heard of it, seconds; 0 for what is no silence yet."""
        silence_s = asyncio.get_running_loop().time() - self._heard_at
        return silence_s if silence_s >= SILENT_S and not self.succeeded else 0.0

    @property
    def is_silent(self) -> bool:
        return self.silent_s > 0

    def problem(self) -> str:
        """What is wrong with it, in words; empty when all is well."""
        if not self.is_silent:
            return ""
        holder = read_holder(self._data)
        who = f"the process {holder.pid}" if holder else "a process"
        return f"{who} holds {self._data} and has not answered for {self.silent_s:.0f} s"

    async def watch(self) -> None:
        """Look whether it answers, until cancelled."""
        while True:
            if await self._answers():
                self._heard_at = asyncio.get_running_loop().time()
            await asyncio.sleep(LOOK_S)

    async def _answers(self) -> bool:
        holder = read_holder(self._data)
        if holder is not None and holder.instance_id != self._holder_id:
            self._holder_id = holder.instance_id
            return True  # a new one has its time to get ready
        found = read_primary(self._data)
        if found is None:
            return False
        try:
            answer = await self.open(found, Forwarded.look(), answer_s=LOOK_S)
            await answer.aclose()
        except httpx2.TransportError:
            return False
        return True


def _trusted(options: Options) -> ssl.SSLContext | bool:
    """A primary that speaks TLS shows the certificate that this standby was started with; its name is that of the
    outside, the connection is to loopback."""
    if not options.tls_cert:
        return False
    context = ssl.create_default_context(cafile=options.tls_cert)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
