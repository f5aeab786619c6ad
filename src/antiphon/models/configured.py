"""Models of configured providers. Each provider has one transport until its configuration changes."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import msgspec

from antiphon.models.apis import APIS
from antiphon.models.http_model import HttpModel
from antiphon.models.outbound import Outbound
from antiphon.models.providers import Provider
from antiphon.models.transport import Transport
from antiphon.options import Limits
from antiphon.ports import Model, ModelEvent, ModelRequest

MODELS_MAX = 64
"""Maximum number of cached models of a provider."""


class ProviderClient:
    """A provider's connections. They are opened at the first use, and closed once it is retired and no call is under
    way."""

    def __init__(self, provider: Provider, secret: str, *, outbound: Outbound, limits: Limits) -> None:
        self.provider = provider
        self.secret = secret
        self._api = APIS[provider.kind]
        self._outbound = outbound
        self._limits = limits
        self._transport: Transport | None = None
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._calls = 0
        self.is_retired = False

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def is_for(self, provider: Provider, secret: str) -> bool:
        """Whether its address and key are those of `provider` and `secret`."""
        return (self.provider.name, self.provider.bound_to, self.secret) == (provider.name, provider.bound_to, secret)

    @contextlib.asynccontextmanager
    async def model(self, name: str) -> AsyncIterator[Model]:
        """A model of the provider for one call. The connections remain open during the call."""
        self._calls += 1
        try:
            yield self._model(name)
        finally:
            self._calls -= 1
            await self._close_if_unused()

    async def list_models(self) -> tuple[str, ...]:
        """The names of the models that the provider offers. Raises `AttemptFailed`."""
        async with self.model("") as model:
            assert isinstance(model, HttpModel), "the models of a provider with an address are called over HTTP"
            return await model.list_models()

    async def retire(self) -> None:
        """Close once the calls under way have ended."""
        self.is_retired = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self.is_retired and not self._calls:
            await self.close()

    async def close(self) -> None:
        """Close the connections. Calls under way fail."""
        transport, self._transport = self._transport, None
        self._models.clear()
        if transport is not None:
            await transport.aclose()

    def _model(self, name: str) -> Model:
        if self._transport is None:
            self._transport = self._api.open_transport(self.provider.base_url, outbound=self._outbound)
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = self._api.model(
                name,
                api_key=self.secret,
                transport=self._transport,
                provider=self.provider.name,
                model_first_byte_s=self._limits.model_first_byte_s,
                model_idle_s=self._limits.model_idle_s,
                calls_max=self._limits.calls,
            )
            if len(self._models) > MODELS_MAX:
                self._models.popitem(last=False)
        self._models.move_to_end(name)
        return model


class ConfiguredModel:
    """A model of a configured provider."""

    def __init__(self, client: ProviderClient, name: str) -> None:
        self._client = client
        self.provider = client.provider.name
        self.name = name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async with self._client.model(self.name) as model, aclosing(_events(model, request)) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        """Nothing: the connections belong to the provider."""


class AliasedModel:
    """A model under another name, or with parameters that are sent with each call."""

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
    """The events of a call as a generator, which can be closed."""
    return cast("AsyncGenerator[ModelEvent, None]", model.stream(request))
