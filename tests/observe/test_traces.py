"""Spans of turns, model calls and tools: a real server sends them to a collector on a socket."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from antiphon.client import AsyncClient
from antiphon.core import commands as c
from antiphon.core.model import WhenBusy
from antiphon.observe.traces import checked_traceparent
from antiphon.testing.stored_chat import content
from api.http.process import ServerProcess
from core.history import History, words
from support import preloaded
from support.waiting import wait_until, wait_until_sync
from worker.mcp.servers import TOOL_SERVER

pytestmark = pytest.mark.anyio

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
CANARY = "canary 7f3a"
APP = """
from antiphon import Agent, tool

@tool
def add(a: int, b: int) -> int:
    return a + b

agent = Agent(tools=[add])
"""


class Collector:
    """Receives spans over HTTP as protobuf. `raw` is everything that arrived."""

    def __init__(self) -> None:
        self.raw = b""
        self.spans: list[Any] = []
        self.services: set[str] = set()

    def receive(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = [item.value.string_value for item in resource.resource.attributes if item.key == "service.name"]
            self.services |= set(named)
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that `antiphon serve` sends to, every 100 ms."""
    collector = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.receive(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not to the test's output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def attributes_of(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


async def send(server: ServerProcess, chat_id: str, text: str) -> None:
    """Send a message within a span of the caller."""
    context = SpanContext(int(TRACE_ID, 16), int(SPAN_ID, 16), is_remote=False, trace_flags=TraceFlags(1))
    async with AsyncClient(server.url, server.token) as client:
        with use_span(NonRecordingSpan(context)):
            await client.send(chat_id, text)


async def test_a_turn_its_model_calls_and_its_tools_are_spans_of_the_senders_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").write_text(APP)
    with collecting(monkeypatch) as collector:
        server = ServerProcess(tmp_path / "data", app=f"{tmp_path / 'app.py'}:agent")
        server.wait_ready()
        async with AsyncClient(server.url, server.token) as client:
            chat_id = (await client.create_chat(title=CANARY))["id"]
            await send(server, chat_id, f'/say {CANARY}\n/call add {{"a": 1, "b": 2}}')
            await wait_until(lambda: collector.named("invoke_agent"))
            await send(server, chat_id, "/fail auth")
            await wait_until(lambda: len(collector.named("invoke_agent")) == 2)
            busy = (await client.create_chat("/tokens 30\n/rate 30"))["id"]
            await client.send(busy, "/tokens 2")  # without a trace of a caller
            await wait_until(lambda: len(collector.named("invoke_agent")) == 4)
        assert server.stop() == 0
    turn, failed, *apart = collector.named("invoke_agent")
    assert [span.parent_span_id for span in apart] == [b"", b""], "a queued turn is not below the one before it"
    assert [attributes_of(span)["gen_ai.usage.output_tokens"] for span in apart] == [30, 2]
    others = {span.trace_id for span in apart}
    calls = [span for span in collector.named("chat rehearsal") if span.trace_id not in others]
    (tool,) = collector.named("execute_tool add")
    assert {span.trace_id.hex() for span in (turn, failed, tool, *calls)} == {TRACE_ID}
    assert (turn.parent_span_id.hex(), failed.parent_span_id.hex()) == (SPAN_ID, SPAN_ID)
    assert [span.parent_span_id for span in (tool, *calls)] == [turn.span_id] * 3 + [failed.span_id]
    described = attributes_of(turn)
    assert (described["gen_ai.conversation.id"], described["antiphon.outcome"]) == (chat_id, "answered")
    written = [attributes_of(call)["gen_ai.usage.output_tokens"] for call in calls[:2]]
    assert described["gen_ai.usage.output_tokens"] == sum(written)
    assert attributes_of(tool)["gen_ai.tool.call.id"]
    assert (attributes_of(failed)["error.type"], attributes_of(calls[-1])["error.type"]) == ("auth", "auth")
    assert collector.services == {"antiphon"}
    assert CANARY.encode() not in collector.raw


async def test_an_attempt_after_a_crash_belongs_to_the_same_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting(monkeypatch) as collector:
        server = ServerProcess(tmp_path / "data")
        server.wait_ready()
        async with AsyncClient(server.url, server.token) as client:
            chat_id = (await client.create_chat())["id"]
            await send(server, chat_id, "/tokens 20\n/rate 10")
        server.process.kill()
        server.process.wait()
        again = ServerProcess(tmp_path / "data")
        again.wait_ready()
        wait_until_sync(lambda: collector.named("invoke_agent"), what="the second attempt has ended")
        assert again.stop() == 0
    (turn,) = collector.named("invoke_agent")
    assert (turn.trace_id.hex(), turn.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)


FAMILY = """
from antiphon import ToolCall

async def agent(turn):
    if turn.parent_chat_id:
        yield str((await turn.call(ToolCall("t_trace", {}))).result)
    else:
        yield (await turn.spawn("child")).text
"""


async def test_child_chats_and_mcp_servers_get_the_trace_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").write_text(FAMILY)
    config = tmp_path / "antiphon.toml"
    config.write_text(f"[mcp.t]\ncommand = {json.dumps(preloaded.command(TOOL_SERVER, str(tmp_path / 'log')))}\n")
    with collecting(monkeypatch) as collector:
        server = ServerProcess(tmp_path / "data", "--config", str(config), app=f"{tmp_path / 'app.py'}:agent")
        server.wait_ready()
        async with AsyncClient(server.url, server.token) as client:
            chat_id = (await client.create_chat())["id"]
            await send(server, chat_id, "go")
            await wait_until(lambda: len(collector.named("invoke_agent")) == 2)
            messages = (await client.messages(chat_id))["messages"]
        assert server.stop() == 0
    child, parent = collector.named("invoke_agent")
    (spawn,), (tool,) = collector.named("execute_tool spawn"), collector.named("execute_tool t_trace")
    assert (parent.trace_id.hex(), parent.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert (spawn.parent_span_id, child.parent_span_id, tool.parent_span_id) == (
        parent.span_id,
        spawn.span_id,
        child.span_id,
    )
    answer = max(messages, key=lambda message: message["id"])["content"][0]["text"]
    assert answer.split("-")[1] == TRACE_ID, "what the MCP server got"


@pytest.mark.parametrize(
    "text", [None, "", "00-1", TRACEPARENT.upper(), TRACEPARENT + "-x", f"00-{0:032}-{SPAN_ID}-01"]
)
def test_a_context_that_is_not_valid_is_ignored(text: str | None) -> None:
    assert checked_traceparent(text) == ""


def test_a_queued_message_keeps_the_context_of_its_own_request() -> None:
    history = History()
    history.do(c.CreateChat(owner_id="o", content=words("one"), trace="first"))
    assert history.chat.turn_trace == "first"
    history.do(c.StartAttempt(instance_id="i"))
    history.do(c.SendMessage(content=content("two"), when_busy=WhenBusy.QUEUE, trace="second"))
    assert history.chat.turn_trace == "first"
    fence = {"attempt": history.chat.attempt, "draft": history.chat.draft}
    history.do(c.CommitMessage(**fence, content=words("answer"), upto=1, is_last=True))
    assert history.chat.turn_trace == "second"
