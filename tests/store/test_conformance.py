"""Every store keeps the promises of its port."""

from __future__ import annotations

import pytest

from antiphon.ports import Store
from antiphon.testing.clock import FakeClock
from antiphon.testing.store_suite import CHECKS, Case, Check, check_name, run_check

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
async def test_store(check: Check, store: Store, clock: FakeClock) -> None:
    await run_check(check, Case(store, clock))
