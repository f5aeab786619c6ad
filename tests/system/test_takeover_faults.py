"""Takeovers combined with another fault: a drain, a closed stdout, a lost lock file, a full disk."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.local.lock import LOCK_NAME, claim_data, claim_unless_held, is_held, try_claim
from programs import PRIVILEGES
from support.waiting import wait_until

from .fleet import Fleet, Member
from .test_roles import is_primary, open_fleet

pytestmark = pytest.mark.anyio


async def test_a_standby_still_proxies_to_a_draining_primary(tmp_path: Path) -> None:
    """It serves all requests until it has drained, and no other instance can."""
    fleet = Fleet(tmp_path / "data", size=2, options=("--drain-s", "20"))
    try:
        await fleet.start()
        primary, standby = fleet.primary, fleet.standby
        _, chat = await standby.ask("POST", "/chats", {"content": "/rate 5\n/tokens 500"})

        async def has_begun() -> bool:
            return bool((await primary.ask("GET", f"/chats/{chat['id']}"))[1]["status"] == "running")

        await wait_until(has_begun, "the turn runs")
        primary.signal(signal.SIGTERM)

        async def is_draining() -> bool:
            return bool((await primary.get("/readyz"))["status"] == "degraded")

        await wait_until(is_draining, "it drains")
        assert (await primary.ask("POST", "/chats", {}))[0] == 201
        assert (await standby.ask("POST", "/chats", {}))[0] == 201
        assert primary.is_running
    finally:
        for member in fleet.members:
            await member.kill()


async def test_a_standby_takes_over_when_its_stdout_is_closed(tmp_path: Path) -> None:
    """The starting process has read the address and closed the pipe."""
    async with open_fleet(tmp_path, size=1) as fleet:
        standby = Member(fleet.data, 1)
        reading, writing = os.pipe()
        options = ("--json", "--data", str(fleet.data), "--port", str(standby.port))
        standby.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "antiphon.cli", "serve", *options, stdout=writing, stderr=asyncio.subprocess.DEVNULL
        )
        os.close(writing)
        try:
            assert b'"standby"' in await asyncio.to_thread(os.read, reading, 10_000)
            os.close(reading)
            await fleet.members[0].kill()
            await wait_until(lambda: is_primary(standby), "it takes over")
        finally:
            await standby.kill()


def test_removing_the_lock_file_makes_no_second_primary(tmp_path: Path) -> None:
    with claim_data(tmp_path, instance_id="first"):
        (tmp_path / LOCK_NAME).unlink()
        assert try_claim(tmp_path, instance_id="second") is None
        assert claim_unless_held(tmp_path, instance_id="third") is None
        assert is_held(tmp_path)


def test_a_lock_file_that_cannot_be_written_is_released(tmp_path: Path) -> None:
    """Otherwise an unrelated process would hold the lock, and no standby could take over."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            try_claim(tmp_path, instance_id="standby")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    lock = try_claim(tmp_path, instance_id="standby")
    assert lock is not None
    lock.release()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"{PRIVILEGES}a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # also while a failed test has files open


async def test_standbys_outlive_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """As a primary does: when there is space again, an instance serves requests."""
    fleet = Fleet(small_disk / "data", size=2)
    for number, member in enumerate(fleet.members):
        member.log_path = tmp_path / f"member{number}.log"
    try:
        await fleet.start()
        standby = fleet.standby
        filler = os.open(small_disk / "filler", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(filler, b"x" * 4096)
        except OSError:
            os.close(filler)
        await fleet.primary.kill()

        async def has_tried() -> bool:
            return (
                "lock_claim_failed" in standby.log()
                or "takeover_failed" in standby.log()
                or not standby.is_running
                or await is_primary(standby)
            )

        await wait_until(has_tried, "it tries to take over")
        (small_disk / "filler").unlink()
        await wait_until(lambda: is_primary(standby), "the standby is the primary")
    finally:
        for member in fleet.members:
            await member.kill()
