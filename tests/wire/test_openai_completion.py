"""A chat completion whose answer is begun again: what was sent cannot be taken back, what was not sent can."""

from __future__ import annotations

import pytest

from antiphon.core.parts import Text
from antiphon.wire.openai.completion import CompletionStream
from antiphon.wire.openai.ids import ResponseId
from antiphon.wire.openai.response import ResponseInfo
from antiphon.wire.turn_output import PartBegun, PartDone, PartKey, PartText, Place

from .protocols import CHAT_ID


@pytest.mark.parametrize("is_sent", [True, False])
def test_another_text_after_an_abandoned_one(is_sent: bool) -> None:
    stream = CompletionStream(ResponseInfo(id=ResponseId(CHAT_ID, 2, 2), model="m", created_at=1), is_sent=is_sent)
    for draft, text, is_abandoned in ((3, "Hello", True), (5, "Good day", False)):
        place, key = Place(draft, 1), PartKey(draft, 0)
        stream.apply(
            [PartBegun(place, key, Text), PartText(place, key, text), PartDone(place, key, text, is_abandoned)]
        )
    if is_sent:
        assert stream.error is not None
        assert stream.error["code"] == "answer_restarted"
    else:
        assert stream.error is None
        assert stream.completion()["choices"][0]["message"]["content"] == "Good day"
