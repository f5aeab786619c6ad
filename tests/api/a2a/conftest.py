"""One server for all tests of a file, and A2A's official client for an owner of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.helpers import new_text_message
from a2a.types import Message, Role, SendMessageConfiguration, SendMessageRequest, StreamResponse, Task, TaskState
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

from ..http.api_client import ApiClient
from ..http.conftest import anyio_backend, shared_api

__all__ = ["anyio_backend", "shared_api"]

Json = dict[str, Any]


@contextlib.asynccontextmanager
async def connected(
    url: str, token: str, *, streaming: bool = True, binding: str = "JSONRPC"
) -> AsyncIterator[Client]:
    """The official client, which has found the server by its card."""
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        config = ClientConfig(
            httpx_client=http, streaming=streaming, supported_protocol_bindings=[binding], use_client_preference=True
        )
        async with await create_client(url, config) as client:
            yield client


def url_of(api: ApiClient) -> str:
    return f"http://127.0.0.1:{api.port}"


@pytest.fixture
async def client(api: ApiClient) -> AsyncIterator[Client]:
    async with connected(url_of(api), api.token) as made:
        yield made


@pytest.fixture
async def blocking(api: ApiClient) -> AsyncIterator[Client]:
    """A client that does not stream."""
    async with connected(url_of(api), api.token, streaming=False) as made:
        yield made


def request_of(
    text: str = "", *, message: Message | None = None, now: bool = False, **ids: str
) -> SendMessageRequest:
    """A request with a text, or with a message. `now`: it does not wait."""
    if message is None:
        message = new_text_message(text, role=Role.ROLE_USER)
    for name, value in ids.items():
        setattr(message, name, value)
    return SendMessageRequest(message=message, configuration=SendMessageConfiguration(return_immediately=now))


async def ask(client: Client, text: str = "", **more: Any) -> Task:
    """The task as the response of a request that does not stream."""
    (response,) = [response async for response in client.send_message(request_of(text, **more))]
    return response.task


def state_of(task: Task) -> str:
    return TaskState.Name(task.status.state).removeprefix("TASK_STATE_")


def text_of(task: Task) -> str:
    """The text of the artifacts."""
    return "".join(part.text for artifact in task.artifacts for part in artifact.parts)


def own(message: Any) -> Json:
    """What this server adds to a message of the protocol."""
    found: Json = MessageToDict(message.metadata).get("antiphon", {})
    return found


class Seen:
    """What a client has of a task that it follows."""

    def __init__(self) -> None:
        self.task = Task()
        self.states: list[str] = []
        self.texts: dict[str, str] = {}
        self.own: list[Json] = []
        self.responses: list[StreamResponse] = []

    @property
    def text(self) -> str:
        return "".join(self.texts.values())

    def add(self, response: StreamResponse) -> None:
        self.responses.append(response)
        if response.HasField("task"):
            self.task.CopyFrom(response.task)
            self.states.append(state_of(self.task))
            self.texts = {a.artifact_id: "".join(p.text for p in a.parts) for a in self.task.artifacts}
        elif response.HasField("status_update"):
            self.task.status.CopyFrom(response.status_update.status)
            self.states += [state_of(self.task)] if self.states[-1] != state_of(self.task) else []
            self.own.append(own(response.status_update))
        else:
            update = response.artifact_update
            name, text = update.artifact.artifact_id, "".join(part.text for part in update.artifact.parts)
            assert update.append == (name in self.texts) or own(update.artifact) or update.last_chunk
            self.texts[name] = (self.texts.get(name, "") if update.append else "") + text


async def follow(responses: AsyncIterator[StreamResponse], seen: Seen | None = None, *, until: int = 0) -> Seen:
    """All of a stream, or the beginning with `until` characters of text."""
    seen = seen or Seen()
    async with contextlib.aclosing(responses) as stream:  # type: ignore[type-var]
        async for response in stream:
            seen.add(response)
            if until and len(seen.text) >= until:
                break
    return seen
