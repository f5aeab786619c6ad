"""The agents of an instance on its NATS server: connects, registers them, and connects again when that is lost.

A lost connection may have lost chunks, which callers could not notice. So the streams of that connection end: after
the next connection is open their callers get an error, and may repeat their prompts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from random import Random

import nats.errors
import structlog
from nats.aio.client import Client

from antiphon.api.nats_agent.agent import PromptTasks, ServedAgent
from antiphon.api.nats_agent.limits import REPORTED_MAX, AgentTiming
from antiphon.api.nats_agent.reply import Reply
from antiphon.bus.nats_client import (
    close_client,
    connect_client,
    connect_options,
    end_tasks,
    request,
    sentence_of,
)
from antiphon.bus.networked import BusConnectionLost, within
from antiphon.instance import Instance
from antiphon.observe.metrics import METRICS
from antiphon.tracebacks import traceback_of
from antiphon.wire.nats_agent.errors import CONNECTION_LOST
from antiphon.wire.nats_agent.service import AgentName, AgentRecord

log = structlog.get_logger(__name__)


class NatsAgents:
    """`run` it as a task; `leave` before the instance stops, `aclose` after it has."""

    def __init__(self, instance: Instance, agents: Sequence[tuple[AgentName, str]], *, timing: AgentTiming) -> None:
        """`agents` are names and the ids of the owners."""
        self.task: asyncio.Task[None] | None = None
        self.error: str | None = "NATS: not connected yet"
        """Why the agents cannot be reached; None: they can."""
        self._instance = instance
        self._agents = agents
        self._timing = timing
        self._options = connect_options(instance.options.bus) | {"name": "antiphon-agents"}
        self._prompts = PromptTasks()
        self._served: list[ServedAgent] = []
        self._lost: deque[str] = deque(maxlen=REPORTED_MAX)
        """The reply subjects of streams that a lost connection has ended."""
        self._refused = ""
        """The subscription that the server refuses to this user."""
        self._is_leaving = False

    @property
    def prompt_count(self) -> int:
        """Number of prompts in progress."""
        return len(self._prompts)

    async def run(self) -> None:
        """Serve, until cancelled."""
        tries, random = 0, Random()
        while True:
            try:
                await self._serve()
                tries = 0
            except BusConnectionLost as error:
                self.error = str(error)
                tries += 1
            await asyncio.sleep(self._timing.backoff.delay_s(max(tries, 1), random))

    async def leave(self) -> None:
        """Accept no more prompts; those in progress go on."""
        self._is_leaving = True
        served, self._served = self._served, []
        for agent in served:
            with contextlib.suppress(BusConnectionLost):
                await agent.leave()

    async def aclose(self) -> None:
        """End the streams, and close the connection."""
        await self.leave()
        await self._prompts.wait(self._timing.close_s)
        if self.task is not None:
            await end_tasks([self.task])

    async def _serve(self) -> None:
        """Serve over one connection, until it is lost. Raises `BusConnectionLost` if it could not be opened."""
        timing, closed, client = self._timing, asyncio.Event(), Client()
        self._refused = ""
        opening = asyncio.create_task(self._open(client, closed))
        try:
            await within(timing.open_s, opening, "NATS: the server did not answer")
            self.error = self._refused or None
            log.info("nats_agents_registered", agents=[f"{name.owner}/{name.session}" for name, _ in self._agents])
            await self._keep(client, closed)
            self.error = sentence_of(client.last_error or ConnectionError("the server closed the connection"))
            log.warning("nats_agents_connection_lost", error=self.error)
        finally:
            self._served = []
            await end_tasks([opening])  # else it might connect after the client was closed
            self._lost.extend(await self._prompts.cancel())
            await close_client(client, close_s=timing.close_s)

    async def _open(self, client: Client, closed: asyncio.Event) -> None:
        async def on_closed() -> None:
            closed.set()

        await connect_client(
            client, self._options, on_error=self._note_error, on_closed=on_closed, close_s=self._timing.close_s
        )
        await self._register(client)

    async def _note_error(self, error: Exception) -> None:
        """An error that does not close the connection."""
        if isinstance(error, nats.errors.SlowConsumerError):
            METRICS.unexpected.labels("nats_prompts_dropped").inc()
            log.warning("nats_prompts_dropped", subject=error.subject)
        elif "permissions violation for subscription" in str(error).lower():
            self._refused = self.error = sentence_of(error)
            log.warning("nats_agents_refused", error=self._refused)
        else:
            log.debug("nats_error", error=sentence_of(error))

    async def _register(self, client: Client) -> None:
        served = []
        size = min(client.max_payload, self._instance.options.limits.body_bytes)
        for name, owner_id in self._agents:
            record = AgentRecord(name=name, instance_id=self._instance.instance_id, max_payload=size)
            agent = ServedAgent(
                self._instance, owner_id, record, client=client, prompts=self._prompts, timing=self._timing
            )
            await agent.start()
            served.append(agent)
        await request(client, client.flush())
        self._served = served
        if self._is_leaving:
            await self.leave()

    async def _keep(self, client: Client, closed: asyncio.Event) -> None:
        """Return when the connection is lost."""
        tasks = [
            asyncio.create_task(closed.wait()),
            asyncio.create_task(self._check(client)),
            asyncio.create_task(self._send_heartbeats()),
            asyncio.create_task(self._report_lost(client)),
        ]
        try:
            waiting = set(tasks)
            while waiting and not any(task.done() for task in tasks[:3]):
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(tasks)
        for task in tasks:
            if not task.cancelled() and not isinstance(task.exception(), BusConnectionLost | None):
                task.result()

    async def _check(self, client: Client) -> None:
        """Return when the server does not answer."""
        while True:
            await asyncio.sleep(self._timing.check_s)
            checking = request(client, client.flush(timeout=3600))  # `within` has the timeout
            await within(self._timing.answer_s, checking, "NATS: the server did not answer")

    async def _send_heartbeats(self) -> None:
        while True:
            for agent in self._served:
                await agent.send_heartbeat()
            await asyncio.sleep(self._timing.heartbeat_s)

    async def _report_lost(self, client: Client) -> None:
        """End the streams of the connection before."""
        if self._lost:
            await asyncio.sleep(self._timing.report_s)
            while self._lost:
                await Reply(client, self._lost[0]).finish(CONNECTION_LOST)
                self._lost.popleft()


@contextlib.asynccontextmanager
async def open_nats_agents(
    instance: Instance,
    *,
    timing: AgentTiming = AgentTiming(),  # noqa: B008 - a value
) -> AsyncIterator[NatsAgents]:
    """Serve the agents of `instance.options.nats_agent` on the NATS server of its bus. While that cannot be reached
    it retries, and `error` says why. Raises `Invalid` for the URL of the bus."""
    names = [AgentName.parse(text) for text in instance.options.nats_agent]
    found = [(name, await instance.owners.id_of(name.owner)) for name in names]
    agents = NatsAgents(instance, found, timing=timing)
    agents.task = asyncio.create_task(agents.run())
    instance.health.add_degradation("nats_agents", lambda: agents.error)
    try:
        yield agents
    finally:
        await agents.aclose()
        if not agents.task.cancelled() and agents.task.exception() is not None:
            log.error("nats_agents_failed", exception=traceback_of(agents.task.exception()))
