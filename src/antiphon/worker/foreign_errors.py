"""Failures of providers inside an agent's own code: the exceptions of their SDKs, which are not imported here.

The SDKs of OpenAI and Anthropic, and those that frameworks use, name their exceptions alike: an HTTP error has a
`status_code` and mostly a `response`, and a broken connection or a timeout is known by its class. The exception may
be the cause or context of one of the framework's own, or be in a group.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from antiphon.errors import AttemptFailed
from antiphon.models.failures import Failures

CHAIN_MAX = 32
"""Maximum number of exceptions that are examined: causes, contexts and members of groups."""

ROOTS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "mistralai": "mistral",
    "groq": "groq",
    "cohere": "cohere",
    "google": "google",
    "botocore": "bedrock",
    "pydantic_ai": "",
    "langchain_core": "",
    "litellm": "",
    "httpx": "",
    "httpx2": "",
    "httpcore": "",
    "httpcore2": "",
    "aiohttp": "",
}
"""The packages whose exceptions are classified, and the provider that each belongs to."""

KINDS = {
    "APITimeoutError": "timeout",
    "Timeout": "timeout",
    "TimeoutException": "timeout",
    "ConnectTimeout": "timeout",
    "ReadTimeout": "timeout",
    "WriteTimeout": "timeout",
    "PoolTimeout": "timeout",
    "ServerTimeoutError": "timeout",
    "APIConnectionError": "network",
    "ConnectError": "network",
    "ReadError": "network",
    "WriteError": "network",
    "RemoteProtocolError": "network",
    "ClientConnectionError": "network",
    "ClientPayloadError": "network",
    "EndpointConnectionError": "network",
    "RateLimitError": "rate_limit",
    "ThrottlingException": "rate_limit",
    "OverloadedError": "overloaded",
    "ServiceUnavailableError": "overloaded",
    "InternalServerError": "server",
    "AuthenticationError": "auth",
    "PermissionDeniedError": "auth",
    "BadRequestError": "invalid_request",
    "NotFoundError": "invalid_request",
    "UnprocessableEntityError": "invalid_request",
    "ContextWindowExceededError": "context_length",
    "ContentFilterFinishReasonError": "content_filter",
    "ContentPolicyViolationError": "content_filter",
}
"""The kind of failure by the name of an exception's class, for those without a status."""


def failure_of(error: BaseException, *, texts: Iterable[str] = ()) -> AttemptFailed | None:
    """The failure that an exception of a provider's SDK stands for; None if there is none among its causes. Its text
    contains neither keys nor `texts` (of the chat, the newest first)."""
    for each in _iter_chain(error):
        if isinstance(each, AttemptFailed):
            return each
        root = type(each).__module__.partition(".")[0]
        found = _classify(each, ROOTS[root], texts) if root in ROOTS else None
        if found is not None:
            return found
    return None


def _iter_chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then its causes and the members of groups, each once."""
    waiting, seen = deque([error]), set[int]()
    while waiting and len(seen) < CHAIN_MAX:
        each = waiting.popleft()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(each.exceptions[:CHAIN_MAX])
        context = None if each.__suppress_context__ else each.__context__
        waiting.extend(one for one in (each.__cause__, context) if one is not None)


def _classify(error: BaseException, provider: str, texts: Iterable[str]) -> AttemptFailed | None:
    failures = Failures(provider or "the provider", texts=texts)
    status = _whole(getattr(error, "status_code", None)) or _whole(getattr(error, "code", None))
    if status is not None and 400 <= status < 600:
        return failures.of_status(status, _body_of(error), _headers_of(error), now_s=time.time())
    kind = next((KINDS[base.__name__] for base in type(error).__mro__ if base.__name__ in KINDS), None)
    if kind is None:
        return None
    return failures.make(kind, words=_words_of(error))


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _body_of(error: BaseException) -> Any:
    body = getattr(error, "body", None)
    return {"error": body} if isinstance(body, Mapping) and "error" not in body else body or _words_of(error)


def _headers_of(error: BaseException) -> Mapping[str, str]:
    headers = getattr(getattr(error, "response", None), "headers", None)
    try:
        return {str(name).lower(): str(value) for name, value in dict(headers or {}).items()}
    except (TypeError, ValueError):
        return {}


def _words_of(error: BaseException) -> str:
    """Its message, which its own `__str__` may fail to give."""
    try:
        return str(error)
    except Exception:
        return ""
