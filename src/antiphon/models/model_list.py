"""The list of models that a provider offers, which also shows whether its address and key are right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import msgspec

from antiphon.models.connecting import ConnectFailed
from antiphon.models.failures import Failures
from antiphon.models.response import ResponseBroken
from antiphon.models.transport import Transport

PATH = "/models"
"""The path below the base URL; the same in the APIs of OpenAI and Anthropic."""
LIST_S = 10.0
"""How long the list is awaited, in seconds."""
LIST_BYTES_MAX = 4 * 1024 * 1024
"""Maximum size of the list, in bytes."""
LISTED_MAX = 1_000
"""Maximum number of models that are returned."""
NAME_MAX = 200
"""Maximum length of a model's name; longer ones are left out."""


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed] = []


async def read_model_list(transport: Transport, headers: Mapping[str, str], failures: Failures) -> tuple[str, ...]:
    """The names of the models, in the server's order. Raises `AttemptFailed` with the reason if there is no list."""
    deadline = asyncio.get_running_loop().time() + LIST_S
    try:
        response = await transport.request("GET", PATH, headers, b"", deadline=deadline)
        body = bytearray()
        try:
            while len(body) <= LIST_BYTES_MAX and (chunk := await response.read()):
                body += chunk
        finally:
            response.close()
    except TimeoutError as error:
        raise failures.make("timeout") from error
    except ConnectFailed as error:
        raise failures.make("network", str(error)) from error
    except ResponseBroken as error:
        raise failures.make("network", str(error)) from error
    if len(body) > LIST_BYTES_MAX:
        raise failures.make("server", f"its list of models has more than {LIST_BYTES_MAX:,} bytes", retryable=False)
    if response.status != 200:
        raise failures.of_status(response.status, _decoded(bytes(body)), response.headers, now_s=time.time())
    try:
        listed = msgspec.json.decode(body, type=_List)
    except (msgspec.DecodeError, RecursionError) as error:
        raise failures.make("server", f"there is no list of models at its {PATH}", retryable=False) from error
    names = (item.id for item in listed.data[:LISTED_MAX])
    return tuple(name for name in names if 0 < len(name) <= NAME_MAX and name.isprintable())


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode("utf-8", "replace")
