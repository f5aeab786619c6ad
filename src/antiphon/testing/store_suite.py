"""One conformance suite over every store: each promise of `ports.Store` is a check with a readable name.

A check is an async function of a `Case` (an empty store and the clock it goes by) that raises AssertionError.
Run each of `CHECKS` on a store of its own by `run_check`:

    @pytest.mark.parametrize("check", CHECKS, ids=check_name)
    async def test_store(check, store, clock):
        await run_check(check, Case(store, clock))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType

from antiphon.testing import (
    store_append_checks,
    store_config_checks,
    store_file_checks,
    store_inbox_checks,
    store_lease_checks,
    store_listing_checks,
    store_read_checks,
    store_share_checks,
    store_usage_checks,
)
from antiphon.testing.store_case import Case

__all__ = ["CHECKS", "Case", "Check", "check_name", "run_check"]

Check = Callable[[Case], Awaitable[None]]


def check_name(check: Check) -> str:
    """The name of a check, as the id of a test."""
    return str(getattr(check, "__name__", check)).removeprefix("check_")


async def run_check(check: Check, case: Case) -> None:
    """Run the check, and then check that the state of every chat is the fold of its facts."""
    await check(case)
    if not case.is_closed:
        for chat_id in await case.store.iter_chat_ids():
            await case.chat(chat_id).check_sound()


def _checks_of(module: ModuleType) -> list[Check]:
    return [value for name, value in vars(module).items() if name.startswith("check_")]


CHECKS: tuple[Check, ...] = (
    *_checks_of(store_append_checks),
    *_checks_of(store_lease_checks),
    *_checks_of(store_read_checks),
    *_checks_of(store_listing_checks),
    *_checks_of(store_config_checks),
    *_checks_of(store_inbox_checks),
    *_checks_of(store_file_checks),
    *_checks_of(store_usage_checks),
    *_checks_of(store_share_checks),
)
