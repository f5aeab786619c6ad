"""Every store keeps the promises of its port."""

from __future__ import annotations

import pytest

from antiphon.ports import Store
from antiphon.testing.clock import FakeClock
from antiphon.testing.store_suite import CHECKS, Case, Check, check_name, run_check

pytestmark = pytest.mark.anyio


FILE_CHECKS = [check for check in CHECKS if check.__module__.endswith("store_file_checks")]


@pytest.mark.parametrize("check", FILE_CHECKS, ids=check_name)
async def test_store_with_files_in_s3(check: Check, store_with_s3: Store, clock: FakeClock) -> None:
    await run_check(check, Case(store_with_s3, clock))


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
async def test_store(check: Check, store: Store, clock: FakeClock) -> None:
    await run_check(check, Case(store, clock))
