"""The primary of a data directory, as a standby sees it: its address, and whether it still responds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import structlog
from starlette.exceptions import HTTPException

from antiphon.api.proxy.limits import ProxyLimits
from antiphon.api.proxy.request import Forwarded
from antiphon.errors import Unavailable
from antiphon.local.lock import InstanceFile, is_held, read_holder, read_primary
from antiphon.observe.metrics import METRICS

UNANSWERED = (httpx2.HTTPError, httpx2.StreamError, HTTPException, OSError, TimeoutError, msgspec.DecodeError)
"""The errors of a failed liveness check."""

log = structlog.get_logger(__name__)


class Primary:
    """The primary of `data`. Run `watch` as a task; call `succeed` when this process becomes the primary."""

    def __init__(self, data: Path, limits: ProxyLimits = ProxyLimits()) -> None:
        self.limits = limits
        self._data = data
        pool = httpx2.Limits(
            max_connections=None, max_keepalive_connections=limits.idle_connections_max, keepalive_expiry=20.0
        )
        # Only the transport: an httpx2 client would send the cookies of one reader with the requests of the next.
        # The connection goes to loopback, and the server's certificate is for another name, so it is not verified.
        self._transport = httpx2.AsyncHTTPTransport(verify=False, trust_env=False, limits=pool)
        self._holder_id = ""
        self._responded_at = asyncio.get_running_loop().time()
        self._searching: asyncio.Task[InstanceFile | None] | None = None
        self.is_succeeded = False
        self.silence = asyncio.Event()
        """Set while the primary does not respond."""

    async def aclose(self) -> None:
        if self._searching is not None:
            self._searching.cancel()
            await asyncio.wait({self._searching})
        await self._transport.aclose()

    def succeed(self) -> None:
        """This process is the primary now."""
        self.is_succeeded = True
        self._on_response()

    # --- requests

    async def wait(self, deadline: float) -> InstanceFile | None:
        """Wait for a primary that can be reached; None when this process is the primary. Raises `Unavailable` after
        `deadline` (of the loop's clock), and at once while the primary does not respond."""
        while not self.is_succeeded:
            if self.is_silent and is_held(self._data):
                raise self.not_responding()
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("this data directory has no primary at the moment")
            search = self._searching
            if search is None or search.done():
                search = self._searching = asyncio.create_task(self._find())
            done, _ = await asyncio.wait({search}, timeout=deadline - asyncio.get_running_loop().time())
            if done and (found := search.result()) is not None:
                return found
        return None

    async def _find(self) -> InstanceFile | None:
        """Poll for a live primary, once for all waiting requests. An instance file without a lock is out of date."""
        while not self.is_succeeded and not (self.is_silent and is_held(self._data)):
            found = read_primary(self._data)
            if found is not None and is_held(self._data):
                return found
            await asyncio.sleep(self.limits.retry_s)
        return None

    async def open(
        self,
        primary: InstanceFile,
        forwarded: Forwarded,
        *,
        read_s: float | None,
        body: AsyncIterator[bytes] | None = None,
    ) -> httpx2.Response:
        """Send the request to the primary.

        Args:
            primary: Where to send it.
            forwarded: The request.
            read_s: How long the primary may send nothing, in seconds; None: without a limit.
            body: The body, which is sent piece by piece; None: the forwarded request has it.

        Returns:
            The response with its body unread; the caller must close it.

        Raises:
            httpx2.TransportError: The primary could not be reached, or was lost.
            HTTPException: The request cannot be forwarded.
        """
        connect_s, write_s = self.limits.connect_s, self.limits.answer_s
        times = {"connect": connect_s, "write": write_s, "read": read_s, "pool": connect_s}
        request = httpx2.Request(
            forwarded.method,
            primary.http_url,
            headers=forwarded.headers_for(primary.instance_id, is_streamed=body is not None),
            content=forwarded.body if body is None else body,
            extensions={"timeout": times, "target": forwarded.target},
        )
        try:
            return await self._transport.handle_async_request(request)
        except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol) as error:
            raise HTTPException(400, "A standby cannot forward this request.") from error

    # --- liveness

    @property
    def silent_s(self) -> float:
        """How long the primary has not responded, in seconds; 0 below the limit at which that is reported."""
        silence_s = asyncio.get_running_loop().time() - self._responded_at
        return silence_s if silence_s >= self.limits.silent_s and not self.is_succeeded else 0.0

    @property
    def is_silent(self) -> bool:
        return self.silent_s > 0

    def not_responding(self) -> Unavailable:
        """The error for clients. The log has more detail."""
        return Unavailable(f"the primary has not answered for {self.silent_s:.0f} s", retry_after_ms=5000)

    async def watch(self) -> None:
        """Check the primary's liveness until this task is cancelled or this process is the primary."""
        while not self.is_succeeded:
            if await self._is_alive():
                self._on_response()
            elif self.is_silent:
                self._on_silence()
            await asyncio.sleep(self.limits.check_s)

    def _on_response(self) -> None:
        self._responded_at = asyncio.get_running_loop().time()
        METRICS.primary_silent.set(0)
        if self.silence.is_set():
            self.silence.clear()
            log.info("primary_recovered")

    def _on_silence(self) -> None:
        METRICS.primary_silent.set(self.silent_s)
        if not self.silence.is_set():
            self.silence.set()
            holder = read_holder(self._data)
            log.warning(
                "liveness_check_failed", pid=holder and holder.pid, data=str(self._data), seconds=self.silent_s
            )

    async def _is_alive(self) -> bool:
        holder = read_holder(self._data)
        if holder is not None and holder.instance_id != self._holder_id:
            self._holder_id = holder.instance_id
            return True  # a new primary may take some time to start
        found = read_primary(self._data)
        if found is None:
            return False
        check_s = self.limits.check_s
        with contextlib.suppress(*UNANSWERED):
            answer = await self.open(found, Forwarded.liveness_check(), read_s=check_s)
            try:
                async with asyncio.timeout(check_s):
                    body = await _read_up_to(self.limits.health_bytes_max, answer)
            finally:
                await answer.aclose()
            shown: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
            return bool(shown.get("instance_id") == found.instance_id)
        return False


async def _read_up_to(bytes_max: int, answer: httpx2.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > bytes_max:
            break
    return bytes(body)
