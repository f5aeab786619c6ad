"""Answers to open calls, settings and copies: a request that is refused changes nothing, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI

from antiphon.wire.openai.ids import parse_response_id

from ..http.api_client import ApiClient
from ..http.test_files import PNG, reference, upload

pytestmark = pytest.mark.anyio

PICK: Any = {"type": "function", "name": "pick", "description": "Pick.", "parameters": {"type": "object"}}


def output_of(response: Any, output: Any) -> Any:
    call = next(item for item in response.output if item.type == "function_call")
    return {"type": "function_call_output", "call_id": call.call_id, "output": output}


async def test_a_copy_keeps_the_files_of_results(client: AsyncOpenAI, api: ApiClient) -> None:
    file = await upload(api, PNG + b"of a result")
    first = await client.responses.create(input="/call pick {}\n/say a", tools=[PICK])
    picked = [output_of(first, [reference(file)])]
    second = await client.responses.create(input=picked, previous_response_id=first.id)  # type: ignore[arg-type]
    await client.responses.create(input="/say two", previous_response_id=second.id)
    branch = await client.responses.create(input="/say three", previous_response_id=second.id)
    assert branch.output_text == "three"
    old, new = (parse_response_id(response.id).chat_id for response in (first, branch))
    assert old != new
    assert await api.instance.store.files_of_chat(new) == {file["file_id"]}
    await api.ask("DELETE", f"/chats/{old}")
    assert (await api.ask("GET", f"/files/{file['file_id']}")).status == 200
