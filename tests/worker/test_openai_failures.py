"""Every failure of a provider has its kind and contains no secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import pytest

from antiphon.errors import AttemptFailed
from antiphon.models.failures import parse_retry_after
from antiphon.models.openai import OpenAIModel
from antiphon.testing.model_server import Answer, FakeModelServer, Fault

from .asking import KEY, PROMPT, answer, failure, opened, request, text

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with FakeModelServer() as server:
        yield server


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (Fault(status=401, code="invalid_api_key", message=f"Incorrect key: {KEY}"), "auth", False),
        (Fault(status=403), "auth", False),
        (Fault(status=403, message="Your input requires moderation"), "content_filter", False),
        (Fault(status=400, message=f"Bad message: {PROMPT}"), "invalid_request", False),
        (Fault(status=400, code=KEY), "invalid_request", False),
        (Fault(status=400, code="context_length_exceeded"), "context_length", False),
        (Fault(status=400, message="This model's maximum context length is 8 tokens."), "context_length", False),
        (Fault(status=413), "context_length", False),
        (Fault(status=400, code="content_filter"), "content_filter", False),
        (Fault(status=400, message="Azure's content management policy"), "content_filter", False),
        (Fault(status=404, code="model_not_found"), "invalid_request", False),
        (Fault(status=307, headers={"Location": "http://127.0.0.1:1/"}), "invalid_request", False),
        (Fault(status=408), "timeout", True),
        (Fault(status=409), "server", True),
        (Fault(status=422), "invalid_request", False),
        (Fault(status=429), "rate_limit", True),
        (Fault(status=429, code="insufficient_quota"), "rate_limit", False),
        (Fault(status=429, type="insufficient_quota"), "rate_limit", False),
        (Fault(status=402), "rate_limit", False),
        (Fault(status=500), "server", True),
        (Fault(status=502, body=b"<html>Bad gateway</html>"), "server", True),
        (Fault(status=503), "server", True),
        (Fault(status=503, type="overloaded_error"), "overloaded", True),
        (Fault(status=504), "server", True),
        (Fault(status=529), "overloaded", True),
    ],
    ids=lambda value: (
        f"{value.status}-{value.code or value.type or value.message}" if isinstance(value, Fault) else ""
    ),
)
async def test_a_refusal_has_its_kind_and_its_status(
    server: FakeModelServer, fault: Fault, kind: str, retryable: bool
) -> None:
    server.plan(fault)
    failed = await failure(server)
    assert (failed.kind, failed.retryable, failed.status_code) == (kind, retryable, fault.status)
    assert len(server.requests) == 1


async def test_a_failure_has_a_text(server: FakeModelServer) -> None:
    server.plan(Fault(status=429, code="rate_limit_exceeded", message="Slow down, sk-abc"))
    failed = await failure(server)
    assert str(failed) == "openai allows no more requests for now (status 429, rate_limit_exceeded): Slow down, …"
    assert failed.__cause__ is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "7", "Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "0.0"}, None),
        ({"Retry-After-Ms": "0"}, None),
        ({"Retry-After-Ms": "0", "Retry-After": "2"}, 2.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
async def test_retry_after_is_read(server: FakeModelServer, headers: dict[str, str], seconds: float | None) -> None:
    server.plan(Fault(status=429, headers=headers))
    assert (await failure(server)).retry_after_s == seconds


def test_retry_after_may_be_a_date() -> None:
    headers = {"retry-after": formatdate(1_000_090, usegmt=True)}
    assert parse_retry_after(headers, now_s=1_000_000.0) == 90.0
    assert parse_retry_after(headers, now_s=2_000_000.0) is None
    assert parse_retry_after({"retry-after": "Mon, 99 Foo 99999999 99:99:99 GMT"}, now_s=0.0) is None


async def test_a_server_that_cannot_be_reached_is_a_network_failure() -> None:
    async with FakeModelServer() as gone:
        pass_url = gone.base_url
    model = OpenAIModel("m", api_key=KEY, base_url=pass_url)
    with pytest.raises(AttemptFailed) as failed:
        await anext(model.stream(request()))
    assert (failed.value.kind, failed.value.retryable) == ("network", True)
    await model.aclose()


@pytest.mark.parametrize("cut_after", [0, 3, 7])
async def test_a_connection_that_breaks_within_a_token_is_a_network_failure(
    server: FakeModelServer, cut_after: int
) -> None:
    server.plan(Answer(cut_after=cut_after))
    async with opened(server) as model:
        stream = model.stream(request())
        said = [await anext(stream) for _ in range(cut_after)]
        with pytest.raises(AttemptFailed, match="was cut off") as failed:
            await anext(stream)
    assert (failed.value.kind, failed.value.retryable) == ("network", True)
    assert text(said) == "".join(f"c1t{n} " for n in range(1, cut_after + 1))


async def test_a_connection_that_breaks_after_a_complete_answer_has_no_effect(server: FakeModelServer) -> None:
    server.plan(Answer(cut_after=8))
    assert text(await answer(server)).endswith("c1t8 ")


async def test_a_stream_that_ends_without_a_finish_reason_is_a_network_failure(server: FakeModelServer) -> None:
    server.plan(Answer(finish_reason=None, sends_done=False))
    failed = await failure(server)
    assert (failed.kind, str(failed)) == (
        "network",
        "openai could not be reached, or the connection was lost (the answer was cut off).",
    )


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "status_code"),
    [
        ({"message": "it broke", "type": "server_error"}, "server", True, None),
        ({"message": f"about {PROMPT}"}, "server", True, None),
        ({"code": "rate_limit_exceeded"}, "rate_limit", True, None),
        ({"type": "insufficient_quota"}, "rate_limit", False, None),
        ({"type": "overloaded_error"}, "overloaded", True, None),
        ({"code": "context_length_exceeded"}, "context_length", False, None),
        ({"code": 429, "message": "slow"}, "rate_limit", True, 429),
        ({"code": 502, "message": "upstream"}, "server", True, 502),
    ],
)
async def test_an_error_within_the_stream_has_its_kind(
    server: FakeModelServer, error: dict[str, Any], kind: str, retryable: bool, status_code: int | None
) -> None:
    server.plan(Answer(error_after=2, error=error))
    failed = await failure(server)
    assert (failed.kind, failed.retryable, failed.status_code) == (kind, retryable, status_code)


@pytest.mark.parametrize("raw", [b'{"error": "out of memory"}', b'{"object": "error", "message": "no", "code": 500}'])
async def test_errors_of_other_shapes_are_recognized(server: FakeModelServer, raw: bytes) -> None:
    body = b"data: " + raw + b"\n\n"
    server.plan(Fault(status=200, headers={"Content-Type": "text/event-stream"}, body=body))
    assert (await failure(server)).kind == "server"


async def test_an_answer_that_is_filtered_is_a_failure(server: FakeModelServer) -> None:
    server.plan(Answer(text="", finish_reason="content_filter"))
    failed = await failure(server)
    assert (failed.kind, failed.retryable) == ("content_filter", False)


@pytest.mark.parametrize(
    "raw", [b"data: {oops\n\n", b'data: {"choices": 5}\n\n', b"data: " + b"[" * 100_000 + b"\n\n"]
)
async def test_a_chunk_that_cannot_be_decoded_is_a_failure_of_the_server(server: FakeModelServer, raw: bytes) -> None:
    server.plan(Fault(status=200, headers={"Content-Type": "text/event-stream"}, body=raw))
    assert "not understood" in str(await failure(server))
