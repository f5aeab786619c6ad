"""Differential test of stores: a random history is written to several stores; all must return the same."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from random import Random
from typing import Any

from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core.facts import Entry
from antiphon.core.model import Parent
from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import Usage
from antiphon.errors import Refused
from antiphon.ports import Append, Appended, FlushedDelta, Mark, SendCount, Store
from antiphon.testing.clock import FakeClock
from antiphon.testing.random_commands import INSTANCES, random_command
from antiphon.testing.stored_chat import ALL, NothingChanges, StoredChat, receipt

CHAT_IDS = ("a", "b", "c", "ü")
OWNERS = ("o", "p")
CLIENT_IDS = tuple(f"id{i}" for i in range(30))
REPEATABLE_MAX = 20
"""Maximum number of earlier appends that may be repeated."""


class Difference:
    """`step` does one random operation on every store; `compare` compares all reads. Both raise AssertionError where
    two stores differ. The same seed gives the same history."""

    def __init__(self, stores: Sequence[Store], clock: FakeClock, seed: int) -> None:
        self._stores = stores
        self._clock = clock
        self._random = Random(seed)
        self._chats = {chat_id: StoredChat(stores[0], chat_id) for chat_id in CHAT_IDS}
        self._earlier: deque[Append] = deque(maxlen=REPEATABLE_MAX)
        self._mark = Mark(since=0)
        self.results: Counter[str] = Counter()

    async def step(self) -> None:
        random = self._random
        self._clock.advance(random.choice([0.000_001, 0.001, 0.5, 3.0]))
        chat = self._chats[random.choice(CHAT_IDS)]
        chance = random.random()
        if chance < 0.75:
            await self._decide(chat)
        elif chance < 0.85 and self._earlier:
            await self._repeat(random.choice(self._earlier))
        elif chance < 0.95:
            await self._flush(chat)
        else:
            await self._renew()

    async def _decide(self, chat: StoredChat) -> None:
        """An append of one or a few commands that are not refused."""
        append = None
        while append is None:
            append = await self._decided(chat)
        self._earlier.append(append)
        if await self._append(append) is Appended.DONE:
            await self._chats[append.chat_id].load()

    async def _decided(self, chat: StoredChat) -> Append | None:
        random = self._random
        if chat.state is None:
            owner = random.choice(OWNERS)
            commands: list[c.Command] = [self._create(owner)]
        elif chat.state.is_deleted:
            return random.choice(self._earlier)  # a deleted chat refuses all commands
        else:
            commands = [await self._command(chat) for _ in range(random.choice([1, 1, 1, 2, 3]))]
        ids = random.sample(CLIENT_IDS, random.choice([0, 0, 0, 1, 2]))
        try:
            append = chat.make(*commands, receipts=tuple(receipt(client_id) for client_id in ids))
        except (Refused, NothingChanges):
            return None
        return replace(append, sends=self._sends(append)) if random.random() < 0.4 else append

    def _sends(self, append: Append) -> SendCount:
        random = self._random
        return SendCount(
            owner_id=append.chat.owner_id,
            minute=self._clock.now_us() // 60_000_000,
            messages=random.randint(0, 2),
            turns=random.randint(0, 2),
            messages_max=random.choice([None, 2, 6]),
            turns_max=random.choice([None, 2, 6]),
        )

    def _create(self, owner: str) -> c.CreateChat:
        random = self._random
        above = random.choice([None, None, *CHAT_IDS])
        parent = Parent(chat_id=above, tool_call_id="t", root_chat_id=above, depth=1) if above else None
        return c.CreateChat(owner_id=owner, content=random.choice([b"", b"[]"]), parent=parent)

    async def _command(self, chat: StoredChat) -> c.Command:
        command = random_command(chat.chat, self._random, at=self._clock.now_us(), may_delete=True)
        if isinstance(command, c.EditMessage):
            target = await self._same("message_role", chat.chat_id, command.message_id)
            return replace(command, target=target)
        if isinstance(command, c.CommitMessage | c.PartialCommand) and self._random.random() < 0.7:
            return replace(command, used=self._used())
        return command

    def _used(self) -> tuple[ModelUsage, ...]:
        random = self._random
        names = random.sample(("a", "b", "ü\U0001f600"), random.randint(1, 2))
        cost = random.choice([None, random.randint(0, 99)])
        return tuple(
            ModelUsage(model=name, calls=1, usage=Usage(input_tokens=random.randint(0, 99), cost_micros=cost))
            for name in names
        )

    async def _repeat(self, append: Append) -> None:
        """The same append again, or a conflicting one."""
        if self._random.random() < 0.5:
            append = replace(append, append_id=append.append_id + "'")
        if await self._append(append) is Appended.DONE:
            await self._chats[append.chat_id].load()

    async def _append(self, append: Append) -> Appended:
        results = [await store.append(append) for store in self._stores]
        assert len(set(results)) == 1, results
        self.results[results[0].value] += 1
        return results[0]

    async def _flush(self, chat: StoredChat) -> None:
        draft = chat.state.draft if chat.state else 1
        deltas = []
        for _ in range(self._random.randint(1, 3)):
            from_ = self._random.randint(0, 3)
            to = from_ + self._random.randint(1, 3)
            name = draft - self._random.choice([0, 0, 0, 1])
            deltas.append(FlushedDelta(chat_id=chat.chat_id, draft=name, from_=from_, to=to, body=b"%d" % to))
        for store in self._stores:
            await store.flush(deltas)

    async def _renew(self) -> None:
        attempts = [(chat_id, chat.state.attempt) for chat_id, chat in self._chats.items() if chat.state]
        await self._same("renew", self._random.choice(INSTANCES), attempts)

    # --- comparing reads

    async def compare(self) -> None:
        """Compare all reads, some of them with random limits."""
        random = self._random
        for chat_id, chat in self._chats.items():
            seq = chat.state.seq if chat.state else 1
            entries: tuple[Entry, ...] = await self._same("read_entries", chat_id, 0, limit=ALL, bytes_max=ALL)
            assert await self._same("load", chat_id) == chat.state
            draft = chat.state.draft if chat.state else 1
            questions: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
                ("read_entries", (random.randint(0, seq),), {"limit": random.randint(1, 9), "bytes_max": 400}),
                (
                    "newest_entry",
                    ("message_appended",),
                    {"after_seq": 0, "upto": random.randint(0, seq)},
                ),
                ("oldest_entry", ("message_appended",), {"after_seq": random.randint(0, seq)}),
                ("read_messages", (), {"limit": random.randint(1, 9)}),
                ("read_messages", (), {"limit": random.randint(1, 9), "before_id": random.randint(1, seq)}),
                ("read_messages", (), {"limit": random.randint(1, 9), "after_id": random.randint(1, seq)}),
                ("read_contents", (range(seq + 2),), {}),
                ("read_flushed", (draft,), {}),
                ("read_flushed", (draft - 1,), {}),
                *[("message_role", (i,), {}) for i in range(seq + 2)],
                *[("queued_fate", (i,), {}) for i in range(seq + 2)],
                ("read_receipts", (CLIENT_IDS,), {}),
            ]
            for name, arguments, options in questions:
                await self._same(name, chat_id, *arguments, **options)
            if chat.state:
                await chat.check_sound()
                assert entries[-1].seq == seq
        await self._compare_listings()

    async def _compare_listings(self) -> None:
        random = self._random
        for owner in OWNERS:
            await self._same("read_usage", owner, 0, ALL, limit=random.choice([2, ALL]))
            await self._same("sum_usage", owner, self._clock.now_us() // 86_400_000_000)
            for title in ("", "plan", "%", "ÖSS", "größe"):
                after = (self._clock.now_us() - random.randint(0, 9_000_000), random.choice(CHAT_IDS))
                await self._same(
                    "list_chats",
                    owner,
                    parent=random.choice([None, random.choice(CHAT_IDS)]),
                    archived=random.choice([None, True, False]),
                    label=random.choice([None, ("a", "x"), ("b", "y")]),
                    title=title,
                    limit=random.randint(1, 9),
                    after=random.choice([None, after]),
                )
        await self._same("claimable", limit=random.randint(1, 9), in_any_order=False)
        await self._same("due", limit=ALL, in_any_order=True)
        is_shared = any(store.is_shared for store in self._stores)  # which guarantees less
        instance_id = random.choice([*INSTANCES, ""])
        await self._same("take_over", "" if is_shared else instance_id, in_any_order=True)
        if not is_shared:
            _, self._mark = await self._same("changed", self._mark, limit=ALL)
            await self._same("changed", Mark(since=0), limit=3)
        await self._same("iter_chat_ids")

    async def _same(self, name: str, *arguments: Any, in_any_order: bool = False, **options: Any) -> Any:
        answers = [await getattr(store, name)(*arguments, **options) for store in self._stores]
        if in_any_order:
            answers = [sorted(answer, key=repr) for answer in answers]
        for answer in answers[1:]:
            assert answer == answers[0], f"{name}{arguments}: {answer} is not {answers[0]}"
        return answers[0]
