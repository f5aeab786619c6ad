"""A primary and its standbys, as processes that are killed, stopped and frozen for real."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon.core.events import Bye, CaughtUp, Event, FactEvent
from antiphon.core.view import View
from antiphon.local.lock import is_held, read_instance_file
from antiphon.testing.checker import check
from antiphon.testing.evidence import Evidence
from antiphon.wire.stream import decode_event
from support.waiting import DEADLINE_S, wait_until

from .fleet import Fleet, Member
from .server_process import SseStream
from .trial import Trial

pytestmark = pytest.mark.anyio

ACKNOWLEDGED_PER_LIFE = 8
REQUEST_BYTES_MIN = 150
HERE = Path(__file__).parent


@asynccontextmanager
async def open_fleet(folder: Path, *, size: int = 2, **how: Any) -> AsyncIterator[Fleet]:
    fleet = Fleet(folder / "data", size=size, options=("--drain-s", "0.2"), **how)
    try:
        await fleet.start()
        yield fleet
    finally:
        for member in fleet.members:
            if member.is_running:
                member.wake()
            await member.kill()


async def is_primary(member: Member) -> bool:
    try:
        return bool((await member.healthz())["role"] == "primary")
    except OSError:
        return False


async def read_until_idle(stream: SseStream, view: View) -> list[Event]:
    """Everything a stream says until its good-bye, folded."""
    events = []
    async with asyncio.timeout(DEADLINE_S):
        while (raw := await stream.next()) is not None:
            event: Event = decode_event(raw[2], cursor=raw[0])
            events.append(event)
            view.apply(event)
            if isinstance(event, Bye):
                return events
    raise AssertionError("the stream ended without a good-bye")


async def test_a_standby_answers_everything_as_its_primary_would(tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        primary, standby = fleet.primary, fleet.standby
        status, chat = await standby.ask("POST", "/chats", {"content": "/say hello"})
        assert status == 201
        stream = await standby.open_stream(f"/chats/{chat['id']}/stream?until=idle", cursor="0")
        view = View()
        await read_until_idle(stream, view)
        await stream.close()
        assert view.messages[-1]["content"][0]["text"] == "hello"
        assert await standby.ask("GET", f"/chats/{chat['id']}") == await primary.ask("GET", f"/chats/{chat['id']}")
        assert (await standby.ask("GET", "/chats/nothing"))[0] == 404
        assert (await standby.ask("GET", "/chats", token="wrong"))[0] == 401
        assert (await standby.ask("GET", "/nowhere"))[0] == 404
        assert (await standby.get("/readyz"))["status"] == "ready"
        assert (await standby.healthz())["role"] == "standby"
        assert "antiphon" in (await standby.get("/openapi.json"))["info"]["title"].lower()


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_standby_takes_over_and_its_readers_and_senders_go_on(tmp_path: Path, end: str) -> None:
    async with open_fleet(tmp_path) as fleet:
        primary, standby = fleet.primary, fleet.standby
        _, chat = await standby.ask("POST", "/chats", {"content": "/rate 40\n/tokens 60"})
        path = f"/chats/{chat['id']}"
        stream = await standby.open_stream(f"{path}/stream", cursor="0")
        view, events = View(), list[Event]()

        async def read() -> None:
            while (raw := await stream.next()) is not None:
                events.append(decode_event(raw[2], cursor=raw[0]))
                view.apply(events[-1])

        reading = asyncio.create_task(read())

        async def has_begun() -> bool:
            return len(view.draft.text()) > 20

        await wait_until(has_begun, "the answer has begun")
        gone = primary.kill() if end == "kill" else primary.stop()
        sending = asyncio.create_task(standby.ask("POST", f"{path}/messages", {"content": "/say and on"}))
        await gone
        status, sent = await sending
        assert status in (201, 202), sent
        await wait_until(lambda: is_primary(standby), "the standby has taken over")

        async def has_text() -> bool:
            return bool(view.status == "waiting" and view.messages[-1]["content"][0].get("text") == "and on")

        await wait_until(has_text, "the reader has seen it all")
        reading.cancel()
        await asyncio.wait({reading})
        await stream.close()
        facts = [event.seq for event in events if isinstance(event, FactEvent)]
        assert facts == list(range(1, len(facts) + 1)), "nothing lost, nothing twice"
        assert sum(isinstance(event, CaughtUp) for event in events) == 2, "it was attached once more"
        texts = [m["content"][0].get("text", "") for m in view.messages if m["role"] == "assistant"]
        assert sum(text.endswith("w60 ") for text in texts) == 1
        users = [m["content"][0]["text"] for m in view.messages if m["role"] == "user"]
        assert users == ["/rate 40\n/tokens 60", "/say and on"], "a send that was repeated arrived once"


async def test_what_is_no_send_is_refused_when_the_primary_goes_in_the_middle(tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        primary, standby = fleet.primary, fleet.standby
        _, chat = await standby.ask("POST", "/chats", {"title": "before"})
        primary.freeze()
        renaming = asyncio.create_task(standby.ask("PATCH", f"/chats/{chat['id']}", {"title": "after"}))
        reading = asyncio.create_task(standby.ask("GET", f"/chats/{chat['id']}"))
        await wait_until(lambda: has_unread(primary.port, 2), "both have come to a primary that reads nothing")
        await primary.kill()
        status, answer = await renaming
        assert (status, answer["error"]["code"]) == (503, "unavailable")
        assert answer["error"]["retry_after_ms"] > 0
        status, answer = await reading
        assert (status, answer["title"]) == (200, "before"), "a read is repeated"


IMPATIENT = """
from functools import partial
from antiphon.api.proxy.limits import ProxyLimits
from antiphon.cli import main
from antiphon.server import serve as server
server.serve = partial(server.serve, proxy_limits=ProxyLimits(silent_s=2.0, check_s=0.5))
main()
"""
"""`antiphon serve` with a shorter timeout for an unresponsive primary."""


async def has_unread(port: int, count: int) -> bool:
    """Whether `count` connections to a port have an unread request (a liveness check is shorter)."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        is_there = int(fields[1].rsplit(":", 1)[1], 16) == port
        found += is_there and int(fields[4].split(":")[1], 16) > REQUEST_BYTES_MIN
    return found >= count


async def test_a_frozen_primary_is_reported_not_replaced_and_continues_when_resumed(tmp_path: Path) -> None:
    await freeze_and_wake(tmp_path, command=("-c", IMPATIENT, "serve"))


@pytest.mark.slow
async def test_a_primary_frozen_beyond_its_leases_continues_when_resumed(tmp_path: Path) -> None:
    await freeze_and_wake(tmp_path)


async def freeze_and_wake(folder: Path, **how: Any) -> None:
    async with open_fleet(folder, **how) as fleet:
        primary, standby = fleet.primary, fleet.standby
        _, chat = await standby.ask("POST", "/chats", {"content": "/rate 20\n/tokens 60"})
        primary.freeze()

        async def is_reported() -> bool:
            return bool((await standby.get("/readyz"))["status"] == "degraded")

        await wait_until(is_reported, "the standby reports a degraded primary")
        assert (await standby.healthz())["role"] == "standby"

        async def is_measured() -> bool:
            return re.search(r"antiphon_primary_silent_seconds [1-9]", await _metrics(standby)) is not None

        await wait_until(
            is_measured, "the metric shows the silence"
        )  # at the standby's next check, as is the log line
        status, answer = await standby.ask("GET", f"/chats/{chat['id']}")
        assert (status, answer["error"]["code"]) == (503, "unavailable")
        assert "the primary has not answered for" in answer["error"]["message"]
        pid = primary.process.pid if primary.process else 0

        async def is_logged() -> bool:
            return f'"pid": {pid}' in standby.log()

        await wait_until(is_logged, "its process is logged")
        assert is_held(fleet.data)
        primary.wake()

        async def is_ready() -> bool:
            return bool((await standby.get("/readyz"))["status"] == "ready")

        await wait_until(is_ready, "the primary responds again")
        stream = await standby.open_stream(f"/chats/{chat['id']}/stream?until=idle", cursor="0")
        view = View()
        events = await read_until_idle(stream, view)
        await stream.close()
        assert view.messages[-1]["content"][0]["text"].endswith("w60 ")
        started = [e.data["instance_id"] for e in events if isinstance(e, FactEvent) and e.type == "attempt_started"]
        assert set(started) == {(await primary.healthz())["instance_id"]}, "no other instance ran it"


async def _metrics(member: Member) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", member.port)
    head = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {member.token}\r\n"
    writer.write((head + "Connection: close\r\n\r\n").encode())
    answer = (await reader.read()).decode()
    writer.transport.abort()
    return answer


async def test_what_a_tool_leaves_running_keeps_no_lock(tmp_path: Path) -> None:
    """A child that was started, and one that was forked off, outlive the primary."""
    pids = tmp_path / "pids"
    async with open_fleet(tmp_path, app=f"{HERE / 'leaving_app.py'}:agent", LEFT_PIDS=str(pids)) as fleet:
        primary, standby = fleet.primary, fleet.standby
        _, chat = await standby.ask("POST", "/chats", {"content": "/call leave {}"})

        async def both_run() -> list[int]:
            found = [int(line) for line in pids.read_text().split()] if pids.exists() else []
            return found if len(found) == 2 else []

        left = await wait_until(both_run, "the tool has left them")
        try:
            await primary.kill()
            await wait_until(lambda: is_primary(standby), "the standby has taken over")
            for pid in left:
                os.kill(pid, 0)  # they run still
            assert (await standby.ask("GET", f"/chats/{chat['id']}"))[0] == 200
        finally:
            for pid in left:
                os.kill(pid, signal.SIGKILL)


async def test_a_standby_that_is_stopped_sends_its_readers_away_and_leaves_the_primary_be(tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        primary, standby = fleet.primary, fleet.standby
        _, chat = await standby.ask("POST", "/chats", {})
        stream = await standby.open_stream(f"/chats/{chat['id']}/stream", cursor="0")
        assert await stream.next() is not None
        assert await standby.stop() == 0
        last = None
        while (raw := await stream.next()) is not None:
            last = raw
        await stream.close()
        assert last is not None
        assert last[1] == "bye"
        assert b'"shutdown"' in last[2]
        assert await is_primary(primary)
        found = read_instance_file(fleet.data)
        assert found is not None
        assert found.pid == primary.process.pid if primary.process else 0


async def trial_of_roles(folder: Path, *, seed: int, members: int, kills: int = 0, seconds: float = 0) -> None:
    """Members are killed at random, the primary more often than not, while chats are busy."""
    async with Trial(folder, seed=seed, members=members) as trial:
        await trial.create_chats()
        trial.start_watchers()
        rnd = random.Random(seed)
        busy = asyncio.create_task(trial.busy(3600))
        until_s = time.monotonic() + seconds
        while kills > 0 or time.monotonic() < until_s:
            kills -= 1
            acknowledged = trial.acknowledged
            while trial.acknowledged < acknowledged + ACKNOWLEDGED_PER_LIFE:
                await asyncio.sleep(0.01)
                assert not busy.done(), "the clients are at it"
            await asyncio.sleep(rnd.uniform(0, 0.5))
            victim = trial.fleet.primary if rnd.random() < 0.7 else rnd.choice(trial.fleet.members)
            await (victim.kill() if rnd.random() < 0.7 else victim.stop())
            await victim.start()
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await trial.settle()
        evidence = await trial.collect()
        assert check(evidence) == []
        assert_one_primary_at_a_time(evidence)
        assert trial.interrupted


def assert_one_primary_at_a_time(evidence: Evidence) -> None:
    """By what the instances wrote: once another one has begun an attempt, the one before begins none any more."""
    started = sorted(
        (event.at, event.data["instance_id"])
        for final in evidence.final
        for event in final.log
        if isinstance(event, FactEvent) and event.type == "attempt_started"
    )
    order = [instance_id for _, instance_id in started]
    runs = [one for n, one in enumerate(order) if n == 0 or order[n - 1] != one]
    assert len(runs) == len(set(runs)), "an instance came back after another had taken over"


async def test_there_is_one_primary_at_a_time_whichever_process_is_killed(tmp_path: Path) -> None:
    await trial_of_roles(tmp_path, seed=int(os.environ.get("TRIAL_SEED", "1")), members=3, kills=4)


@pytest.mark.slow
async def test_five_standbys_and_a_random_killer_for_five_minutes(tmp_path: Path) -> None:
    await trial_of_roles(tmp_path, seed=5, members=6, seconds=300)
