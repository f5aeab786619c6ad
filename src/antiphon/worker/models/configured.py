"""Models of configured providers: one client for each provider, as long as it stays what it is."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import msgspec

from antiphon.chats.providers import Provider
from antiphon.config import Limits
from antiphon.errors import AttemptFailed
from antiphon.outbound import Outbound
from antiphon.ports import Model, ModelEvent, ModelRequest

if TYPE_CHECKING:
    import httpx2
    import openai

MODELS_MAX = 64
"""So many models of a provider are kept by name."""

HEADERS = frozenset(
    {"host", "content-type", "content-length", "transfer-encoding", "accept", "accept-encoding", "user-agent"}
)
"""All that a provider is told of us beside the request and its key: the SDK would also send what the operator's
environment says for another one."""


class ProviderClient:
    """A provider's connections. They are made when first used, and closed when it is retired and no call is open."""

    def __init__(self, provider: Provider, secret: str, *, outbound: Outbound, limits: Limits) -> None:
        self.provider = provider
        self.secret = secret
        self._outbound = outbound
        self._limits = limits
        self._client: openai.AsyncOpenAI | None = None
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._calls = 0
        self.is_retired = False

    @property
    def is_open(self) -> bool:
        return self._client is not None

    def is_for(self, provider: Provider, secret: str) -> bool:
        """Whether it still goes to the right place with the right key."""
        return (self.provider.name, self.provider.bound_to, self.secret) == (provider.name, provider.bound_to, secret)

    @contextlib.asynccontextmanager
    async def model(self, name: str) -> AsyncIterator[Model]:
        """A model of its for one call, which keeps the connections open."""
        self._calls += 1
        try:
            yield self._model(name)
        finally:
            self._calls -= 1
            await self._close_if_unused()

    async def retire(self) -> None:
        """No call begins any more, but those that were about to."""
        self.is_retired = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self.is_retired and not self._calls:
            await self.close()

    async def close(self) -> None:
        """Whoever is still called is cut off."""
        client, self._client = self._client, None
        self._models.clear()
        if client is not None:
            await client.close()

    def _model(self, name: str) -> Model:
        from antiphon.worker.models.openai import OpenAIModel, make_client

        if self._client is None:
            self._client = make_client(self.secret or None, self.provider.base_url or None, self._http_client())
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = OpenAIModel(
                name,
                client=self._client,
                provider=self.provider.name,
                model_first_byte_s=self._limits.model_first_byte_s,
                model_idle_s=self._limits.model_idle_s,
            )
            if len(self._models) > MODELS_MAX:
                self._models.popitem(last=False)
        self._models.move_to_end(name)
        return model

    def _http_client(self) -> httpx2.AsyncClient:
        import httpx2

        from antiphon.checked_transport import CheckedTransport
        from antiphon.worker.models.openai import CONNECT_S

        return httpx2.AsyncClient(
            transport=CheckedTransport(self._outbound),
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            follow_redirects=False,
            trust_env=False,
            event_hooks={"request": [self._clean_headers]},
        )

    async def _clean_headers(self, request: httpx2.Request) -> None:
        for name in list(request.headers):
            if name.lower() not in HEADERS:
                del request.headers[name]
        if self.secret:
            request.headers["authorization"] = f"Bearer {self.secret}"


class ConfiguredModel:
    """A model of a provider's. What fails is told without the secret, whatever the provider says."""

    def __init__(self, client: ProviderClient, name: str) -> None:
        self._client = client
        self.provider = client.provider.name
        self.name = name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        secret = self._client.secret
        async with self._client.model(self.name) as model:
            try:
                async with aclosing(_events(model, request)) as events:
                    async for event in events:
                        yield event
            except AttemptFailed as error:
                if not secret or secret not in str(error):
                    raise
                raise AttemptFailed(
                    error.kind,
                    f"{self.provider} failed.",
                    retryable=error.retryable,
                    provider=self.provider,
                    status_code=error.status_code,
                    retry_after_s=error.retry_after_s,
                ) from None

    async def aclose(self) -> None:
        """The connections are the provider's."""


class AliasedModel:
    """A model under another provider's name, or with parameters that go into each call."""

    def __init__(self, inner: Model, *, provider: str = "", name: str = "", parameters: dict[str, Any]) -> None:
        self._inner = inner
        self._parameters = parameters
        self.provider = provider or inner.provider
        self.name = name or inner.name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        parameters = self._parameters | request.parameters
        async with aclosing(_events(self._inner, msgspec.structs.replace(request, parameters=parameters))) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        await self._inner.aclose()


def _events(model: Model, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
    """A port's stream can be closed."""
    return cast("AsyncGenerator[ModelEvent, None]", model.stream(request))
