"""Error responses become the classes of `antiphon.errors`, with the server's own sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon import errors as e
from antiphon.api.http.answers import STATUS
from antiphon.client.errors import ServerFailed, error_of

ERRORS: list[e.AntiphonError] = [
    e.NotFound("queued_message"),
    e.Invalid("title", "too odd"),
    e.Unauthenticated("the token was revoked"),
    e.Forbidden("not today"),
    e.Busy("interrupting"),
    e.Conflict("id"),
    e.AlreadyDelivered(7),
    e.NotAllowedNow("error", "it is broken"),
    e.StaleAttempt(3),
    e.TooLarge("message (in bytes)", 12),
    e.TooMany("watchers", 5, 700),
    e.RateLimited("messages_per_minute", 5, 5, 700),
    e.BudgetExhausted(
        "tokens_per_day", 5, 6, what="6 of 5 tokens", resets_at="2026-12-01T00:00:00Z", retry_after_ms=9
    ),
    e.CursorInvalid("x.y"),
    e.Unavailable("the disk is full", 250),
]


def body_of(error: e.AntiphonError) -> bytes:
    return json.dumps({"error": {"code": error.code, "message": str(error), **error.fields()}}).encode()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_every_error_is_raised_on_the_client_as_on_the_server(error: e.AntiphonError) -> None:
    arrived = error_of(STATUS[error.code], body_of(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert arrived.fields() == error.fields()


def test_every_code_of_the_contract_is_known() -> None:
    assert {error.code for error in ERRORS} | {"internal"} == set(STATUS)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("busy", "status", ""), ("too_many", "retry_after_ms", None), ("unavailable", "retry_after_ms", 1000)],
)
def test_omitted_fields_have_a_default(kind: str, field: str, value: Any) -> None:
    arrived = error_of(400, json.dumps({"error": {"code": kind, "message": "A sentence."}}).encode())
    assert getattr(arrived, field) == value


def test_an_internal_error_keeps_its_id() -> None:
    arrived = error_of(500, b'{"error": {"code": "internal", "message": "Oh.", "id": "abc"}}')
    assert isinstance(arrived, ServerFailed)
    assert (str(arrived), arrived.id) == ("Oh.", "abc")


def test_a_code_of_a_newer_server_is_still_a_refusal() -> None:
    arrived = error_of(418, b'{"error": {"code": "teapot", "message": "Short and stout."}}')
    assert type(arrived) is e.Refused
    assert str(arrived) == "Short and stout."


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "no"}', b'{"error": {"code": 1}}', b"\xff"])
def test_a_response_of_another_program(body: bytes) -> None:
    assert isinstance(error_of(502, body), e.Unavailable)
    assert isinstance(error_of(404, body), e.PeerError)
