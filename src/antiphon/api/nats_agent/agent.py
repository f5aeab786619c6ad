"""One agent at one connection: answers discovery, and hands prompts to their runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.api.nats_agent.limits import PENDING_BYTES_MAX, PENDING_MESSAGES_MAX, PROMPTS_MAX, AgentTiming
from antiphon.api.nats_agent.prompt import PromptRun
from antiphon.api.nats_agent.reply import Reply, is_safe_reply
from antiphon.bus.nats_client import end_tasks, request
from antiphon.bus.networked import BusConnectionLost
from antiphon.errors import AntiphonError, TooLarge
from antiphon.instance import Instance
from antiphon.observe.metrics import METRICS
from antiphon.observe.traces import checked_traceparent
from antiphon.tracebacks import traceback_of
from antiphon.wire.nats_agent.errors import INTERNAL, TOO_MANY, ServiceError, service_error
from antiphon.wire.nats_agent.requests import read_prompt
from antiphon.wire.nats_agent.service import SERVICE, AgentRecord

Answer = Callable[[], bytes]

log = structlog.get_logger(__name__)


class PromptTasks:
    """The prompts in progress of all agents of an instance, by their replies."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], Reply] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def is_full(self) -> bool:
        return len(self) >= PROMPTS_MAX

    def start(self, reply: Reply, run: Awaitable[None]) -> None:
        task = asyncio.ensure_future(run)
        self._tasks[task] = reply
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def wait(self, wait_s: float) -> None:
        """Wait until all have ended, at most `wait_s` seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=wait_s)

    async def cancel(self) -> list[str]:
        """Cancel all, and return the reply subjects of their callers. The turns go on."""
        running = dict(self._tasks)
        await end_tasks(running)
        return [reply.subject for reply in running.values()]


class ServedAgent:
    """Serves an agent until its connection is lost."""

    def __init__(
        self,
        instance: Instance,
        owner_id: str,
        record: AgentRecord,
        *,
        client: Client,
        prompts: PromptTasks,
        timing: AgentTiming,
    ) -> None:
        self._instance = instance
        self._owner_id = owner_id
        self._record = record
        self._client = client
        self._prompts = prompts
        self._timing = timing
        self._started_us = instance.store.clock.now_us()
        self._prompt_count = self._error_count = 0
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        """Subscribe. Raises `BusConnectionLost`."""
        name = self._record.name
        await self._listen(name.subject("prompt"), self._on_prompt, queue=SERVICE)
        await self._answer(name.subject("status"), self._heartbeat, queue=SERVICE)
        for verb, answer in (("PING", self._record.ping), ("INFO", self._record.info), ("STATS", self._stats)):
            for subject in self._record.control_subjects(verb):
                await self._answer(subject, answer)

    async def leave(self) -> None:
        """Get no more messages. Raises `BusConnectionLost`."""
        while self._subscriptions:
            await request(self._client, self._subscriptions.pop().unsubscribe())

    async def send_heartbeat(self) -> None:
        """Raises `BusConnectionLost`."""
        subject = self._record.name.subject("hb")
        await request(self._client, self._client.publish(subject, self._heartbeat()))

    def _heartbeat(self) -> bytes:
        return self._record.heartbeat(self._instance.store.clock.now_us(), self._timing.heartbeat_s)

    def _stats(self) -> bytes:
        return self._record.stats(started_us=self._started_us, prompts=self._prompt_count, errors=self._error_count)

    async def _listen(self, subject: str, handler: Callable[[Msg], Awaitable[None]], *, queue: str = "") -> None:
        listening = self._client.subscribe(
            subject,
            queue=queue,
            cb=handler,
            pending_msgs_limit=PENDING_MESSAGES_MAX,
            pending_bytes_limit=PENDING_BYTES_MAX,
        )
        self._subscriptions.append(await request(self._client, listening))

    async def _answer(self, subject: str, answer: Answer, *, queue: str = "") -> None:
        """Answer every request at a subject."""

        async def on_request(msg: Msg) -> None:
            if is_safe_reply(msg.reply):
                await request(self._client, self._client.publish(msg.reply, answer()))

        await self._listen(subject, on_request, queue=queue)

    async def _on_prompt(self, msg: Msg) -> None:
        if not is_safe_reply(msg.reply):
            METRICS.unexpected.labels("nats_prompt_without_reply").inc()
            log.warning("nats_prompt_refused", reason="its reply subject is no inbox")
            return
        self._prompt_count += 1
        reply = Reply(self._client, msg.reply)
        if self._prompts.is_full:
            self._error_count += 1
            await reply.finish(TOO_MANY)
        else:
            self._prompts.start(reply, self._run(msg, reply))

    async def _run(self, msg: Msg, reply: Reply) -> None:
        try:
            error = await self._error_of(msg, reply)
            if error is not None:
                self._error_count += 1
            await reply.finish(error)
        except BusConnectionLost:
            log.info("nats_caller_lost")  # and notified after the reconnection

    async def _error_of(self, msg: Msg, reply: Reply) -> ServiceError | None:
        """Answer a prompt. Returns the error at its end."""
        try:
            headers = msg.headers or {}
            if len(msg.data) > self._record.max_payload:
                raise TooLarge("prompt (in bytes)", self._record.max_payload)
            prompt = read_prompt(bytes(msg.data), headers)
            trace = checked_traceparent(headers.get("traceparent"))
            run = PromptRun(
                self._instance,
                self._owner_id,
                self._record.name.session,
                reply,
                timing=self._timing,
                trace=trace,
            )
            return await run.run(prompt)
        except BusConnectionLost:
            raise
        except AntiphonError as error:
            return service_error(error)
        except Exception as error:
            log.error("nats_prompt_failed", exception=traceback_of(error))
            METRICS.unexpected.labels("nats_prompt_failure").inc()
            return INTERNAL
