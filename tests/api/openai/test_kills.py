"""`kill -9` of the server in the middle of an answer: OpenAI's client resumes the same response."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from httpx2 import TransportError
from openai import APIError, OpenAI

from support.ports import free_port

from ..http.process import server_process

COUNT = 120
WHOLE = "".join(f"w{n} " for n in range(1, COUNT + 1))
DELTA = "response.output_text.delta"


def client_of(server: Any) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key=server.token, max_retries=0)


def test_a_stream_that_the_server_closes_says_where_to_resume(tmp_path: Path) -> None:
    """SIGTERM: the last event is an error with the number after which a client goes on."""
    data, port = tmp_path / "data", free_port()
    seen: list[Any] = []
    with server_process(data, "--drain-s", "0", port=port) as server, client_of(server) as client:
        for event in client.responses.create(input=f"/tokens {COUNT}\n/rate 40", stream=True):
            seen.append(event)
            if event.type == DELTA and sum(event.type == DELTA for event in seen) == 5:
                server.signal()  # once: a second signal ends the process at once
    last = seen[-1]
    assert (last.type, last.code, last.sequence_number) == ("error", "stream_closed", seen[-2].sequence_number)
    with server_process(data, port=port) as server, client_of(server) as client:
        rest = client.responses.retrieve(seen[0].response.id, stream=True, starting_after=last.sequence_number)
        assert list(rest)[-1].response.output_text == WHOLE


@pytest.mark.parametrize("on_worker_lost", ["restart", "continue"])
def test_a_response_goes_on_after_the_server_was_killed(tmp_path: Path, on_worker_lost: str) -> None:
    """The item that is completed has the whole text, to the character; one that was cut off stays incomplete."""
    data, port = tmp_path / "data", free_port()
    options = ("--on-worker-lost", on_worker_lost)
    seen: list[Any] = []
    with server_process(data, *options, port=port) as server, client_of(server) as client:
        stream = client.responses.create(input=f"/tokens {COUNT}\n/rate 200", stream=True)
        with contextlib.suppress(APIError, TransportError):
            for event in stream:
                seen.append(event)
                if sum(event.type == DELTA for event in seen) == 5:
                    server.kill()
    assert not any(event.type == "response.completed" for event in seen)
    response_id, after = seen[0].response.id, seen[-1].sequence_number
    with server_process(data, *options, port=port) as server, client_of(server) as client:
        rest = list(client.responses.retrieve(response_id, stream=True, starting_after=after))
        final = rest[-1].response
        assert (final.id, final.status, final.output_text) == (response_id, "completed", WHOLE)
        texts: dict[str, str] = {}
        for event in [*seen, *rest]:
            if event.type == DELTA:
                texts[event.item_id] = texts.get(event.item_id, "") + event.delta
        assert texts.pop(final.output[0].id) == WHOLE
        assert all(WHOLE.startswith(text) for text in texts.values()), "what was cut off is a beginning"
        assert all(event.sequence_number > after for event in rest)
        again = list(client.responses.retrieve(response_id, stream=True))
        assert "".join(event.delta for event in again if event.type == DELTA) == WHOLE
