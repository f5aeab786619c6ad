"""A chat that is being told over the instance protocol, where it is called a session."""

from __future__ import annotations

from collections import deque

from antiphon.core import facts as f
from antiphon.core.draft import Draft, draft_of_message
from antiphon.ports import Append
from antiphon.wire.codec import decode_content
from antiphon.wire.instance_events import SessionTranslator


class Session:
    """How far it is told, and what waits for content that lies in the store."""

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self.teller = SessionTranslator(chat_id)
        self.draft_name = 0
        self.draft: Draft | None = None
        self.position = 0
        self.is_paced = False
        self.waiting: deque[Append] = deque()
        self.is_loading = False
        self.heads: dict[str, bytes] = {}
        self.next_draft: Draft | None = None
        """What has grown already, although its fact is not told yet."""

    def complete(self, entry: f.Entry) -> None:
        """What has not come over of a draft is in the message that it became."""
        fact = entry.fact
        if not isinstance(fact, f.MessageAppended) or fact.closes is None or fact.interrupted:
            return
        is_whole = self.draft is not None and self.draft.position >= fact.closes.upto
        if fact.closes.draft == self.draft_name and not is_whole:
            content = decode_content(entry.content or b"[]")
            self.draft = draft_of_message(self.draft_name, content, fact.closes.upto) or self.draft

    def open(self, draft_name: int) -> None:
        """Its fact is told: the next one begins."""
        self.draft, self.draft_name, self.position = None, draft_name, 0
        if self.next_draft is not None and self.next_draft.name <= draft_name:
            ahead, self.next_draft = self.next_draft, None
            self.draft = ahead if ahead.name == draft_name else None
