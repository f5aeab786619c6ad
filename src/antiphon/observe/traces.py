"""OpenTelemetry spans of turns, model calls and tool calls, by the semantic conventions for generative AI.

Nothing happens unless `opentelemetry` is installed and an SDK is configured: by the application that embeds an
instance, or for `antiphon serve` by the standard environment variables (`OTEL_EXPORTER_OTLP_ENDPOINT`). Spans have
names, ids and counts; never text of a chat, arguments, results or owners.

The context of the request that sent a message is stored with the message (`trace`, a W3C traceparent), so that the
turn belongs to the caller's trace on whichever instance it runs, and after a crash.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from antiphon.core.parts import Usage
from antiphon.version import __version__

NAME_MAX = 128
"""Maximum length of a name that a model has chosen, in characters."""

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def checked_traceparent(text: str | None) -> str:
    """A traceparent header as it is stored; "" if it is not valid (by the standard it is then ignored)."""
    return text if text and _TRACEPARENT.fullmatch(text) else ""


class Span:
    """A span, or nothing where tracing is off."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes; None values are omitted."""
        if self._span is not None:
            self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def set_usage(self, usage: Usage) -> None:
        self.set(
            {
                "gen_ai.usage.input_tokens": usage.input_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
                "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
                "gen_ai.usage.cache_creation.input_tokens": usage.cache_creation_tokens,
            }
        )

    def fail(self, kind: str) -> None:
        """Mark the operation as failed, with a kind of few values."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", kind)
            self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        if self._span is not None:
            self._span.end()


class Traces:
    """Makes the spans."""

    @property
    def _tracer(self) -> Any:
        """None where nothing has imported OpenTelemetry: importing it takes longer than a short turn."""
        if "opentelemetry.trace" not in sys.modules:
            return None
        return self._own_tracer

    @cached_property
    def _own_tracer(self) -> Any:
        from opentelemetry.trace import get_tracer

        return get_tracer("antiphon", __version__)

    def current(self) -> str:
        """The traceparent of the current span; "" if there is none."""
        if "opentelemetry.trace" not in sys.modules:
            return ""
        from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

        context = get_current_span().get_span_context()
        if not context.is_valid:
            return ""
        ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
        return f"00-{ids}-{context.trace_flags & 1:02x}"

    @contextmanager
    def turn(self, *, chat_id: str, turn_id: int, attempt: int, model: str, trace: str) -> Iterator[Span]:
        """One attempt at a turn. It is the current span of everything that the agent does.

        Args:
            chat_id: The chat.
            turn_id: The turn.
            attempt: The attempt.
            model: The name of the model, if it is known by now.
            trace: The traceparent that was stored with the turn's message, or "".
        """
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.conversation.id": chat_id,
            "gen_ai.request.model": model or None,
            "antiphon.turn_id": turn_id,
            "antiphon.attempt": attempt,
        }
        with self._current("invoke_agent", attributes, is_root=True, trace=trace) as span:
            yield span

    @contextmanager
    def tool_call(self, *, tool_name: str, tool_call_id: str) -> Iterator[Span]:
        """One run of a tool. It is the current span of the tool's function."""
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool_name[:NAME_MAX],
            "gen_ai.tool.call.id": tool_call_id[:NAME_MAX],
            "gen_ai.tool.type": "function",
        }
        with self._current(f"execute_tool {tool_name[:NAME_MAX]}", attributes) as span:
            yield span

    def start_model_call(self, *, model: str, provider: str, chat_id: str) -> Span:
        """One request to a model; the caller ends it. It is not the current span of anything."""
        if self._tracer is None:
            return Span()
        from opentelemetry.trace import SpanKind

        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model,
            "gen_ai.provider.name": provider,
            "gen_ai.conversation.id": chat_id,
        }
        return Span(self._tracer.start_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes))

    @contextmanager
    def _current(
        self, name: str, attributes: Mapping[str, Any], *, is_root: bool = False, trace: str = ""
    ) -> Iterator[Span]:
        """A span that is current in the block: below `trace`, else on its own if it `is_root`, else below the current
        one."""
        if self._tracer is None:
            yield Span()
            return
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = Context() if is_root else None
        if trace:
            parent = TraceContextTextMapPropagator().extract({"traceparent": trace}, Context())
        given = {key: value for key, value in attributes.items() if value is not None}
        with self._tracer.start_as_current_span(
            name, context=parent, attributes=given, record_exception=False, set_status_on_exception=False
        ) as span:
            yield Span(span)


TRACES = Traces()
