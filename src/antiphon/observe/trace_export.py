"""Sends the spans of `antiphon serve` to a collector that the standard environment variables name."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from antiphon.errors import Invalid

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The variables of which one turns tracing on. The exporter reads them and the others of the standard itself."""
FLUSH_MS = 2_000
"""How long the end of the process waits for the last spans to be sent, in milliseconds."""


@contextmanager
def exporting_traces() -> Iterator[None]:
    """Send spans to the collector while the block runs. Without one of ENDPOINTS, nothing happens. Raises `Invalid`
    if the packages of the extra `otel` are missing."""
    named = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if named is None:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import set_tracer_provider
    except ImportError as error:
        raise Invalid(named, "tracing needs more packages: pip install 'antiphon[otel]'") from error
    os.environ.setdefault("OTEL_SERVICE_NAME", "antiphon")
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(provider)
    try:
        yield
    finally:
        flush = threading.Thread(target=provider.force_flush, daemon=True)  # it ignores a limit of its own
        flush.start()
        flush.join(FLUSH_MS / 1000)
