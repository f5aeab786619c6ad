"""Who holds the data directory, as a standby sees it: where requests go, and whether anybody is still there."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import structlog
from starlette.exceptions import HTTPException

from antiphon.api.proxy.request import Forwarded
from antiphon.errors import Unavailable
from antiphon.local.lock import InstanceFile, is_held, read_holder, read_primary
from antiphon.observe.metrics import METRICS

RETRY_S = 0.02
"""After a failure the primary, whoever it is then, is tried again so soon."""
LOOK_S = 2.0
SILENT_S = 15.0
"""A primary that answers nothing for so long is reported. It holds the lock, so it is not fought."""
CONNECT_S = 2.0
ANSWER_S = 60.0
KEPT_MAX = 64

UNANSWERED = (httpx2.HTTPError, httpx2.StreamError, HTTPException, OSError, TimeoutError, msgspec.DecodeError)
HEALTH_BYTES_MAX = 64 * 1024
"""Maximum size of the answer to a liveness check."""

log = structlog.get_logger(__name__)


class Primary:
    """The primary of `data`. `watch` it as a task; `succeed` says that it is this process now."""

    def __init__(self, data: Path) -> None:
        self._data = data
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT_MAX, keepalive_expiry=20.0)
        # The transport alone: a client would keep the cookies of one reader for the next. The connection is to
        # loopback, where the name in a certificate is not the one it is reached by: it says nothing here.
        self._transport = httpx2.AsyncHTTPTransport(verify=False, trust_env=False, limits=limits)
        self._holder_id = ""
        self._heard_at = asyncio.get_running_loop().time()
        self._finding: asyncio.Task[InstanceFile | None] | None = None
        self.is_succeeded = False
        self.silence = asyncio.Event()
        """Set while it is silent."""

    async def aclose(self) -> None:
        if self._finding is not None:
            self._finding.cancel()
            await asyncio.wait({self._finding})
        await self._transport.aclose()

    def succeed(self) -> None:
        """It is this process now."""
        self.is_succeeded = True
        self._hear()

    # --- asking

    async def wait(self, deadline: float) -> InstanceFile | None:
        """The primary as soon as there is one that can be asked; None when it is this process. Raises `Unavailable`
        after `deadline` (of the loop's clock), and at once while the primary is silent."""
        while not self.is_succeeded:
            if self.is_silent and is_held(self._data):
                raise self.silent()
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("no instance is the primary of this data directory at the moment")
            finding = self._finding
            if finding is None or finding.done():
                finding = self._finding = asyncio.create_task(self._find())
            done, _ = await asyncio.wait({finding}, timeout=deadline - asyncio.get_running_loop().time())
            if done and (found := finding.result()) is not None:
                return found
        return None

    async def _find(self) -> InstanceFile | None:
        """One looks for all that wait. Who has died and is written down still is not found."""
        while not self.is_succeeded and not (self.is_silent and is_held(self._data)):
            found = read_primary(self._data)
            if found is not None and is_held(self._data):
                return found
            await asyncio.sleep(RETRY_S)
        return None

    async def open(self, primary: InstanceFile, forwarded: Forwarded, *, read_s: float | None) -> httpx2.Response:
        """Its answer, of which the body is still to be read; close it. Raises `httpx2.TransportError`, and
        `HTTPException` for what cannot be handed on."""
        times = {"connect": CONNECT_S, "write": ANSWER_S, "read": read_s, "pool": CONNECT_S}
        request = httpx2.Request(
            forwarded.method,
            primary.http_url,
            headers=forwarded.headers_for(primary.instance_id),
            content=forwarded.body,
            extensions={"timeout": times, "target": forwarded.target},
        )
        try:
            return await self._transport.handle_async_request(request)
        except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol) as error:
            raise HTTPException(400, "A standby cannot hand this request on as it is.") from error

    # --- being there

    @property
    def silent_s(self) -> float:
        """How long nothing has been heard of it, seconds; 0 for what is no silence yet."""
        silence_s = asyncio.get_running_loop().time() - self._heard_at
        return silence_s if silence_s >= SILENT_S and not self.is_succeeded else 0.0

    @property
    def is_silent(self) -> bool:
        return self.silent_s > 0

    def silent(self) -> Unavailable:
        """What is said to whoever asks; the log says more."""
        return Unavailable(f"the primary has not answered for {self.silent_s:.0f} s", retry_after_ms=5000)

    async def watch(self) -> None:
        """Look whether it answers, until cancelled or succeeded."""
        while not self.is_succeeded:
            if await self._answers():
                self._hear()
            elif self.is_silent:
                self._miss()
            await asyncio.sleep(LOOK_S)

    def _hear(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        METRICS.primary_silent.set(0)
        if self.silence.is_set():
            self.silence.clear()
            log.info("primary_heard")

    def _miss(self) -> None:
        METRICS.primary_silent.set(self.silent_s)
        if not self.silence.is_set():
            self.silence.set()
            holder = read_holder(self._data)
            log.warning("primary_silent", pid=holder and holder.pid, data=str(self._data), seconds=self.silent_s)

    async def _answers(self) -> bool:
        holder = read_holder(self._data)
        if holder is not None and holder.instance_id != self._holder_id:
            self._holder_id = holder.instance_id
            return True  # a new one has its time to get ready
        found = read_primary(self._data)
        if found is None:
            return False
        with contextlib.suppress(*UNANSWERED):
            answer = await self.open(found, Forwarded.look(), read_s=LOOK_S)
            try:
                async with asyncio.timeout(LOOK_S):
                    body = await _beginning_of(answer)
            finally:
                await answer.aclose()
            shown: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
            return bool(shown.get("instance_id") == found.instance_id)
        return False


async def _beginning_of(answer: httpx2.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > HEALTH_BYTES_MAX:
            break
    return bytes(body)
