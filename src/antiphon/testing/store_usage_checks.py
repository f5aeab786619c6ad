"""Checks of a store's usage: an append adds its own once, sums are exact, and sends are limited per minute."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import Usage
from antiphon.ports import COUNT_MAX, Append, Appended, DayUsage, SendCount
from antiphon.testing.store_case import Case
from antiphon.testing.stored_chat import StoredChat, content, receipt

ALWAYS = 1 << 40
"""A day after all others."""
PRICED = Usage(input_tokens=100, output_tokens=20, cost_micros=75, priced_tokens=120)
UNPRICED = Usage(input_tokens=7, output_tokens=3, reasoning_tokens=2, cache_read_tokens=5, cache_creation_tokens=1)


async def _usage(case: Case, owner_id: str = "o") -> tuple[DayUsage, ...]:
    return await case.store.read_usage(owner_id, 0, ALWAYS, limit=1_000)


def _ending(chat: StoredChat, *used: ModelUsage) -> Append:
    """The append that ends the turn of a chat."""
    state = chat.chat
    last = c.CommitMessage(
        attempt=state.attempt, draft=state.draft, content=content("yes"), upto=3, used=used, is_last=True
    )
    return chat.make(last)


async def _running(case: Case, chat_id: str = "c", owner_id: str = "o") -> StoredChat:
    chat = await case.chat(chat_id).create(owner_id=owner_id, said="hi")
    await chat.start()
    return chat


async def check_the_end_of_a_turn_adds_its_usage_by_model(case: Case) -> None:
    chat = await _running(case)
    assert await _usage(case) == ()
    append = _ending(
        chat, ModelUsage(model="a", calls=2, usage=PRICED), ModelUsage(model="b", calls=1, usage=UNPRICED)
    )
    assert await chat.offer(append) is Appended.DONE
    first, second = await _usage(case)
    day = case.clock.now_us() // 86_400_000_000
    assert (first.day, first.model, first.calls, first.turns) == (day, "a", 2, 1)
    assert (first.usage.cost_micros, first.usage.tokens, first.usage.unpriced_tokens) == (75, 120, 0)
    assert (second.day, second.model, second.calls, second.turns) == (day, "b", 1, 0)
    assert (second.usage.cost_micros, second.usage.tokens, second.usage.unpriced_tokens) == (None, 10, 10)
    assert (second.usage.reasoning_tokens, second.usage.cache_read_tokens) == (2, 5)
    assert second.usage.cache_creation_tokens == 1
    assert await _usage(case, "p") == ()


async def check_sums_of_usage_are_exact_and_bounded(case: Case) -> None:
    huge = Usage(input_tokens=1 << 53, output_tokens=COUNT_MAX, cost_micros=COUNT_MAX, priced_tokens=1 << 53)
    for usage in (UNPRICED, PRICED, UNPRICED, huge, huge):
        row = DayUsage(owner_id="o", day=5, model="a", calls=1, usage=usage)
        await case.store.add_usage([row, replace(row, day=6, usage=PRICED), replace(row, owner_id="p", calls=3)])
    first, second = await _usage(case)
    assert (first.day, first.calls, first.turns) == (5, 5, 0)
    assert first.usage.input_tokens == 114 + (1 << 54)
    assert first.usage.priced_tokens == 120 + (1 << 54)
    assert (first.usage.output_tokens, first.usage.cost_micros) == (COUNT_MAX, COUNT_MAX)
    assert (second.day, second.usage.cost_micros, second.usage.tokens) == (6, 375, 600)
    assert [row.calls for row in await _usage(case, "p")] == [15]
    assert await case.store.read_usage("o", 6, 6, limit=9) == (second,)
    assert await case.store.read_usage("o", 7, 6, limit=9) == ()
    assert await case.store.read_usage("o", 5, 6, limit=1) == (first,)
    await case.store.add_usage([])


async def check_a_repeated_append_adds_its_usage_once(case: Case) -> None:
    chat = await _running(case)
    append = _ending(chat, ModelUsage(model="a", calls=1, usage=PRICED))
    assert await case.store.append(append) is Appended.DONE
    before = await _usage(case)
    assert len(before) == 1
    results = await asyncio.gather(*(case.store.append(append) for _ in range(3)))
    assert set(results) == {Appended.DONE}
    assert await case.store.append(replace(append, append_id="another")) is Appended.CONFLICT
    assert await _usage(case) == before


async def check_an_append_that_is_refused_adds_no_usage(case: Case) -> None:
    chat = await _running(case)
    append = _ending(chat, ModelUsage(model="a", calls=1, usage=PRICED))
    await chat.do(c.Rename(title="first"), receipts=(receipt("r"),))
    assert await case.store.append(append) is Appended.CONFLICT
    again = replace(_ending(chat, ModelUsage(model="a", usage=PRICED)), receipts=(receipt("r"),))
    assert await case.store.append(again) is Appended.ANSWERED
    assert await _usage(case) == ()


async def check_turns_of_one_owner_that_end_at_once_are_all_counted(case: Case) -> None:
    chats = [await _running(case, f"c{number}", "o" if number % 3 else "p") for number in range(12)]
    both = (ModelUsage(model="b", calls=1, usage=UNPRICED), ModelUsage(model="a", calls=1, usage=PRICED))
    appends = [_ending(chat, *(both if number % 2 else reversed(both))) for number, chat in enumerate(chats)]
    assert set(await asyncio.gather(*(case.store.append(append) for append in appends))) == {Appended.DONE}
    rows = [*await _usage(case), *await _usage(case, "p")]
    assert [(row.model, row.calls) for row in rows] == [("a", 8), ("b", 8), ("a", 4), ("b", 4)]
    assert sum(row.turns for row in rows) == 12
    assert [row.usage.cost_micros for row in rows] == [600, None, 300, None]


async def check_a_deleted_chat_leaves_its_owners_usage(case: Case) -> None:
    ended, running = await _running(case), await _running(case, "d")
    assert await ended.offer(_ending(ended, ModelUsage(model="a", calls=1, usage=PRICED))) is Appended.DONE
    state = running.chat
    step = c.CommitMessage(
        attempt=state.attempt,
        draft=state.draft,
        content=content("so far"),
        upto=6,
        used=(ModelUsage(model="a", calls=1, usage=PRICED),),
    )
    await running.do(step)
    assert [row.calls for row in await _usage(case)] == [1]
    await ended.do(c.Delete())
    await running.do(c.Delete())
    (row,) = await _usage(case)
    assert (row.calls, row.turns, row.usage.cost_micros) == (2, 2, 150)


async def check_old_usage_is_deleted(case: Case) -> None:
    await case.store.add_usage([DayUsage(owner_id="o", day=day, model="a", calls=day) for day in (3, 4, 5)])
    await case.store.delete_usage(4)
    assert [row.day for row in await _usage(case)] == [4, 5]


async def check_sends_beyond_the_limit_of_a_minute_are_refused(case: Case) -> None:
    chat = await case.chat().create()
    minute = case.clock.now_us() // 60_000_000
    one = SendCount(owner_id="o", minute=minute, messages=1, turns=1, messages_max=2, turns_max=5)

    def send(sends: SendCount) -> Append:
        return replace(chat.make(c.SendMessage(content=content("hi"))), sends=sends)

    assert await chat.offer(send(one)) is Appended.DONE
    assert await chat.offer(send(replace(one, turns_max=1))) is Appended.TURNS_LIMITED
    assert await chat.offer(send(replace(one, turns=0, turns_max=1))) is Appended.DONE
    before = await case.stored()
    assert await chat.offer(send(one)) is Appended.MESSAGES_LIMITED
    assert await chat.offer(send(replace(one, messages=0, turns=2, turns_max=2))) is Appended.TURNS_LIMITED
    assert await case.stored() == before
    assert await chat.offer(send(replace(one, messages_max=None))) is Appended.DONE
    assert await chat.offer(send(replace(one, owner_id="o", minute=minute + 1))) is Appended.DONE
    assert await chat.offer(send(replace(one, messages_max=1))) is Appended.MESSAGES_LIMITED, "the clock went back"


async def check_a_repeat_beyond_the_limit_is_no_new_send(case: Case) -> None:
    chat = await case.chat().create()
    minute = case.clock.now_us() // 60_000_000
    one = SendCount(owner_id="o", minute=minute, messages=1, turns=1, messages_max=1, turns_max=1)
    append = replace(chat.make(c.SendMessage(content=content("hi")), receipts=(receipt("r"),)), sends=one)
    assert await chat.offer(append) is Appended.DONE
    assert await case.store.append(append) is Appended.DONE
    assert await case.store.append(replace(append, append_id="another")) is Appended.CONFLICT
    repeat = replace(chat.make(c.SendMessage(content=content("hi")), receipts=(receipt("r"),)), sends=one)
    assert await case.store.append(repeat) is Appended.ANSWERED
    new = replace(chat.make(c.SendMessage(content=content("hi")), receipts=(receipt("s"),)), sends=one)
    assert await case.store.append(new) is Appended.MESSAGES_LIMITED


async def check_sends_at_once_never_exceed_the_limit(case: Case) -> None:
    chats = [await case.chat(f"c{number}").create() for number in range(8)]
    minute = case.clock.now_us() // 60_000_000
    one = SendCount(owner_id="o", minute=minute, messages=1, turns=1, messages_max=5)
    appends = [replace(chat.make(c.SendMessage(content=content("hi"))), sends=one) for chat in chats]
    results = await asyncio.gather(*(case.store.append(append) for append in appends))
    assert sorted(results).count(Appended.DONE) == 5
    assert results.count(Appended.MESSAGES_LIMITED) == 3


async def check_the_sum_of_a_day_has_all_models_of_its_owner(case: Case) -> None:
    assert await case.store.sum_usage("o", 5) == Usage(input_tokens=0, output_tokens=0, priced_tokens=0)
    row = DayUsage(owner_id="o", day=5, model="a", usage=UNPRICED)
    await case.store.add_usage([row])
    assert await case.store.sum_usage("o", 5) == Usage(input_tokens=7, output_tokens=3, priced_tokens=0)
    await case.store.add_usage(
        [replace(row, model="b", usage=PRICED), replace(row, day=6), replace(row, owner_id="p")]
    )
    total = Usage(input_tokens=107, output_tokens=23, priced_tokens=120, cost_micros=75)
    assert await case.store.sum_usage("o", 5) == total
    huge = Usage(input_tokens=COUNT_MAX, cost_micros=COUNT_MAX)
    await case.store.add_usage([replace(row, model=str(number), usage=huge) for number in range(9)])
    assert (await case.store.sum_usage("o", 5)).tokens > COUNT_MAX, "and it does not fail"


async def check_an_owner_is_found_by_name(case: Case) -> None:
    assert await case.store.find_owner("ada") is None
    owner_id = await case.store.create_owner("ada")
    assert await case.store.find_owner("ada") == owner_id
    assert await case.store.find_owner("Ada") is None
