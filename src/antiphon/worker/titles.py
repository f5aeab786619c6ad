"""Titles by a model: after the first answer of a chat that no person has named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

import structlog

from antiphon.chats.chat_fields import clean_title
from antiphon.chats.spending import Spending
from antiphon.core.commands import GenerateTitle
from antiphon.core.facts import MessageAppended, TurnEnded
from antiphon.core.model import Outcome
from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import NO_USAGE, Role, Text, Usage, text_of
from antiphon.errors import AntiphonError, Unavailable
from antiphon.observe.background_tasks import BackgroundTasks
from antiphon.observe.metrics import METRICS
from antiphon.ports import Append, Message, Model, ModelRequest, Work
from antiphon.wire.codec import decode_content
from antiphon.worker.attempt_usage import full_name

SAME_MODEL = "same"
"""Names the model of the chat as the one that writes its title."""
SYSTEM = "Write a title for this chat, of at most six words and in its language. Reply with the title only."
CONCURRENT_MAX = 4
"""Maximum number of titles that are written at once."""
PENDING_MAX = 100
"""Maximum number of chats that wait for a title. Beyond it a chat keeps the first words of its first message."""
EXCERPT_MAX = 2_000
"""Maximum length of the question and of the answer that the model is given, in characters."""
TITLE_MAX = 80
"""Maximum length of a title by a model, in characters."""
TEXT_MAX = 4 * TITLE_MAX
"""Maximum length of what a model writes for a title, in characters; it is stopped there."""
TITLE_S = 60.0
"""How long a model may take for a title, in seconds."""

log = structlog.get_logger(__name__)


class TitleWriter:
    """Asks a model once for each chat, in the process that stored the chat's first answer; nothing is retried."""

    def __init__(
        self,
        work: Work,
        get_model: Callable[[str], Awaitable[Model]],
        *,
        model: str,
        default_model: Callable[[], str],
        spending: Spending,
    ) -> None:
        """
        Args:
            work: The chats.
            get_model: Returns a model by its name.
            model: The name of the model that writes titles; `SAME_MODEL` for that of the chat.
            default_model: The model of chats without their own.
            spending: The prices of models, and the budgets of owners. An owner who has used a budget gets no titles.
        """
        self._work = work
        self._get_model = get_model
        self._model = model
        self._default_model = default_model
        self._spending = spending
        self._slots = asyncio.Semaphore(CONCURRENT_MAX)
        self._background = BackgroundTasks()

    def on_append(self, append: Append) -> None:
        """Write the title of the chat if this append ends its first answered turn. A child chat keeps its own."""
        chat = append.chat
        ended = (entry.fact for entry in append.entries)
        is_answered = any(isinstance(fact, TurnEnded) and fact.outcome is Outcome.ANSWERED for fact in ended)
        if is_answered and not chat.is_titled_by_person and not chat.is_deleted and not chat.parent:
            if len(self._background) >= PENDING_MAX:
                METRICS.unexpected.labels("skipped_title").inc()
                return
            self._background.start(self._write(append.chat_id, chat.owner_id, chat.model))

    def close(self) -> None:
        self._background.cancel()

    async def _write(self, chat_id: str, owner_id: str, chat_model: str) -> None:
        written = _Written()
        try:
            async with self._slots, asyncio.timeout(TITLE_S):
                await self._spending.check(owner_id)
                request = await self._request_of(chat_id)
                if request is None:
                    return
                name = (chat_model or self._default_model()) if self._model == SAME_MODEL else self._model
                model = await self._get_model(name)
                METRICS.model_calls.labels(model.provider).inc()
                written.model = full_name(model.name, model.provider)
                await _answer(model, request, written)
            if title := written.title:
                await self._work.execute(chat_id, GenerateTitle(title=title, used=self._used(written)))
                return
        except Unavailable as error:  # whether the title was stored is not known, so its usage is not counted again
            log.info("title_failed", chat_id=chat_id, error=str(error))
            return
        except (AntiphonError, TimeoutError) as error:
            log.info("title_failed", chat_id=chat_id, error=str(error) or type(error).__name__)
        await self._spending.add(owner_id, self._used(written))

    def _used(self, written: _Written) -> tuple[ModelUsage, ...]:
        """The usage of the call, with its cost; none if no call was made."""
        if not written.model:
            return ()
        usage = self._spending.prices.priced(written.model, written.usage)
        return (ModelUsage(model=written.model, calls=1, usage=usage),)

    async def _request_of(self, chat_id: str) -> ModelRequest | None:
        """The question and the answer; None unless they are the first ones of the chat."""
        entries, has_more = await self._work.read_messages(chat_id, limit=50)
        texts: dict[Role, list[str]] = {Role.USER: [], Role.ASSISTANT: []}
        for entry in entries:
            if isinstance(entry.fact, MessageAppended) and entry.fact.role in texts:
                texts[entry.fact.role].append(text_of(decode_content(entry.content or b"[]"))[:EXCERPT_MAX])
        if has_more or len(texts[Role.USER]) != 1:
            return None
        words = f"{texts[Role.USER][0]}\n\n---\n\n{' '.join(texts[Role.ASSISTANT])[:EXCERPT_MAX]}"
        message = Message(id=2, role=Role.USER, content=(Text(words),))
        return ModelRequest(chat_id=chat_id, turn_id=2, model="", system=SYSTEM, messages=(message,))


class _Written:
    """What a model has written so far, and used."""

    __slots__ = ("model", "text", "usage")

    def __init__(self) -> None:
        self.model = ""
        self.text = ""
        self.usage = NO_USAGE

    @property
    def title(self) -> str:
        """The first line, without quotation marks."""
        lines = (line.strip() for line in self.text.splitlines())
        line = next(filter(None, lines), "").strip("\"'“”„«»*# ").rstrip(".")
        return clean_title(line if len(line) <= TITLE_MAX else line[: TITLE_MAX - 1] + "…")


async def _answer(model: Model, request: ModelRequest, written: _Written) -> None:
    """Read the answer up to the end of its first line, or of the answer. (A model reports its usage at the end.)"""
    async with aclosing(cast("Any", model.stream(request))) as events:
        async for event in events:
            if isinstance(event, Usage):
                written.usage = event
            written.text += event.text if isinstance(event, Text) else ""
            if len(written.text) > TEXT_MAX:
                break
