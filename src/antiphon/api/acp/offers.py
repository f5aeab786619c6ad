"""Open calls of a chat that an editor is asked to answer.

An answer goes to the instance; the first one wins. When another client has answered, the request to the editor is
cancelled, and its late answer is ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from antiphon.api.acp.connection import Connection, RequestFailed
from antiphon.api.acp.limits import AcpLimits
from antiphon.client import AsyncClient
from antiphon.errors import Invalid, Refused, Unavailable
from antiphon.wire.acp import questions
from antiphon.wire.acp.shapes import FormAnswer, Permission, params_of
from antiphon.wire.codec import decode

OpenCall = dict[str, Any]
P = TypeVar("P")
Answer = Callable[[], Awaitable[Any]]


class Offers:
    """The open calls of one session."""

    def __init__(
        self,
        session_id: str,
        client: AsyncClient,
        connection: Connection,
        limits: AcpLimits,
        *,
        has_forms: bool,
        again: Callable[[], Awaitable[None]],
    ) -> None:
        """`again` is called when the editor does not show forms although it has said so: `update` then offers its
        questions in another way."""
        self._session_id = session_id
        self._client = client
        self._connection = connection
        self._limits = limits
        self._has_forms = has_forms
        self._again = again
        self._tasks: dict[str, asyncio.Task[None] | None] = {}
        """Of each open call that was seen. None: it cannot be offered."""
        self._answered: set[str] = set()

    def is_typed(self, call: OpenCall) -> bool:
        """Whether the next prompt answers the call: a question that the editor can show in no other way."""
        return call["needs"] == "answer" and not self._has_forms and not questions.choices_of(call)

    def typed(self, calls: Sequence[OpenCall]) -> list[OpenCall]:
        """The questions that the next prompt answers, without those that were answered already."""
        return [call for call in calls if self.is_typed(call) and call["tool_call_id"] not in self._answered]

    def update(self, calls: Sequence[OpenCall]) -> list[OpenCall]:
        """Offer the calls that are new, and withdraw those that are not open any more. Returns those that are new
        and cannot be offered: typed questions, and tools of other clients."""
        open_ids = {call["tool_call_id"] for call in calls}
        for call_id in self._tasks.keys() - open_ids:
            if (task := self._tasks.pop(call_id)) is not None:
                task.cancel()
        self._answered &= open_ids
        found = []
        for call in calls:
            call_id = call["tool_call_id"]
            if call_id in self._tasks:
                continue
            if call["needs"] == "result" or self.is_typed(call):
                found.append(call)
                self._tasks[call_id] = None
            else:
                self._tasks[call_id] = self._connection.spawn(self._offer(call))
        return found

    async def answer(self, chat_id: str, call: OpenCall, value: Any) -> None:
        """Answer a question with what was typed. Raises as `AsyncClient.answer`."""
        self._answered.add(call["tool_call_id"])
        try:
            await self._client.answer(chat_id, call["tool_call_id"], value)
        except BaseException:
            self._answered.discard(call["tool_call_id"])
            raise

    def close(self) -> None:
        """Withdraw all."""
        self.update([])

    async def _offer(self, call: OpenCall) -> None:
        is_form = call["needs"] == "answer" and self._has_forms
        try:
            if is_form:
                answer = await self._form(call)
            elif call["needs"] == "approval":
                answer = await self._decision(call)
            else:
                answer = await self._choice(call)
        except (RequestFailed, Invalid):
            if is_form:
                self._has_forms = False
                del self._tasks[call["tool_call_id"]]
                await self._again()
            return  # without a form, other clients can answer
        if answer is not None:
            await self._send(answer)

    async def _decision(self, call: OpenCall) -> Answer | None:
        chat_id, call_id = self._session_id, call["tool_call_id"]
        decision = questions.decision_of(await self._ask(questions.permission(chat_id, call)))
        if decision is None:
            return None
        if not decision.approved:
            return lambda: self._client.deny(chat_id, call_id)
        return lambda: self._client.approve(chat_id, call_id, always=decision.always)

    async def _choice(self, call: OpenCall) -> Answer | None:
        found = await self._ask(questions.choice(self._session_id, call))
        return self._answer_with(call, questions.choice_of(call, found))

    async def _form(self, call: OpenCall) -> Answer | None:
        raw = await self._connection.request("elicitation/create", questions.form(self._session_id, call))
        return self._answer_with(call, questions.form_answer(call, _result(raw, FormAnswer)))

    def _answer_with(self, call: OpenCall, given: list[Any]) -> Answer | None:
        if not given:
            return None
        return lambda: self._client.answer(self._session_id, call["tool_call_id"], given[0])

    async def _ask(self, params: dict[str, Any]) -> Permission:
        return _result(await self._connection.request("session/request_permission", params), Permission)

    async def _send(self, answer: Answer) -> None:
        """Until the instance has it. It is cancelled when the call is not open any more."""
        while True:
            try:
                await answer()
            except Refused:
                return  # another client was faster
            except Unavailable:
                await asyncio.sleep(self._limits.retry_s)
            else:
                return


def _result(raw: msgspec.Raw, shape: type[P]) -> P:
    return params_of(decode(bytes(raw), Any), shape)
