"""One prompt: starts its turn, and publishes the answer as it is written.

A caller that leaves stops nothing: the turn goes on, and the protocol has no stop. A question to the caller is asked
again if its reply cannot be used; an answer over another API ends it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from antiphon.api.call_answers import answer_commands
from antiphon.api.embedded import embedded_chats
from antiphon.api.http.outcomes import sent_entry
from antiphon.api.http.translated import TextCount, next_frames
from antiphon.api.nats_agent.limits import REPLIES_MAX, AgentTiming
from antiphon.api.nats_agent.reply import Reply
from antiphon.api.turn_targets import restart_of, target_of
from antiphon.bus.nats_client import end_tasks
from antiphon.bus.networked import BusConnectionLost
from antiphon.core import commands as c
from antiphon.core.events import Bye
from antiphon.core.model import Status
from antiphon.errors import AntiphonError, Invalid, Refused, TooLarge
from antiphon.instance import Instance
from antiphon.tracebacks import traceback_of
from antiphon.wire.ids import named_chat_id
from antiphon.wire.nats_agent.chunks import ACK, AnswerChunks, Chunk, Question, Settled, query
from antiphon.wire.nats_agent.errors import DELETED, INTERNAL, NO_REPLY, STOPPING, ServiceError, service_error
from antiphon.wire.nats_agent.requests import Prompt, read_reply
from antiphon.wire.stream import OpenCall

NAME = "nats-agent"

log = structlog.get_logger(__name__)


class PromptRun:
    """One prompt of an agent. `run` it once."""

    def __init__(
        self, instance: Instance, owner_id: str, session: str, reply: Reply, *, timing: AgentTiming, trace: str = ""
    ) -> None:
        """`session` is the agent's."""
        self._instance = instance
        self._owner_id = owner_id
        self._session = session
        self._reply = reply
        self._timing = timing
        self._chats = embedded_chats(instance, owner_id, trace=trace, via=NAME)
        self._chat_id = ""
        self._asking: dict[str, asyncio.Task[None]] = {}
        """The questions to the caller, by tool call."""
        self._failed: asyncio.Future[ServiceError] = asyncio.get_running_loop().create_future()

    async def run(self, prompt: Prompt) -> ServiceError | None:
        """Publish everything but the end of the stream, and return the error of it.

        Raises:
            AntiphonError: The prompt is refused.
            BusConnectionLost: The answer goes on without this caller.
        """
        await self._reply.send(ACK)
        streaming = asyncio.create_task(self._stream(prompt))
        keeping_alive = asyncio.create_task(self._keep_alive())
        try:
            ends: set[asyncio.Future[Any]] = {streaming, keeping_alive, self._failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if streaming.done():
                return streaming.result()
            if self._failed.done():
                return self._failed.result()
            keeping_alive.result()
            raise AssertionError("it ends by an error only")
        finally:
            self._failed.cancel()
            await end_tasks([streaming, keeping_alive, *self._asking.values()])

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(self._reply.sent_at + self._timing.keep_alive_s - loop.time(), 0.001))
            if loop.time() - self._reply.sent_at >= self._timing.keep_alive_s:
                await self._reply.send(ACK)

    # --- the turn

    async def _start(self, prompt: Prompt) -> AnswerChunks:
        """Send the message; a repeat gets the first one's answer. A turn that waits for an answer is interrupted, as
        by a message over the other protocols."""
        name = f"{self._session}/{prompt.session}" if prompt.session else self._session
        self._chat_id = named_chat_id(self._owner_id, NAME, name)
        if await self._instance.service.chat(self._chat_id) is None:
            await self._chats.create(chat_id=self._chat_id, title=prompt.session or self._session)
        chat = await self._chats.get(self._chat_id)
        settings = []
        if chat.status is Status.REQUIRES_ACTION:
            settings.append(c.Interrupt(turn_id=chat.turn_id, only_waiting=True, by=self._owner_id))
        done = await self._chats.send(
            self._chat_id, prompt.content, client_message_id=prompt.message_id, settings=settings
        )
        target = target_of(self._chat_id, sent_entry(done), is_new=not done.is_repeat)
        restarted_at = 0
        if target.turn_id and not target.is_new:
            restarted_at = await restart_of(self._instance.store, self._chat_id, target.turn_id)
        return AnswerChunks(
            self._chat_id,
            turn_id=target.turn_id,
            after=target.after,
            restarted_at=restarted_at,
            bytes_max=self._reply.bytes_max,
        )

    async def _stream(self, prompt: Prompt) -> ServiceError | None:
        chunks = await self._start(prompt)
        opened = self._instance.watch.open_watcher(
            self._chat_id, (chunks.after - 1, 0), owner_id=self._owner_id, reads_all=True
        )
        async with opened as watcher:
            text = TextCount(watcher)
            while not watcher.is_closed:
                for frame in await next_frames(watcher):
                    text.add(frame)
                    event = frame.event
                    if isinstance(event, Bye):
                        return DELETED if event.reason == "deleted" else STOPPING
                    for chunk in chunks.apply(event):
                        await self._do(chunk)
                    if chunks.is_complete:
                        return chunks.error
        return STOPPING

    async def _do(self, chunk: Chunk) -> None:
        match chunk:
            case bytes():
                await self._reply.send(chunk)
            case Question(tool_call_id=call_id):
                self._asking[call_id] = asyncio.create_task(self._ask(chunk))
            case Settled(tool_call_id=call_id) if call_id in self._asking:
                self._asking.pop(call_id).cancel()

    # --- questions

    async def _ask(self, question: Question) -> None:
        """Ask the caller until there is an answer. Its failure ends the stream."""
        try:
            failure = await self._ask_caller(question)
        except BusConnectionLost:
            return  # the endpoint ends the stream
        except AntiphonError as error:
            failure = service_error(error)
        except Exception as error:
            log.error("nats_question_failed", exception=traceback_of(error))
            failure = INTERNAL
        if failure is not None and not self._failed.done():
            self._failed.set_result(failure)

    async def _ask_caller(self, question: Question) -> ServiceError | None:
        complaint = ""
        for _ in range(REPLIES_MAX):
            if (call := await self._open_call(question)) is None:
                return None  # it was answered meanwhile, or before this repeat
            async with self._reply.open_inbox() as inbox:
                asked = query(question, call, inbox.subject, bytes_max=self._reply.bytes_max, complaint=complaint)
                await self._reply.send(asked)
                payload = await inbox.next_reply(self._timing.reply_s)
            if payload is None:
                return await self._end_without_reply(question)
            try:
                answers = {call.tool_call_id: read_reply(payload, call)}
                commands = await answer_commands(self._chats, self._chat_id, [call], answers, "reply")
                await self._chats.change(self._chat_id, *commands)
                return None
            except (Invalid, TooLarge) as error:
                complaint = f"The reply cannot be used: {error}."
            except Refused:
                return None  # the first answer wins
        return ServiceError(status=400, code="invalid", message=complaint)

    async def _open_call(self, question: Question) -> OpenCall | None:
        open_calls = await self._chats.open_calls(self._chat_id)
        return next((one for one in open_calls if one.tool_call_id == question.tool_call_id), None)

    async def _end_without_reply(self, question: Question) -> ServiceError | None:
        """The chat waits on for an answer over another API, unless other prompts wait behind it: they cancel it."""
        if await self._open_call(question) is None:
            return None
        chat = await self._chats.get(self._chat_id)
        if chat.queue:
            await self._chats.interrupt(self._chat_id, chat.turn_id)
        return NO_REPLY
