"""Walks every shape that a chat can reach, with every kind of command, valid and invalid.

A shape is a chat without its numbers, texts and names. Chats of one shape must behave alike. This is checked too, so
the fields that a shape omits are shown to be irrelevant.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core.chat import _RULES
from antiphon.core.facts import KINDS
from antiphon.core.model import Chat, Status
from antiphon.core.transitions import TABLE
from antiphon.errors import AlreadyDelivered, Refused

from .alphabet import call_key, iter_commands
from .history import History, words

SHAPES = 273
"""Number of shapes by status, holder, queued messages, the calls' states, archived and deleted."""

FINE_SHAPES = 1475
"""The same with everything that a rule reads: what each call needs, a retry, whether there is an answer to undo."""

SAMPLES_MAX = 1
"""Maximum chats of one shape that get every command. With 2 the walk also checks that they respond alike."""


class Shape(NamedTuple):
    status: Status
    is_held: bool
    is_retry_ahead: bool
    steering: int
    queue: tuple[bool, ...]
    calls: tuple[Any, ...]
    is_archived: bool
    has_turn: bool
    has_answer: bool
    is_deleted: bool


def shape_of(chat: Chat, at: int) -> Shape:
    if chat.is_deleted:
        return Shape(chat.status, False, False, 0, (), (), False, False, False, True)
    return Shape(
        status=chat.status,
        is_held=bool(chat.attempt),
        is_retry_ahead=chat.status is Status.RUNNING and at < chat.retrying_at,
        steering=len(chat.steering),
        queue=tuple(item.is_promoted for item in chat.queue),
        calls=tuple(sorted(call_key(call) for call in chat.calls)),
        is_archived=chat.is_archived,
        has_turn=bool(chat.last_turn_id),
        has_answer=bool(chat.answer_id),
        is_deleted=False,
    )


class Walk:
    """Every shape with its first chat, the result of each command there, and the used cells of the table."""

    def __init__(self) -> None:
        self.cells: set[tuple[Status, str]] = set()
        self.samples: dict[Shape, list[History]] = {}
        self.answers: dict[Shape, dict[str, tuple[Any, ...]]] = {}
        self.commands: set[type] = {c.CreateChat}
        self._ahead: deque[History] = deque()
        for create in (c.CreateChat(owner_id="o"), c.CreateChat(owner_id="o", content=words("hi"))):
            history = History(self.cells)
            history.do(create)
            self._find(history)
        while self._ahead:
            self._expand(self._ahead.popleft())

    def _find(self, history: History) -> Shape:
        shape = shape_of(history.chat, history.at)
        found = self.samples.setdefault(shape, [])
        if len(found) < SAMPLES_MAX:
            found.append(history)
            self._ahead.append(history)
        return shape

    def _expand(self, history: History) -> None:
        shape = shape_of(history.chat, history.at)
        answers: dict[str, tuple[Any, ...]] = {}
        unused: History | None = None
        for name, command, wait in iter_commands(history):
            self.commands.add(type(command))
            after, unused = unused or history.branch(), None
            after.at = history.at
            try:
                made = after.do(command, wait=wait)
            except Refused as refusal:
                answers[name] = (refusal.code,)
                unused = after
                continue
            answers[name] = (*made, self._find(after))
        known = self.answers.setdefault(shape, answers)
        for name in known.keys() & answers.keys():
            assert known[name] == answers[name], f"{name!r} differs within {shape}"

    @property
    def coarse(self) -> set[tuple[Any, ...]]:
        return {
            (
                shape.status,
                shape.is_held,
                shape.steering,
                shape.queue,
                tuple(sorted(state for _, state, _ in shape.calls)),
                shape.is_archived,
                shape.is_deleted,
            )
            for shape in self.samples
        }


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk()


def test_the_reachable_shapes_are_known_by_their_number(walk: Walk) -> None:
    """A change of the rules that adds or removes a shape fails here."""
    assert (len(walk.coarse), len(walk.samples)) == (SHAPES, FINE_SHAPES)


def test_every_cell_of_the_table_is_reached_and_no_other(walk: Walk) -> None:
    assert walk.cells == set(TABLE)


def test_the_walk_uses_every_command_and_makes_every_kind_of_fact(walk: Walk) -> None:
    assert walk.commands == set(_RULES)
    made = {
        str(kind).split("(")[0] for answers in walk.answers.values() for answer in answers.values() for kind in answer
    }
    assert made >= set(KINDS) - {"chat_created"}


def test_the_facts_from_the_beginning_fold_to_every_shape(walk: Walk) -> None:
    for found in walk.samples.values():
        for history in found:
            history.check_fold()


def test_every_status_is_held_in_the_shapes_that_allow_it(walk: Walk) -> None:
    held = {(shape.status, shape.is_held) for shape in walk.samples}
    assert held == {
        (Status.WAITING, False),
        (Status.ERROR, False),
        (Status.RUNNING, False),
        (Status.RUNNING, True),
        (Status.INTERRUPTING, True),
        (Status.REQUIRES_ACTION, False),
    }


def test_an_expired_attempt_is_stale_in_every_shape(walk: Walk) -> None:
    """Another attempt, none, or the right one on a closed draft: always `stale_attempt`."""
    wrong = (" by a stranger", " by no attempt", " of an old draft", " by stranger")
    for shape, answers in walk.answers.items():
        for name, answer in answers.items():
            if name.endswith(wrong) and not shape.is_deleted:
                assert answer == ("stale_attempt",), f"{name!r} in {shape}"


def test_an_expiry_of_another_attempt_is_answered_without_a_change(walk: Walk) -> None:
    for shape, answers in walk.answers.items():
        for name, answer in answers.items():
            if name.startswith(("expire stranger", "expire no attempt")) and not shape.is_deleted:
                assert not answer[:-1], f"{name!r} in {shape}"
                assert isinstance(answer[-1], Shape), f"{name!r} in {shape}"


def test_an_interrupt_of_another_turn_does_nothing_anywhere(walk: Walk) -> None:
    for shape, answers in walk.answers.items():
        if not shape.is_deleted:
            assert answers["interrupt another"] == (shape,)


def test_a_deleted_chat_is_not_found_by_any_command(walk: Walk) -> None:
    for shape, answers in walk.answers.items():
        if shape.is_deleted:
            assert set(answers.values()) == {("not_found",)}


def test_while_interrupting_only_four_commands_of_a_worker_are_accepted(walk: Walk) -> None:
    taken = ("result of", "finish interrupt", "release", "expire holder", "expire with")
    workers = ("commit", "result of", "fail", "require action", "finish interrupt", "release", "start", "expire")
    for shape, answers in walk.answers.items():
        if shape.status is not Status.INTERRUPTING:
            continue
        for name, answer in answers.items():
            if name.startswith(workers) and isinstance(answer[-1], Shape) and answer[:-1]:
                assert name.startswith(taken), f"{name!r} in {shape}"


def test_every_turn_that_needs_a_worker_gets_one_eventually(walk: Walk) -> None:
    for shape, answers in walk.answers.items():
        if shape.status is Status.RUNNING and not shape.is_held:
            assert answers["start later"][0] == "attempt_started"


TWICE = (
    "interrupt",
    "interrupt and clear",
    "delete queued 0",
    "delete steering 0",
    "promote queued 0",
    "promote steering 0",
    "move queued 0 last",
    "move steering 0 last",
    "move queued 1 before 0",
    "expire holder lease 0",
    "expire holder interrupt 2000000",
    "expire action",
    "rename",
    "generate title",
    "set labels",
    "set pin",
    "set model",
    "set system",
    "set diff status",
    "archive",
    "unarchive",
)


@pytest.fixture(scope="module")
def asked(walk: Walk) -> dict[str, list[tuple[History, c.Command, int]]]:
    """For each of these names the chats, one of each shape, that can get the command."""
    found: dict[str, list[tuple[History, c.Command, int]]] = {name: [] for name in TWICE}
    for histories in walk.samples.values():
        if not histories[0].chat.is_deleted:
            for name, command, wait in iter_commands(histories[0]):
                if name in found:
                    found[name].append((histories[0], command, wait))
    return found


@pytest.mark.parametrize("name", TWICE)
def test_a_repeated_command_makes_no_second_change(
    asked: dict[str, list[tuple[History, c.Command, int]]], name: str
) -> None:
    tried = 0
    for history, command, wait in asked[name]:
        again = history.branch()
        try:
            again.do(command, wait=wait)
        except Refused:
            continue
        tried += 1
        if isinstance(command, c.QueueCommand):
            fate = again.ledger.fates.get(command.queued_id)
            command = replace(command, was_delivered=fate == "delivered")
            if isinstance(command, c.DeleteQueued):
                command = replace(command, existed=fate is not None)
            elif fate == "delivered":
                with pytest.raises(AlreadyDelivered):
                    again.do(command)
                continue
        assert again.do(command) == ()
    assert tried
