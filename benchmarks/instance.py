"""The instance protocol: tokens to subscribers' folds, and a ping's round trip, beside bare ZeroMQ."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
import zmq
import zmq.asyncio

from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.core import commands as c
from antiphon.core.draft import Draft
from antiphon.core.parts import CallStarted, Text
from antiphon.core.values import Value
from antiphon.local.lock import read_instance_file
from antiphon.server.open_instance import EmbeddedInstance, open_instance
from antiphon.wire import instance as i
from antiphon.wire import jsonrpc
from antiphon.wire.codec import encode_content
from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer
from benchmarks.subscribers import PROBE, Fold, Receive, Report, Subscribers, digest_of

TOKEN = "token "
SUBSCRIBERS = (1, 8)
FLOOR_NAME = "ready-made frames, only received"
RECEIVE_MS = 10_000
SUBSCRIBED_S = 0.2
"""Longer than it takes the endpoint to detect a subscription."""


# --- fan-out ----------------------------------------------------------------------------------------


class Case(Value):
    """In each iteration of the loop `batch` deltas of each of `chats` chats are published, in all `size` times as
    many as the floor sends frames, so that a run takes a few seconds (an attempt's lease lasts ten)."""

    name: str
    chats: int = 1
    batch: int = 1
    size: float = 1


CASES = (
    Case(name="one delta per iteration"),
    Case(name="64 deltas per iteration", batch=64, size=4),
    Case(name="one delta of each of 100 chats per iteration", chats=100, size=0.4),
)
"""The last is one delta a frame: a chat's next delta comes after its pace."""


class Folded:
    """What the runs of one case came to."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.tokens_per_frame: list[float] = []
        self.asked: list[float] = []

    def add(self, tokens: int, started: float, reports: Sequence[Report]) -> None:
        """Tokens a second to all subscribers together, until the last of them has all."""
        self.rates.append(tokens * len(reports) / (max(report.at for report in reports) - started))
        self.tokens_per_frame.append(tokens * len(reports) / max(sum(report.frames for report in reports), 1))
        self.asked.append(sum(report.asked for report in reports))


def measure_fanout(scale: Scale) -> list[Figure]:
    """Deltas handed to the edge until the last subscriber's view has them, beside ready-made frames, one a token,
    from a bare PUB to subscribers that only receive. Every text is checked."""
    tokens = 10_000 if scale.is_quick else 50_000
    figures = []
    for count in SUBSCRIBERS:
        floors: list[float] = []
        turns: list[float] = []
        found = {case: Folded() for case in CASES}
        with Subscribers(count) as subscribers:
            for _ in range(scale.repeats):
                floors.append(uvloop.run(_bare_rate(subscribers, tokens)))
                turns.append(uvloop.run(_bare_rate(subscribers, tokens, is_turning=True)))
                for case, folded in found.items():
                    uvloop.run(fold_sessions(subscribers, folded, case, tokens=int(tokens * case.size)))
        for case, folded in found.items():
            figures += _figures(f"{_people(count)}, {case.name}", folded, middle(floors))
        figures.append(_turn_figure(count, middle(turns), middle(floors)))
    return figures


def _turn_figure(count: int, rate: float, floor: float) -> Figure:
    """What the floor itself comes to where the loop turns after each frame: its I/O thread sleeps in between."""
    return Figure(
        name=f"for comparison: ready-made frames, one per iteration of the event loop, {_people(count)}",
        value=rate,
        unit="per s",
        floor=floor,
        floor_name=FLOOR_NAME,
    )


def _people(count: int) -> str:
    return f"{count} subscriber{'s' if count > 1 else ''}"


def _figures(case: str, folded: Folded, floor: float) -> list[Figure]:
    rate = middle(folded.rates)
    return [
        Figure(
            name=f"ZeroMQ fan-out: tokens folded, {case}",
            value=rate,
            unit="per s",
            floor=floor,
            floor_name=FLOOR_NAME,
            goal="≥ 0.5 ×, nothing lost",
            is_met=rate >= 0.5 * floor,
        ),
        Figure(name=f"the same: tokens in a frame, {case}", value=middle(folded.tokens_per_frame), unit="tokens"),
        Figure(name=f"the same: what is missing asked for, {case}", value=middle(folded.asked), unit="times"),
    ]


async def _bare_rate(subscribers: Subscribers, count: int, *, is_turning: bool = False) -> float:
    """Frames received a second, all subscribers together. `is_turning`: the loop turns after each."""
    head = i.frame_head(i.TOPIC_LLM_TOKEN, "0" * 36, "/a/project/directory", "0" * 36)
    payload = i.LLMTokenPayload(session_id="0" * 36, token=TOKEN, part_index=0, draft=3, from_=100_000, to=100_006)
    frame = i.encode_frame(head, time.time_ns() // 1_000, payload)
    with tempfile.TemporaryDirectory() as folder, zmq.Context() as context, context.socket(zmq.PUB) as pub:
        pub.setsockopt(zmq.SNDHWM, 0)
        pub.bind(f"ipc://{folder}/pub")

        async def probe() -> None:
            pub.send(PROBE)

        await subscribers.begin(Receive(endpoint=f"ipc://{folder}/pub", count=count), probe)
        started = time.monotonic()
        for _ in range(count):
            pub.send(frame)
            if is_turning:
                await asyncio.sleep(0)
        reports = await subscribers.reports()
    return count * subscribers.count / (max(report.at for report in reports) - started)


async def fold_sessions(
    subscribers: Subscribers, folded: Folded, case: Case, *, tokens: int, lost_every: int = 0
) -> None:
    """Publish drafts with `tokens` tokens in all; every subscriber's texts must come out whole, also where each
    `lost_every`th frame is lost on its way."""
    each = tokens // case.chats
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        async with (
            open_instance(data=data, drain_s=0) as instance,
            open_zmq_endpoint(instance, instance.asgi, data) as endpoint,
        ):
            instance.worker.pause()
            drafts = [await _open_draft(instance) for _ in range(case.chats)]
            job = Fold(
                pub_endpoint=endpoint.pub_endpoint,
                rpc_endpoint=endpoint.rpc_endpoint,
                session_ids=tuple(chat_id for chat_id, _ in drafts),
                length=drafts[0][1].position + each * len(TOKEN),
                lost_every=lost_every,
            )
            await subscribers.begin(job, endpoint.publisher.publish_heartbeat)
            await asyncio.sleep(SUBSCRIBED_S)
            started = time.monotonic()
            await _hand_in(instance, drafts, each, case.batch)
            reports = await subscribers.reports()
            for chat_id, draft in drafts:
                await _commit(instance, chat_id, draft)
    folded.add(each * case.chats, started, reports)
    if {report.digest for report in reports} != {digest_of(TOKEN * each * case.chats)}:
        raise RuntimeError("a subscriber's text is not what was handed in")


async def _open_draft(instance: EmbeddedInstance) -> tuple[str, Draft]:
    chat = await instance.chats.create(chat_id=instance.ids.uuid(), content="go")
    begun = await instance.service.execute(chat.chat_id, c.StartAttempt(instance_id=instance.instance_id))
    draft = instance.drafts.open(chat.chat_id, begun.chat.draft)
    draft.write(CallStarted(model="bench"))
    return chat.chat_id, draft


async def _hand_in(instance: EmbeddedInstance, drafts: Sequence[tuple[str, Draft]], tokens: int, batch: int) -> None:
    piece = Text(TOKEN)
    for first in range(0, tokens, batch):
        for chat_id, draft in drafts:
            for _ in range(min(batch, tokens - first)):
                draft.write(piece)
            instance.drafts.touch(chat_id)
        await asyncio.sleep(0)


async def _commit(instance: EmbeddedInstance, chat_id: str, draft: Draft) -> None:
    chat = (await instance.service.execute(chat_id)).chat
    content = encode_content(draft.content())
    answer = c.CommitMessage(
        attempt=chat.attempt, draft=draft.name, content=content, upto=draft.position, is_last=True
    )
    await instance.service.execute(chat_id, answer)
    instance.drafts.close(chat_id, draft)


# --- calls ------------------------------------------------------------------------------------------


def measure_rpc(scale: Scale) -> list[Figure]:
    """A ping's round trip through a real server, beside a bare echo; both with the same plain DEALER."""
    rounds = 500 if scale.is_quick else 3_000
    ours, floors = [], []
    with tempfile.TemporaryDirectory() as folder, BenchServer() as server:
        found = read_instance_file(server.data)
        assert found is not None
        assert found.rpc_endpoint
        for run in range(scale.repeats):
            floors.append(_echo_us(f"ipc://{folder}/{run}", rounds))
            ours.append(_round_trip_us(found.rpc_endpoint, rounds))
    value, floor = middle(ours), middle(floors)
    return [
        Figure(
            name="ZeroMQ call: instance.ping round trip, p50",
            value=value,
            unit="µs",
            floor=floor,
            floor_name="a bare ROUTER's echo",
            goal="≤ 1.3 ×",
            is_met=value <= 1.3 * floor,
        )
    ]


def _round_trip_us(endpoint: str, rounds: int) -> float:
    """The median of `count` round trips, one after another, after a tenth of them for warming up."""
    request = jsonrpc.encode_request(i.METHOD_INSTANCE_PING, {}, 1)
    times = []
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.RCVTIMEO, RECEIVE_MS)
        dealer.connect(endpoint)
        for _ in range(rounds + rounds // 10):
            started = time.perf_counter()
            dealer.send_multipart([b"", request])
            dealer.recv_multipart()
            times.append(time.perf_counter() - started)
    return middle(times[rounds // 10 :]) * 1e6


def _echo_us(endpoint: str, rounds: int) -> float:
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=_run_echo, args=(child, endpoint), daemon=True)
    process.start()
    parent.recv()
    cost = _round_trip_us(endpoint, rounds)
    process.terminate()
    process.join()
    return cost


def _run_echo(pipe: multiprocessing.connection.Connection, endpoint: str) -> None:
    uvloop.run(_echo(pipe, endpoint))


async def _echo(pipe: multiprocessing.connection.Connection, endpoint: str) -> None:
    router = zmq.asyncio.Context().socket(zmq.ROUTER)
    router.bind(endpoint)
    pipe.send("ready")
    while True:
        await router.send_multipart(await router.recv_multipart())
