"""The bodies and queries of OpenAI's routes. Fields that are unknown are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from antiphon.core.values import Value

Metadata = dict[str, str]
Number = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Items = list[dict[str, Any]]


class ConversationParam(Value):
    id: str


class TextParam(Value, gc=True):
    format: dict[str, Any] | None = None


class Settings(Value, gc=True):
    """Settings that have no effect here, and are reported in a header; `prompt` is refused."""

    frequency_penalty: Any = None
    include: Any = None
    logit_bias: Any = None
    logprobs: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    max_tokens: Any = None
    max_tool_calls: Any = None
    modalities: Any = None
    parallel_tool_calls: Any = None
    prediction: Any = None
    presence_penalty: Any = None
    prompt: Any = None
    reasoning: Any = None
    reasoning_effort: Any = None
    seed: Any = None
    service_tier: Any = None
    stop: Any = None
    temperature: Any = None
    top_logprobs: Any = None
    top_p: Any = None
    truncation: Any = None
    verbosity: Any = None
    web_search_options: Any = None


class CreateResponseBody(Settings, gc=True):
    input: str | Items = ""
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationParam | None = None
    tools: Items | None = None
    tool_choice: Any = None
    text: TextParam | None = None
    metadata: Metadata | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None


class RetrieveQuery(Value):
    stream: bool = False
    starting_after: Number = -1


class ListQuery(Value):
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    after: str = ""
    order: Literal["asc", "desc"] = "desc"


class StreamOptions(Value):
    include_usage: bool | None = None


class CompletionBody(Settings, gc=True, kw_only=True):
    messages: Items
    model: str | None = None
    tools: Items | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    n: int | None = None
    metadata: Metadata | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None


class ConversationBody(Value, gc=True):
    metadata: Metadata | None = None
    items: Items | None = None


class OpenAIErrorDetail(Value, gc=True):
    """`antiphon` has this server's own code and further fields, such as `retry_after_ms`."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None
    antiphon: dict[str, Any] = {}


class OpenAIErrorAnswer(Value, gc=True):
    error: OpenAIErrorDetail
