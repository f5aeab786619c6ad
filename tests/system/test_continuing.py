"""`kill -9` in the middle of an answer, several times: with `continue` the model is paid for each word once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from antiphon.core.events import FactEvent
from antiphon.testing.checker import check
from antiphon.testing.model_answers import beginning_of
from support.waiting import wait_until

from .trial import Trial

pytestmark = pytest.mark.anyio

TOKENS = 60
KILLS = 3


async def test_several_kills_in_one_answer_leave_one_answer_that_was_paid_for_once(tmp_path: Path) -> None:
    async with Trial(tmp_path, seed=1, chats=1, on_worker_lost="continue", tokens_per_s=20.0) as trial:
        await trial.create_chats()
        (chat_id,) = trial.chat_ids
        trial.start_watchers()
        requests = trial.model.requests
        body = {"content": f"n={TOKENS}", "client_message_id": "m"}
        await trial.server.ask("POST", f"/chats/{chat_id}/messages", body)
        for number in range(1, KILLS + 1):
            await wait_until(lambda: len(requests) == number and requests[-1].pieces_sent >= 12)  # noqa: B023
            await trial.server.kill()
            await trial.server.start()
        await trial.settle()
        evidence = await trial.collect()
        assert check(evidence) == []
        (final,) = evidence.final
        (_, answer) = final.messages
        words = answer["content"][0]["text"].split()
        assert [word.partition("t")[2] for word in words] == [str(n) for n in range(1, TOKENS + 1)]
        assert len({word.partition("t")[0] for word in words}) == KILLS + 1
        asked = [len(beginning_of(request.body).split()) for request in requests]
        assert asked[0] == 0
        assert all(before < after for before, after in pairwise(asked))
        assert answer["usage"]["output_tokens"] == TOKENS - asked[-1]
        facts = [event for event in final.log if isinstance(event, FactEvent)]
        assert all(fact.data["content_size"] for fact in facts if fact.type == "attempt_lost")
