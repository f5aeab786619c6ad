"""Waiting ends with the condition's value, or says what it waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from support.waiting import wait_until, wait_until_sync

Wait = Callable[..., Any]


def wait_in_a_loop(*arguments: Any, **options: Any) -> Any:
    return asyncio.run(wait_until(*arguments, **options))


BOTH = pytest.mark.parametrize("wait", [wait_in_a_loop, wait_until_sync], ids=["asynchronous", "synchronous"])


@BOTH
def test_the_first_accepted_value_is_returned(wait: Wait) -> None:
    values = iter([0, 0, 3])
    assert wait(lambda: next(values)) == 3
    numbers = iter(range(10))
    assert wait(lambda: next(numbers), accept=lambda number: number > 4) == 5


@BOTH
def test_a_timeout_names_what_was_waited_for_and_the_last_value(wait: Wait) -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.01 s in vain for: a second answer; last value: \['one'\]"):
        wait(lambda: ["one"], "a second answer", accept=lambda found: len(found) == 2, deadline_s=0.01)


@BOTH
def test_without_a_name_a_timeout_shows_the_code_of_the_condition(wait: Wait) -> None:
    counted = 2
    with pytest.raises(AssertionError, match=r"lambda: counted > 3"):
        wait(lambda: counted > 3, deadline_s=0.01)


async def _answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_a_condition_may_be_awaitable() -> None:
    values = iter([0, 7])
    assert asyncio.run(wait_until(lambda: _answer(next(values)))) == 7


def test_a_condition_that_never_answers_is_a_timeout_too() -> None:
    with pytest.raises(AssertionError, match="in vain for: an answer"):
        asyncio.run(wait_until(lambda: asyncio.sleep(3600), "an answer", deadline_s=0.01))


def test_a_timeout_raised_by_the_condition_itself_is_passed_on() -> None:
    async def ask() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(wait_until(ask, "an answer"))
